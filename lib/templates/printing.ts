import { fail, refuse } from "./failure.js";
import { floatText } from "./floats.js";
import { Parts } from "./input.js";
import { ELEMENT, type Meter } from "./meter.js";
import { EMPTY, Markup, Str, TextBuilder } from "./text.js";
import { typeName } from "./type-names.js";
import {
  Callable,
  Dict,
  Float,
  integerOf,
  List,
  Namespace,
  OuterInt,
  Range,
  Tuple,
  Undefined,
  View,
  type Value,
} from "./values.js";

const TRUE = new Str("True");
const FALSE = new Str("False");
const NONE = new Str("None");

/** Python's str(). Throws for what would print an address. */
export function toStr(meter: Meter, value: Value): Str {
  if (value instanceof Str) return value;
  if (value === null) return NONE;
  if (typeof value === "boolean") return value ? TRUE : FALSE;
  if (value instanceof Markup) return value.str;
  if (value instanceof Undefined) return EMPTY;
  if (typeof value === "number") return new Str(String(value));
  if (value instanceof OuterInt) return Str.outside(String(value.value));
  if (value instanceof Float) {
    const text = floatText(value.value);
    return value.foreign ? Str.outside(text) : new Str(text);
  }
  if (value instanceof Parts) throw value.refusal();
  return toRepr(meter, value);
}

/** Python's repr(). */
export function toRepr(meter: Meter, value: Value): Str {
  const builder = new TextBuilder(meter);
  writeRepr(meter, value, builder);
  return builder.finish();
}

function writeRepr(meter: Meter, value: Value, out: TextBuilder): void {
  meter.spend(ELEMENT);
  if (value instanceof Str) return writeQuoted(meter, value, out);
  if (value instanceof Undefined) return out.own("Undefined");
  if (
    value === null ||
    typeof value === "boolean" ||
    value instanceof Float ||
    integerOf(value) !== undefined
  )
    return out.add(toStr(meter, value));
  if (value instanceof Range)
    return out.own(`range(${value.start}, ${value.stop}${value.step === 1 ? "" : `, ${value.step}`})`);
  if (value instanceof Callable) return out.own(value.print());
  meter.enter();
  if (value instanceof List) {
    writeList(meter, value.items, "[", "]", out);
  } else if (value instanceof Tuple) {
    writeList(meter, value.items, "(", value.items.length === 1 ? ",)" : ")", out);
  } else if (value instanceof Dict) {
    writeEntries(meter, value.entries, out);
  } else if (value instanceof Namespace) {
    out.own("<Namespace ");
    writeEntries(
      meter,
      [...value.fields].map(([name, field]) => [new Str(name), field] as const),
      out,
    );
    out.own(">");
  } else if (value instanceof View) {
    out.own(`${value.kind}(`);
    meter.elements(value.dict.entries.length);
    writeList(
      meter,
      value.dict.entries.map((_, i) => value.at(i)),
      "[",
      "]",
      out,
    );
    out.own(")");
  } else {
    throw refuse(`printing ${value instanceof Markup ? "Markup in a list" : `a ${typeName(value)}`}`);
  }
  meter.leave();
}

function writeList(
  meter: Meter,
  items: readonly Value[],
  open: string,
  close: string,
  out: TextBuilder,
): void {
  out.own(open);
  items.forEach((item, i) => {
    if (i > 0) out.own(", ");
    writeRepr(meter, item, out);
  });
  out.own(close);
}

function writeEntries(meter: Meter, entries: readonly (readonly [Value, Value])[], out: TextBuilder): void {
  out.own("{");
  entries.forEach(([key, item], i) => {
    if (i > 0) out.own(", ");
    writeRepr(meter, key, out);
    out.own(": ");
    writeRepr(meter, item, out);
  });
  out.own("}");
}

/** Needs an escape in a repr: what Python's `isprintable` denies, and the backslash and both quotes. */
const ESCAPED = /["'\\]|(?! )[\p{C}\p{Z}]/u;
const ALL_ESCAPED = new RegExp(ESCAPED, "gu");
const NAMED: Readonly<Record<string, string>> = { "\n": "\\n", "\r": "\\r", "\t": "\\t", "\\": "\\\\" };

function writeQuoted(meter: Meter, source: Str, out: TextBuilder): void {
  const { text } = source;
  meter.scan(text.length);
  const quote = text.includes("'") && !text.includes('"') ? '"' : "'";
  out.own(quote);
  writeMapped(meter, source, out, (part) => (ESCAPED.test(part) ? escapeAll(part, quote) : part));
  out.own(quote);
}

/** What a character costs that an escape adds. */
const ESCAPE = 16;
/** Units that are mapped at once: what comes of them is counted before the next ones are. */
const CHUNK = 16_384;

/** Writes a text through a function of code points, keeping account of what is foreign. */
export function writeMapped(
  meter: Meter,
  source: Str,
  out: TextBuilder,
  map: (part: string) => string,
): void {
  const { text, foreign } = source;
  const write = (start: number, end: number, outside: boolean): void => {
    for (let at = start; at < end;) {
      let stop = Math.min(at + CHUNK, end);
      if (stop < end && (text.charCodeAt(stop) & 0xfc00) === 0xdc00) ++stop;
      const mapped = map(text.slice(at, stop));
      meter.spend(ESCAPE * Math.max(0, mapped.length - (stop - at)));
      if (outside) out.outside(mapped);
      else out.own(mapped);
      at = stop;
    }
  };
  let at = 0;
  for (let i = 0; i < foreign.length; i += 2) {
    write(at, foreign[i]!, false);
    write(foreign[i]!, foreign[i + 1]!, true);
    at = foreign[i + 1]!;
  }
  write(at, text.length, false);
}

function escapeAll(text: string, quote: string): string {
  return text.replace(ALL_ESCAPED, (point) => {
    if (point === "'" || point === '"') return point === quote ? `\\${point}` : point;
    return NAMED[point] ?? numericEscape(point.codePointAt(0)!);
  });
}

function numericEscape(code: number): string {
  const hex = code.toString(16);
  if (code < 0x100) return `\\x${hex.padStart(2, "0")}`;
  return code < 0x10000 ? `\\u${hex.padStart(4, "0")}` : `\\U${hex.padStart(8, "0")}`;
}

/** Python's ascii(): a repr with escapes for all that is not ASCII. */
export function toAscii(meter: Meter, value: Value): Str {
  const repr = toRepr(meter, value);
  const builder = new TextBuilder(meter);
  writeMapped(meter, repr, builder, (part) =>
    part.replace(/[^\0-\x7f]/gu, (point) => numericEscape(point.codePointAt(0)!)),
  );
  return builder.finish();
}

/** A string as it must be for a function of strings. */
export function needStr(value: Value, what: string): Str {
  if (value instanceof Str) return value;
  if (value instanceof Markup) throw refuse(`${what} of text marked as safe`);
  if (value instanceof Undefined) throw value.failure();
  throw fail(`${what} needs a string, not ${typeName(value)}`);
}
