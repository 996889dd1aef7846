import { bind, needInteger } from "./arguments.js";
import { formatBraces } from "./brace-format.js";
import { fail, refuse } from "./failure.js";
import { OBJECT, POINT, type Meter } from "./meter.js";
import { offsetOf, pointAt, pointCount, points } from "./points.js";
import { needStr } from "./printing.js";
import { Finder } from "./search.js";
import { iterate } from "./sequences.js";
import { rsplit, split, splitLines } from "./splitting.js";
import { Str, TextBuilder } from "./text.js";
import { typeName } from "./type-names.js";
import { capitalize, casefold, CLASSES, lower, swapcase, title, upper } from "./unicode.js";
import { Dict, List, Tuple, type Named, type Value } from "./values.js";
import { skipSpace, trimmedEnd } from "./whitespace.js";

type Method = (meter: Meter, self: Str, positional: readonly Value[], named: Named) => Value;

const BY_POSITION = { byPosition: true };

/** strip, lstrip, rstrip: of white space, or of any of the characters. */
export function strip(meter: Meter, self: Str, characters: Value, sides: "both" | "left" | "right"): Str {
  const { text } = self;
  meter.scan(text.length);
  meter.spend(OBJECT);
  let [start, end] = [0, text.length];
  if (characters === null) {
    if (sides !== "right") start = skipSpace(text, 0);
    if (sides !== "left") end = trimmedEnd(text, start, end);
    return self.slice(start, end);
  }
  const set = needStr(characters, "strip").text;
  meter.elements(4 * set.length);
  const members = new Set(set);
  const before = (at: number): number =>
    at >= 2 && (text.charCodeAt(at - 1) & 0xfc00) === 0xdc00 && (text.charCodeAt(at - 2) & 0xfc00) === 0xd800
      ? 2
      : 1;
  if (sides !== "right")
    while (start < end) {
      const point = String.fromCodePoint(text.codePointAt(start)!);
      meter.spend(POINT);
      if (!members.has(point)) break;
      start += point.length;
    }
  if (sides !== "left")
    while (end > start) {
      const size = before(end);
      meter.spend(POINT);
      if (!members.has(text.slice(end - size, end))) break;
      end -= size;
    }
  return self.slice(start, end);
}

/** A new text in another case. */
export function recase(meter: Meter, self: Str, change: (text: string) => string): Str {
  meter.characters(3 * self.text.length);
  return self.replaced(change(self.text));
}

const caseMethod =
  (name: string, change: (text: string) => string): Method =>
  (meter, self, positional, named) => {
    bind(name, [], positional, named);
    if (change !== upper && change !== lower) meter.spend(POINT * self.text.length);
    return recase(meter, self, change);
  };

const classMethod =
  (name: string, test: (text: string) => boolean): Method =>
  (meter, self, positional, named) => {
    bind(name, [], positional, named);
    meter.spend(POINT * self.text.length);
    return test(self.text);
  };

const stripMethod =
  (name: string, sides: "both" | "left" | "right"): Method =>
  (meter, self, positional, named) => {
    const [characters = null] = bind(name, ["chars"], positional, named, BY_POSITION);
    return strip(meter, self, characters, sides);
  };

/** Offsets of the part that the arguments `start` and `end` choose; null where start lies past the end. */
function range(meter: Meter, text: string, start: Value = null, end: Value = null): [number, number] | null {
  if (start === null && end === null) return [0, text.length];
  const length = pointCount(meter, text);
  const clamp = (value: Value, otherwise: number): number => {
    if (value === null) return otherwise;
    const index = needInteger(value, "an index");
    return Math.max(0, index < 0 ? index + length : index);
  };
  const [first, last] = [clamp(start, 0), Math.min(clamp(end, length), length)];
  return first > length || first > last ? null : [offsetOf(meter, text, first), offsetOf(meter, text, last)];
}

const SEARCH = ["sub", "start", "end"];

function find(meter: Meter, self: Str, args: readonly (Value | undefined)[], last: boolean): number {
  const part = needStr(args[0]!, "find").text;
  const { text } = self;
  const bounds = range(meter, text, args[1], args[2]);
  if (bounds === null) return -1;
  const [start, end] = bounds;
  const within = text.slice(start, end);
  const finder = new Finder(meter, part);
  const at = last ? finder.last(within, within.length) : finder.next(within, 0);
  return at < 0 ? -1 : pointAt(meter, text, start + at);
}

const searchMethod =
  (name: string, last: boolean, must: boolean): Method =>
  (meter, self, positional, named) => {
    const args = bind(name, SEARCH, positional, named, { required: 1, ...BY_POSITION });
    const at = find(meter, self, args, last);
    if (must && at < 0) throw fail("substring not found");
    return at;
  };

