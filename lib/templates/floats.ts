/** A float as Python's repr writes it: the shortest digits that give it back, with an exponent below 1e-4 and from 1e16 on. */
export function floatText(value: number): string {
  if (Number.isNaN(value)) return "nan";
  if (!Number.isFinite(value)) return value < 0 ? "-inf" : "inf";
  if (Object.is(value, -0)) return "-0.0";
  const magnitude = Math.abs(value);
  if (value !== 0 && (magnitude < 1e-4 || magnitude >= 1e16)) {
    const [digits, exponent] = value.toExponential().split("e") as [string, string];
    const sign = exponent.startsWith("-") ? "-" : "+";
    return `${digits}e${sign}${exponent.replace(/^[+-]/, "").padStart(2, "0")}`;
  }
  const text = String(value);
  return text.includes(".") ? text : `${text}.0`;
}

/**
 * The exact decimal value of a finite float, rounded half to even to `digits` behind the point: Python's `%.nf`. JavaScript's toFixed
 * rounds halves up, and gives exponents from 1e21 on.
 */
export function fixed(value: number, digits: number): string {
  const negative = value < 0 || Object.is(value, -0);
  const [numerator, denominator] = ratio(Math.abs(value));
  const text = rounded(numerator * 10n ** BigInt(digits), denominator)
    .toString()
    .padStart(digits + 1, "0");
  const point = text.length - digits;
  return `${negative ? "-" : ""}${text.slice(0, point)}${digits > 0 ? `.${text.slice(point)}` : ""}`;
}

function rounded(numerator: bigint, denominator: bigint): bigint {
  const floor = numerator / denominator;
  const twice = 2n * (numerator - floor * denominator);
  return twice > denominator || (twice === denominator && floor % 2n === 1n) ? floor + 1n : floor;
}

/** The exact value of a float that is not negative. */
function ratio(value: number): [numerator: bigint, denominator: bigint] {
  const [mantissa, exponent] = exactParts(value);
  return exponent >= 0 ? [mantissa << BigInt(exponent), 1n] : [mantissa, 1n << BigInt(-exponent)];
}

function exactParts(value: number): [mantissa: bigint, exponent: number] {
  const view = new DataView(new ArrayBuffer(8));
  view.setFloat64(0, value);
  const bits = view.getBigUint64(0);
  const exponent = Number((bits >> 52n) & 0x7ffn);
  const fraction = bits & 0xfffffffffffffn;
  return exponent === 0 ? [fraction, -1074] : [fraction | (1n << 52n), exponent - 1075];
}

/** Python's `%.ne` of a finite float: `digits` behind the point, rounded half to even, and an exponent of two digits at least. */
export function exponential(value: number, digits: number): string {
  const sign = value < 0 || Object.is(value, -0) ? "-" : "";
  let exponent = value === 0 ? 0 : Number(value.toExponential().split("e")[1]);
  const [numerator, denominator] = ratio(Math.abs(value));
  const power = digits - exponent;
  const scale = 10n ** BigInt(Math.abs(power));
  let text = (
    power >= 0 ? rounded(numerator * scale, denominator) : rounded(numerator, denominator * scale)
  ).toString();
  if (text.length > digits + 1) {
    ++exponent; // 9.99 became 10.0
    text = text.slice(0, -1);
  }
  text = text.padEnd(digits + 1, "0");
  const mantissa = digits > 0 ? `${text[0]}.${text.slice(1)}` : text;
  return `${sign}${mantissa}e${exponent < 0 ? "-" : "+"}${String(Math.abs(exponent)).padStart(2, "0")}`;
}

/** Python's `%.ng`: `digits` significant ones, an exponent where it is shorter, no zeros at the end unless `keepZeros`. */
export function general(value: number, digits: number, keepZeros = false): string {
  const precision = Math.max(digits, 1);
  const exponent = value === 0 ? 0 : Number(exponential(value, precision - 1).split("e")[1]);
  const bare = (text: string): string =>
    keepZeros || !text.includes(".") ? text : text.replace(/0+$/, "").replace(/\.$/, "");
  if (exponent < -4 || exponent >= precision) {
    const [mantissa, power] = exponential(value, precision - 1).split("e") as [string, string];
    return `${bare(mantissa)}e${power}`;
  }
  return bare(fixed(value, precision - 1 - exponent));
}
