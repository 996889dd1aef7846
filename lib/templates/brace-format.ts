import { fail, refuse } from "./failure.js";
import { floatText } from "./floats.js";
import { getAttribute, getItem } from "./lookup.js";
import type { Meter } from "./meter.js";
import { floatDigits } from "./percent-format.js";
import { offsetOf, pointCount } from "./points.js";
import { toAscii, toRepr, toStr } from "./printing.js";
import { Str, TextBuilder } from "./text.js";
import { typeName } from "./type-names.js";
import { Float, integerOf, numberOf, OuterInt, Undefined, type Named, type Value } from "./values.js";

const SPEC = /^(?:([\s\S])([<>=^]))?([<>=^])?([-+ ])?(#)?(0)?(\d+)?([_,])?(?:\.(\d+))?([bcdeEfFgGnosxX%])?$/u;

/** Python's `format.format(…)`. */
export function formatBraces(meter: Meter, format: Str, positional: readonly Value[], named: Named): Str {
  const { text } = format;
  const out = new TextBuilder(meter);
  let automatic = 0;
  let manual = false;
  meter.scan(text.length);
  for (let at = 0; at < text.length;) {
    const brace = text.slice(at).search(/[{}]/);
    if (brace < 0) {
      out.add(format.slice(at));
      break;
    }
    const open = at + brace;
    out.add(format.slice(at, open));
    if (text[open + 1] === text[open]) {
      out.add(format.slice(open, open + 1));
      at = open + 2;
      continue;
    }
    if (text[open] === "}") throw fail("single '}' encountered in format string");
    const close = text.slice(open + 1).search(/[{}]/) + open + 1;
    if (close <= open) throw fail("expected '}' before end of string");
    if (text[close] === "{") throw refuse("a format within a format");
    at = close + 1;
    meter.spend(64);
    const field = text.slice(open + 1, close);
    const [, name, conversion, spec = ""] = /^([^!:]*)(?:!([^:]*))?(?::([\s\S]*))?$/.exec(field) ?? [];
    if (name === undefined) throw refuse(`the format {${field.slice(0, 20)}}`);
    const [, first, rest] = /^([^.[]*)([\s\S]*)$/.exec(name)!;
    let key: string | number = first!;
    if (key === "" || /^\d+$/.test(key)) {
      if ((key === "") === manual && (manual || automatic > 0))
        throw fail("cannot switch between automatic and manual field numbering");
      manual = key !== "";
      key = manual ? Number(key) : automatic++;
    }
    const start = typeof key === "number" ? positional[key] : named.get(key);
    if (start === undefined) throw fail(`no argument for the field "${String(key).slice(0, 40)}"`);
    const shown = formatValue(meter, converted(meter, follow(meter, start, rest!), conversion), spec);
    // A format from outside chooses what is filled in.
    out.add(format.mixed && spec !== "" ? Str.outside(shown.text) : shown);
  }
  return out.finish();
}

/** `.name` and `[key]` behind a field's name. */
function follow(meter: Meter, value: Value, path: string): Value {
  let result = value;
  for (let rest = path; rest !== "";) {
    const match = /^(?:\.([^.[]+)|\[([^\]]+)\])([\s\S]*)$/.exec(rest);
    if (match === null) throw fail("empty attribute in format string");
    meter.spend(16 + rest.length);
    const [, attribute, item, further] = match;
    result =
      attribute !== undefined
        ? getAttribute(meter, result, attribute)
        : getItem(meter, result, /^\d+$/.test(item!) ? Number(item) : new Str(item!));
    rest = further!;
  }
  return result;
}

function converted(meter: Meter, value: Value, conversion: string | undefined): Value {
  if (conversion === undefined) return value;
  if (conversion === "s") return toStr(meter, value);
  if (conversion === "r") return toRepr(meter, value);
  if (conversion === "a") return toAscii(meter, value);
  throw fail(`unknown conversion specifier ${conversion.slice(0, 10)}`);
}

/** A format specifier, taken apart; "" where a part is left out. */
interface FormatSpec {
  readonly source: string;
  readonly fill: string;
  readonly align: string;
  readonly sign: string;
  readonly alternate: boolean;
  readonly zero: boolean;
  readonly width: number;
  readonly grouping: string;
  readonly precision: number | undefined;
  readonly type: string;
}

function readSpec(source: string): FormatSpec {
  const match = SPEC.exec(source);
  // One alignment at most: "a<>5" is none of Python's.
  if (match === null || (match[2] && match[3]))
    throw fail(`invalid format specifier "${source.slice(0, 20)}"`);
  const part = (index: number): string => match[index] ?? "";
  const precision = match[9] === undefined ? undefined : Number(match[9]);
  const width = Number(match[7] ?? 0);
  if (width > 1e9 || (precision ?? 0) > 500) throw refuse("a width or precision of that size");
  return {
    source,
    fill: part(1),
    align: part(2) || part(3),
    sign: part(4),
    alternate: part(5) !== "",
    zero: part(6) !== "",
    width,
    grouping: part(8),
    precision,
    type: part(10),
  };
}

/** Python's format(value, spec). */
function formatValue(meter: Meter, value: Value, source: string): Str {
  if (source === "") return toStr(meter, value);
  const spec = readSpec(source);
  const { fill, align, sign, alternate, zero, width, grouping, precision, type } = spec;
  meter.characters(width);
  if (value instanceof Str) {
    if (sign || alternate || grouping || (type !== "" && type !== "s") || align === "=")
      throw fail("invalid format specifier for a string");
    const cut = precision === undefined ? value : value.slice(0, offsetOf(meter, value.text, precision));
    return aligned(meter, cut, width, fill || (zero ? "0" : " "), align || "<");
  }
  const number = numberOf(value);
  if (number !== undefined) return formatNumber(meter, value, number, spec);
  if (value instanceof Undefined) throw refuse("a format specifier for an undefined value");
  throw fail(`unsupported format specifier for ${typeName(value)}`);
}

function formatNumber(meter: Meter, value: Value, number: number, spec: FormatSpec): Str {
  const { source, sign, alternate, zero, width, grouping, precision, type } = spec;
  if (alternate || type === "n" || type === "c") throw refuse(`the format specifier ${source.slice(0, 20)}`);
  const negative = number < 0 || (value instanceof Float && Object.is(number, -0));
  let digits = digitsOf(value, Math.abs(number), type, precision);
  if (grouping) {
    if ((type !== "" && !"deEfFgG%".includes(type)) || zero) throw refuse("this grouping of digits");
    digits = digits.replace(/^\d+/, (whole) => whole.replace(/\B(?=(\d{3})+$)/g, grouping));
  }
  const head = negative ? "-" : sign === "+" || sign === " " ? sign : "";
  const align = spec.align || (zero ? "=" : ">");
  const filler = spec.fill || (zero ? "0" : " ");
  if (align === "=" && filler.length !== 1) throw refuse("a fill character beyond U+FFFF");
  const foreign = value instanceof OuterInt || (value instanceof Float && value.foreign);
  const text = align === "=" ? head + digits.padStart(width - head.length, filler) : head + digits;
  const shown = foreign ? Str.outside(text) : new Str(text);
  return align === "=" ? shown : aligned(meter, shown, width, filler, align);
}

function digitsOf(value: Value, magnitude: number, type: string, precision: number | undefined): string {
  const whole = integerOf(value) !== undefined;
  if (whole && "bdoxX".includes(type)) {
    if (precision !== undefined) throw fail("precision not allowed in integer format specifier");
    const digits = magnitude.toString({ b: 2, o: 8, x: 16, X: 16 }[type] ?? 10);
    return type === "X" ? digits.toUpperCase() : digits;
  }
  if (type === "%") return `${floatDigits(magnitude * 100, "f", precision ?? 6)}%`;
  if (type !== "" && "eEfFgG".includes(type)) return floatDigits(magnitude, type, precision ?? 6);
  if (type === "" && !whole) {
    if (precision === undefined) return floatText(magnitude);
    throw refuse("a precision without a type for a float");
  }
  throw fail(`unknown format code ${type} for ${typeName(value)}`);
}

function aligned(meter: Meter, text: Str, width: number, fill: string, align: string): Str {
  const missing = Math.max(0, width - pointCount(meter, text.text));
  const left = align === "<" ? 0 : align === ">" ? missing : missing >> 1;
  meter.characters(missing * fill.length);
  const out = new TextBuilder(meter);
  out.own(fill.repeat(left));
  out.add(text);
  out.own(fill.repeat(missing - left));
  return out.finish();
}