const affixMethod =
  (name: string, atEnd: boolean): Method =>
  (meter, self, positional, named) => {
    const [affix, start, end] = bind(name, SEARCH, positional, named, { required: 1, ...BY_POSITION });
    const bounds = range(meter, self.text, start, end);
    const affixes = affix instanceof Tuple ? affix.items : [affix!];
    meter.elements(affixes.length);
    return affixes.some((one) => {
      if (!(one instanceof Str))
        throw fail(`${name} needs a string or a tuple of strings, not ${typeName(one)}`);
      meter.scan(one.text.length);
      if (bounds === null) return false;
      const [from, to] = bounds;
      if (one.text.length > to - from) return false;
      return atEnd
        ? self.text.startsWith(one.text, to - one.text.length)
        : self.text.startsWith(one.text, from);
    });
  };

/** Both sides of the first or last separator, and the separator itself. */
const partitionMethod =
  (name: string, last: boolean): Method =>
  (meter, self, positional, named) => {
    const [argument] = bind(name, ["sep"], positional, named, { required: 1, ...BY_POSITION });
    const separator = needStr(argument!, name);
    if (separator.text === "") throw fail("empty separator");
    meter.spend(4 * OBJECT);
    const finder = new Finder(meter, separator.text);
    const at = last ? finder.last(self.text, self.text.length) : finder.next(self.text, 0);
    const empty = new Str("");
    if (at < 0) return new Tuple(last ? [empty, empty, self] : [self, empty, empty]);
    return new Tuple([self.slice(0, at), separator, self.slice(at + separator.text.length)]);
  };

export function replace(meter: Meter, self: Str, old: Str, fresh: Str, count: number): Str {
  const { text } = self;
  let left = count < 0 ? Infinity : count;
  const out = new TextBuilder(meter);
  if (old.text === "") {
    for (const point of points(meter, self)) {
      if (left-- > 0) out.add(fresh);
      out.add(point);
    }
    if (left > 0) out.add(fresh);
    return out.finish();
  }
  let from = 0;
  const finder = new Finder(meter, old.text);
  for (let at = finder.next(text, 0); at >= 0 && left > 0; at = finder.next(text, from), --left) {
    out.add(self.slice(from, at));
    out.add(fresh);
    from = at + old.text.length;
  }
  if (from === 0) return self;
  out.add(self.slice(from));
  return out.finish();
}

/** center, ljust, rjust: the share of the padding that goes to the left. */
export function pad(
  meter: Meter,
  self: Str,
  width: number,
  fill: Str,
  leftOf: (missing: number, width: number) => number,
): Str {
  if (pointCount(meter, fill.text) !== 1) throw fail("the fill character must be exactly one character long");
  const missing = width - pointCount(meter, self.text);
  if (missing <= 0) return self;
  meter.characters(missing * fill.text.length);
  const left = leftOf(missing, width);
  const filler = (count: number): Str => fill.replaced(fill.text.repeat(count));
  const out = new TextBuilder(meter);
  out.add(filler(left));
  out.add(self);
  out.add(filler(missing - left));
  return out.finish();
}

/** As CPython shares out what is odd. */
export const CENTER = (missing: number, width: number): number => (missing >> 1) + (missing & width & 1);

const BLANK = new Str(" ");
const padMethod =
  (name: string, leftOf: (missing: number, width: number) => number): Method =>
  (meter, self, positional, named) => {
    const [width, fill = BLANK] = bind(name, ["width", "fillchar"], positional, named, {
      required: 1,
      ...BY_POSITION,
    });
    return pad(meter, self, needInteger(width!, "the width"), needStr(fill, name), leftOf);
  };

export function join(
  meter: Meter,
  separator: Str,
  items: Iterable<Value>,
  convert: (item: Value) => Str,
): Str {
  const out = new TextBuilder(meter);
  let first = true;
  for (const item of items) {
    if (!first) out.add(separator);
    out.add(convert(item));
    first = false;
  }
  return out.finish();
}

function expandTabs(meter: Meter, self: Str, size: number): Str {
  const out = new TextBuilder(meter);
  let column = 0;
  for (const point of points(meter, self)) {
    if (point.text === "\t") {
      const blanks = size > 0 ? size - (column % size) : 0;
      meter.characters(blanks);
      out.add(point.replaced(" ".repeat(blanks)));
      column += blanks;
    } else {
      out.add(point);
      column = point.text === "\n" || point.text === "\r" ? 0 : column + 1;
    }
  }
  return out.finish();
}

function zfill(meter: Meter, self: Str, width: number): Str {
  const missing = width - pointCount(meter, self.text);
  if (missing <= 0) return self;
  meter.characters(missing);
  const sign = /^[+-]/.test(self.text) ? 1 : 0;
  const out = new TextBuilder(meter);
  out.add(self.slice(0, sign));
  out.own("0".repeat(missing));
  out.add(self.slice(sign));
  return out.finish();
}

function count(meter: Meter, self: Str, args: readonly (Value | undefined)[]): number {
  const part = needStr(args[0]!, "count").text;
  const bounds = range(meter, self.text, args[1], args[2]);
  if (bounds === null) return 0;
  const within = self.text.slice(...bounds);
  if (part === "") return pointCount(meter, within) + 1;
  const finder = new Finder(meter, part);
  let found = 0;
  for (let at = finder.next(within, 0); at >= 0; at = finder.next(within, at + part.length)) ++found;
  return found;
}

