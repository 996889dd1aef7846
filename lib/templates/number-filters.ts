import { bind, needInteger } from "./arguments.js";
import { fail, refuse } from "./failure.js";
import type { Filter } from "./filters.js";
import { fixed } from "./floats.js";
import { parseFloatText, parseInteger } from "./number-text.js";
import { truth } from "./equality.js";
import { needStr } from "./printing.js";
import { Markup, Str } from "./text.js";
import { typeName } from "./type-names.js";
import { Float, integer, integerOf, numberOf, OuterInt, Undefined, type Value } from "./values.js";

/** Python's float(); undefined where it raises a ValueError or TypeError. */
function toFloat(value: Value): number | undefined {
  if (value instanceof Undefined) throw value.failure();
  if (value instanceof Markup) throw refuse("a number from text marked as safe");
  return value instanceof Str ? parseFloatText(value.text) : numberOf(value);
}

/** int() of a float. */
function whole(value: number): number {
  if (Number.isNaN(value)) throw fail("cannot convert NaN to an integer");
  if (!Number.isFinite(value)) throw fail("cannot convert infinity to an integer");
  return integer(Math.trunc(value));
}

const isForeign = (value: Value): boolean =>
  value instanceof OuterInt ||
  (value instanceof Float && value.foreign) ||
  (value instanceof Str && value.mixed);

function toInteger(value: Value, otherwise: Value, base: number): Value {
  const mark = (result: number): Value => (isForeign(value) ? new OuterInt(result) : result);
  if (value instanceof Str) {
    const parsed = parseInteger(value.text, base);
    if (parsed !== undefined) return mark(parsed);
    const float = parseFloatText(value.text);
    return float === undefined || !Number.isFinite(float) ? otherwise : mark(whole(float));
  }
  const number = toFloat(value);
  if (number === undefined || Number.isNaN(number)) return otherwise;
  return mark(whole(number));
}

function round(value: Value, precision: number, method: string): Value {
  if (!["common", "ceil", "floor"].includes(method)) throw fail("method must be common, ceil or floor");
  if (value instanceof Undefined) throw value.failure();
  const number = numberOf(value);
  if (number === undefined) throw fail(`round() needs a number, not ${typeName(value)}`);
  if (method === "common") {
    if (precision < 0) throw refuse("round to less than no digits");
    if (integerOf(value) !== undefined) return integer(number);
    if (!Number.isFinite(number) || precision > 22) return new Float(number);
    return new Float(Number(fixed(number, precision)));
  }
  const scale = 10 ** precision;
  const scaled = number * scale;
  if (!Number.isFinite(scaled)) throw fail("cannot convert infinity or NaN to an integer");
  return new Float((method === "ceil" ? Math.ceil(scaled) : Math.floor(scaled)) / scale + 0);
}

const UNITS = ["k", "M", "G", "T", "P", "E", "Z", "Y"];

function fileSize(value: Value, isBinary: boolean): Str {
  const bytes = toFloat(value);
  if (bytes === undefined || !Number.isFinite(bytes)) throw fail("filesizeformat needs a number");
  const base = isBinary ? 1024 : 1000;
  if (bytes === 1) return new Str("1 Byte");
  if (bytes < base) return new Str(`${Math.trunc(bytes)} Bytes`);
  let at = 0;
  while (at < UNITS.length - 1 && bytes >= base ** (at + 2)) ++at;
  const unit = UNITS[at]!;
  const prefix = isBinary ? `${unit.toUpperCase()}iB` : `${unit}B`;
  return new Str(`${fixed((base * bytes) / base ** (at + 2), 1)} ${prefix}`);
}

export const NUMBER_FILTERS: readonly (readonly [string, Filter])[] = [
  [
    "abs",
    (_, value, positional, named) => {
      bind("abs", [], positional, named);
      if (value instanceof Float) return new Float(Math.abs(value.value));
      const number = integerOf(value);
      if (number === undefined) throw fail(`abs() needs a number, not ${typeName(value)}`);
      return Math.abs(number);
    },
  ],
  [
    "int",
    (_, value, positional, named) => {
      const [otherwise = 0, base = 10] = bind("int", ["default", "base"], positional, named);
      return toInteger(value, otherwise, needInteger(base, "base"));
    },
  ],
  [
    "float",
    (_, value, positional, named) => {
      const [otherwise = new Float(0)] = bind("float", ["default"], positional, named);
      const number = toFloat(value);
      return number === undefined ? otherwise : new Float(number, isForeign(value));
    },
  ],
  [
    "round",
    (_, value, positional, named) => {
      const [precision = 0, method = new Str("common")] = bind(
        "round",
        ["precision", "method"],
        positional,
        named,
      );
      return round(value, needInteger(precision, "precision"), needStr(method, "method").text);
    },
  ],
  [
    "filesizeformat",
    (_, value, positional, named) => {
      const [isBinary = false] = bind("filesizeformat", ["binary"], positional, named);
      return fileSize(value, truth(isBinary));
    },
  ],
];
