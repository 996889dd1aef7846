import { fail, refuse } from "./failure.js";
import { exponential, fixed, general } from "./floats.js";
import { hashKey } from "./equality.js";
import type { Meter } from "./meter.js";
import { pointCount, offsetOf } from "./points.js";
import { toAscii, toRepr, toStr } from "./printing.js";
import { concat, Markup, Str, TextBuilder } from "./text.js";
import { typeName } from "./type-names.js";
import { Dict, Float, integerOf, List, numberOf, OuterInt, Tuple, Undefined, type Value } from "./values.js";

const DIRECTIVE = /%(?:\(([^()]*)\))?([-+ 0#]*)(\d+)?(?:\.(\d*))?[hlL]?([\s\S])/uy;
/** Widths and precisions beyond this are refused. */
const MAX_PRECISION = 500;

/** Python's `format % values`. */
export function formatPercent(meter: Meter, format: Str, values: Value): Str {
  const { text } = format;
  const out = new TextBuilder(meter);
  const list = values instanceof Tuple ? values.items : [values];
  const mapping = values instanceof Dict ? values : null;
  let next = 0;
  let named = false;
  const argument = (name: string | undefined): Value => {
    if (name !== undefined) {
      if (mapping === null) throw fail("format requires a mapping");
      named = true;
      const value = mapping.get(new Str(name), (key) => hashKey(meter, key));
      if (value === undefined) throw fail(`KeyError: ${name}`);
      return value;
    }
    if (next >= list.length) throw fail("not enough arguments for format string");
    return list[next++]!;
  };
  meter.scan(text.length);
  for (let at = 0; at < text.length;) {
    const percent = text.indexOf("%", at);
    if (percent < 0) {
      out.add(format.slice(at));
      break;
    }
    out.add(format.slice(at, percent));
    DIRECTIVE.lastIndex = percent;
    const match = DIRECTIVE.exec(text);
    if (match === null)
      throw text[percent + 1] === undefined ? fail("incomplete format") : refuse("this % format");
    at = DIRECTIVE.lastIndex;
    const [whole, name, flags, width, precision, conversion] = match as unknown as string[];
    if (conversion === "%") {
      if (whole !== "%%") throw refuse(`the format ${whole!.slice(0, 20)}`);
      out.add(format.slice(percent, percent + 1));
      continue;
    }
    const digits = precision === undefined ? undefined : Number(precision === "" ? 0 : precision);
    if (Number(width ?? 0) > 1e9 || (digits ?? 0) > 1e9) throw fail("width or precision too big");
    meter.characters(Number(width ?? 0));
    const shown = convert(meter, argument(name), conversion!, flags!, Number(width ?? 0), digits);
    // A format from outside chooses the padding.
    out.add(format.mixed ? Str.outside(shown.text) : shown);
  }
  if (!named && next < list.length) {
    // A list or dict may stand for a mapping that nothing was asked of.
    const mappable = list.length === 1 && !(values instanceof Tuple) && isMappable(values);
    if (!mappable) throw fail("not all arguments converted during string formatting");
  }
  return out.finish();
}

const isMappable = (value: Value): boolean =>
  value instanceof Dict || value instanceof List || value instanceof Undefined;

function convert(
  meter: Meter,
  value: Value,
  conversion: string,
  flags: string,
  width: number,
  precision: number | undefined,
): Str {
  if (value instanceof Markup) throw refuse("% with text marked as safe");
  const left = flags.includes("-");
  if ("sra".includes(conversion)) {
    const full = (conversion === "s" ? toStr : conversion === "r" ? toRepr : toAscii)(meter, value);
    const shown = precision === undefined ? full : full.slice(0, offsetOf(meter, full.text, precision));
    return pad(meter, shown, width, left);
  }
  if (conversion === "c") throw refuse("the format %c");
  const number = numberOf(value);
  if (number === undefined) {
    if (value instanceof Undefined && "diuxXofFeEgG".includes(conversion)) throw value.failure();
    throw "diuxXofFeEgG".includes(conversion)
      ? fail(`%${conversion} needs a number, not ${typeName(value)}`)
      : fail(`unsupported format character ${conversion}`);
  }
  const negative = "diu".includes(conversion)
    ? Math.trunc(number) < 0
    : number < 0 || (value instanceof Float && Object.is(number, -0));
  let digits = numberDigits(value, Math.abs(number), conversion, precision, flags.includes("#"));
  const sign = negative ? "-" : flags.includes("+") ? "+" : flags.includes(" ") ? " " : "";
  if (flags.includes("0") && !left) {
    if (!/^[0-9]/.test(digits)) throw refuse("padding inf or nan with zeros");
    if (/^0[xXo]/.test(digits)) throw refuse("padding with zeros behind a prefix");
    digits = digits.padStart(width - sign.length, "0");
  }
  const foreign = value instanceof OuterInt || (value instanceof Float && value.foreign);
  const shown = sign + digits;
  return pad(meter, foreign ? Str.outside(shown) : new Str(shown), width, left);
}

function numberDigits(
  value: Value,
  magnitude: number,
  conversion: string,
  precision: number | undefined,
  alternate: boolean,
): string {
  if ((precision ?? 0) > MAX_PRECISION) throw refuse(`a precision above ${MAX_PRECISION}`);
  if ("diu".includes(conversion)) {
    if (!Number.isFinite(magnitude)) throw fail("cannot convert float infinity or NaN to integer");
    const whole = Math.trunc(magnitude);
    if (!Number.isSafeInteger(whole)) throw refuse("an integer beyond 2^53");
    return String(whole).padStart(precision ?? 0, "0");
  }
  if ("xXo".includes(conversion)) {
    if (integerOf(value) === undefined) throw fail(`%${conversion} needs an integer, not float`);
    const digits = magnitude.toString(conversion === "o" ? 8 : 16).padStart(precision ?? 0, "0");
    const prefix = alternate ? `0${conversion}` : "";
    return prefix + (conversion === "X" ? digits.toUpperCase() : digits);
  }
  if (!"fFeEgG".includes(conversion)) throw fail(`unsupported format character ${conversion}`);
  if (alternate) throw refuse("the flag # for floats");
  return floatDigits(magnitude, conversion, precision ?? 6);
}

/** The digits of a float that is not negative, by one of the letters f, F, e, E, g, G. */
export function floatDigits(magnitude: number, letter: string, precision: number): string {
  const text = !Number.isFinite(magnitude)
    ? Number.isNaN(magnitude)
      ? "nan"
      : "inf"
    : "fF".includes(letter)
      ? fixed(magnitude, precision)
      : "eE".includes(letter)
        ? exponential(magnitude, precision)
        : general(magnitude, precision);
  return letter === letter.toUpperCase() ? text.toUpperCase() : text;
}

function pad(meter: Meter, text: Str, width: number, left: boolean): Str {
  const missing = width > 0 ? Math.max(0, width - pointCount(meter, text.text)) : 0;
  if (missing === 0) return text;
  const blanks = new Str(" ".repeat(missing));
  return left ? concat(meter, text, blanks) : concat(meter, blanks, text);
}