const splitMethod =
  (name: string, cut: typeof split): Method =>
  (meter, self, positional, named) => {
    const [separator = null, most = -1] = bind(name, ["sep", "maxsplit"], positional, named);
    const by = separator === null ? null : needStr(separator, name).text;
    if (by === "") throw fail("empty separator");
    return new List(cut(meter, self, by, needInteger(most, "maxsplit")));
  };

const refused =
  (name: string): Method =>
  () => {
    throw refuse(`str.${name}`);
  };

/** The methods of str that chat templates may call. */
export const STRING_METHODS: ReadonlyMap<string, Method> = new Map<string, Method>([
  ...[...CLASSES].map(([name, test]): [string, Method] => [name, classMethod(name, test)]),
  ["capitalize", caseMethod("capitalize", capitalize)],
  ["casefold", caseMethod("casefold", casefold)],
  ["lower", caseMethod("lower", lower)],
  ["swapcase", caseMethod("swapcase", swapcase)],
  ["title", caseMethod("title", title)],
  ["upper", caseMethod("upper", upper)],
  ["strip", stripMethod("strip", "both")],
  ["lstrip", stripMethod("lstrip", "left")],
  ["rstrip", stripMethod("rstrip", "right")],
  ["find", searchMethod("find", false, false)],
  ["rfind", searchMethod("rfind", true, false)],
  ["index", searchMethod("index", false, true)],
  ["rindex", searchMethod("rindex", true, true)],
  ["startswith", affixMethod("startswith", false)],
  ["endswith", affixMethod("endswith", true)],
  ["partition", partitionMethod("partition", false)],
  ["rpartition", partitionMethod("rpartition", true)],
  ["split", splitMethod("split", split)],
  ["rsplit", splitMethod("rsplit", rsplit)],
  ["center", padMethod("center", CENTER)],
  ["ljust", padMethod("ljust", () => 0)],
  ["rjust", padMethod("rjust", (missing) => missing)],
  [
    "splitlines",
    (meter, self, positional, named) => {
      const [keep = false] = bind("splitlines", ["keepends"], positional, named);
      return new List(splitLines(meter, self, needInteger(keep, "keepends") !== 0));
    },
  ],
  [
    "replace",
    (meter, self, positional, named) => {
      const [old, fresh, most = -1] = bind("replace", ["old", "new", "count"], positional, named, {
        required: 2,
        ...BY_POSITION,
      });
      const limit = needInteger(most, "count");
      return replace(meter, self, needStr(old!, "replace"), needStr(fresh!, "replace"), limit);
    },
  ],
  [
    "join",
    (meter, self, positional, named) => {
      const [items] = bind("join", ["iterable"], positional, named, { required: 1, ...BY_POSITION });
      return join(meter, self, iterate(meter, items!), (item) => {
        if (item instanceof Str) return item;
        throw fail(`join needs strings, not ${typeName(item)}`);
      });
    },
  ],
  [
    "count",
    (meter, self, positional, named) =>
      count(meter, self, bind("count", SEARCH, positional, named, { required: 1, ...BY_POSITION })),
  ],
  [
    "removeprefix",
    (_, self, positional, named) => {
      const [prefix] = bind("removeprefix", ["prefix"], positional, named, { required: 1, ...BY_POSITION });
      const { text } = needStr(prefix!, "removeprefix");
      return self.text.startsWith(text) ? self.slice(text.length) : self;
    },
  ],
  [
    "removesuffix",
    (_, self, positional, named) => {
      const [suffix] = bind("removesuffix", ["suffix"], positional, named, { required: 1, ...BY_POSITION });
      const { text } = needStr(suffix!, "removesuffix");
      return text !== "" && self.text.endsWith(text) ? self.slice(0, self.text.length - text.length) : self;
    },
  ],
  [
    "expandtabs",
    (meter, self, positional, named) => {
      const [size = 8] = bind("expandtabs", ["tabsize"], positional, named);
      return expandTabs(meter, self, needInteger(size, "tabsize"));
    },
  ],
  [
    "zfill",
    (meter, self, positional, named) => {
      const [width] = bind("zfill", ["width"], positional, named, { required: 1, ...BY_POSITION });
      return zfill(meter, self, needInteger(width!, "the width"));
    },
  ],
  ["format", (meter, self, positional, named) => formatBraces(meter, self, positional, named)],
  [
    "format_map",
    (meter, self, positional, named) => {
      if (named.size > 0 || positional.length !== 1) throw fail("format_map() takes exactly one argument");
      const [mapping] = positional;
      if (!(mapping instanceof Dict)) throw refuse(`format_map with ${typeName(mapping!)}`);
      const entries = mapping.entries.flatMap(([key, value]) =>
        key instanceof Str ? [[key.text, value] as const] : [],
      );
      return formatBraces(meter, self, [], new Map(entries));
    },
  ],
  ...["encode", "maketrans", "translate"].map((name): [string, Method] => [name, refused(name)]),
]);
