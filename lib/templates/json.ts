import { fail, refuse } from "./failure.js";
import { floatText } from "./floats.js";
import { ELEMENT, type Meter } from "./meter.js";
import { order, textOf } from "./equality.js";
import { toStr, writeMapped } from "./printing.js";
import { Markup, Str, TextBuilder } from "./text.js";
import { typeName } from "./type-names.js";
import { Dict, Float, integerOf, List, Tuple, type Value } from "./values.js";

export interface JsonStyle {
  readonly ascii: boolean;
  /** What a level is indented by; null: all on one line. */
  readonly indent: Str | null;
  readonly itemSeparator: Str;
  readonly keySeparator: Str;
  readonly sortKeys: boolean;
}

/** Python's `json.dumps`. */
export function toJson(meter: Meter, value: Value, style: JsonStyle): Str {
  const out = new TextBuilder(meter);
  write(meter, value, style, 0, out);
  return out.finish();
}

function write(meter: Meter, value: Value, style: JsonStyle, level: number, out: TextBuilder): void {
  meter.spend(ELEMENT);
  if (value instanceof Str) return writeString(meter, value, style, out);
  if (value instanceof Markup) return writeString(meter, value.str, style, out);
  if (value === null) return out.own("null");
  if (typeof value === "boolean") return out.own(value ? "true" : "false");
  if (value instanceof Float) {
    const text = jsonFloat(value.value);
    return value.foreign ? out.outside(text) : out.own(text);
  }
  if (integerOf(value) !== undefined) return out.add(toStr(meter, value));
  meter.enter();
  if (value instanceof List || value instanceof Tuple) {
    writeBlock("[", "]", value.items, style, level, out, (item) => write(meter, item, style, level + 1, out));
  } else if (value instanceof Dict) {
    writeBlock("{", "}", entriesOf(meter, value, style), style, level, out, ([key, item]) => {
      writeString(meter, key, style, out);
      out.add(style.keySeparator);
      write(meter, item, style, level + 1, out);
    });
  } else {
    throw fail(`object of type ${typeName(value)} is not JSON serializable`);
  }
  meter.leave();
}

function writeBlock<T>(
  open: string,
  close: string,
  items: readonly T[],
  style: JsonStyle,
  level: number,
  out: TextBuilder,
  writeItem: (item: T) => void,
): void {
  out.own(open);
  const line = (depth: number): void => {
    if (style.indent === null) return;
    out.own("\n");
    for (let i = 0; i < depth; ++i) out.add(style.indent);
  };
  items.forEach((item, i) => {
    if (i > 0) out.add(style.itemSeparator);
    line(level + 1);
    writeItem(item);
  });
  if (items.length > 0) line(level);
  out.own(close);
}

function entriesOf(meter: Meter, dict: Dict, style: JsonStyle): (readonly [Str, Value])[] {
  meter.elements(dict.entries.length);
  let { entries } = dict;
  if (style.sortKeys) {
    meter.elements(dict.entries.length * Math.ceil(Math.log2(dict.entries.length + 1)));
    entries = [...entries].sort(([a], [b]) => order(meter, a, b));
  }
  return entries.map(([key, item]) => [keyText(meter, key), item]);
}

function keyText(meter: Meter, key: Value): Str {
  if (textOf(key) !== undefined) return key instanceof Markup ? key.str : (key as Str);
  if (key === null) return new Str("null");
  if (typeof key === "boolean") return new Str(key ? "true" : "false");
  if (key instanceof Float)
    return key.foreign ? Str.outside(jsonFloat(key.value)) : new Str(jsonFloat(key.value));
  if (integerOf(key) !== undefined) return toStr(meter, key);
  throw key instanceof Tuple
    ? fail("keys must be str, int, float, bool or None, not tuple")
    : refuse("this key in JSON");
}

function jsonFloat(value: number): string {
  if (Number.isNaN(value)) return "NaN";
  return Number.isFinite(value) ? floatText(value) : value < 0 ? "-Infinity" : "Infinity";
}

function writeString(meter: Meter, source: Str, style: JsonStyle, out: TextBuilder): void {
  meter.scan(source.text.length);
  const pattern = style.ascii ? /[^ -~]|["\\]/ : /[\0-\x1f"\\]/;
  const all = new RegExp(pattern, "g");
  out.own('"');
  writeMapped(meter, source, out, (part) => (pattern.test(part) ? part.replace(all, escapeUnit) : part));
  out.own('"');
}

const ESCAPES: Readonly<Record<string, string>> = {
  '"': '\\"',
  "\\": "\\\\",
  "\n": "\\n",
  "\r": "\\r",
  "\t": "\\t",
  "\b": "\\b",
  "\f": "\\f",
};

const escapeUnit = (unit: string): string =>
  ESCAPES[unit] ?? `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`;
