import { bind, needInteger } from "./arguments.js";
import { fail, refuse } from "./failure.js";
import type { Filter } from "./filters.js";
import { POINT } from "./meter.js";
import { toJson, type JsonStyle } from "./json.js";
import { truth } from "./equality.js";
import { formatPercent } from "./percent-format.js";
import { offsetOf, pointCount } from "./points.js";
import { needStr, toStr, writeMapped } from "./printing.js";
import { needLength } from "./sequences.js";
import { splitLines } from "./splitting.js";
import { CENTER, pad, recase, replace, strip } from "./string-methods.js";
import { EMPTY, Markup, Str, TextBuilder } from "./text.js";
import { typeName } from "./type-names.js";
import { capitalize, lower, upper } from "./unicode.js";
import { Dict, integerOf, List, Tuple, Undefined, type Runtime, type Value } from "./values.js";
import { isSpace } from "./whitespace.js";

/** `soft_str` and what is done with it: text marked as safe would stay marked, which is refused. */
function softStr({ meter }: Runtime, value: Value, name: string): Str {
  if (value instanceof Markup) throw refuse(`"${name}" of text marked as safe`);
  return toStr(meter, value);
}

const recased =
  (name: string, change: (text: string) => string): Filter =>
  (runtime, value, positional, named) => {
    bind(name, [], positional, named);
    const text = softStr(runtime, value, name);
    if (change === capitalize || change === titled) runtime.meter.spend(POINT * text.text.length);
    return recase(runtime.meter, text, change);
  };

const STARTS_WORD = /[-({[<]/;

/** The filter `title`, which is another than str.title: words begin behind white space and opening brackets. */
function titled(text: string): string {
  let result = "";
  let begins = true;
  for (const point of text) {
    const gap = STARTS_WORD.test(point) || isSpace(point.codePointAt(0)!);
    if (!begins && point === "\u03a3") throw refuse("title with the letter \u03a3");
    result += gap ? point : begins ? point.toUpperCase() : point.toLowerCase();
    begins = gap;
  }
  return result;
}

function indent({ meter }: Runtime, text: Str, width: Str, first: boolean, blank: boolean): Str {
  const builder = new TextBuilder(meter);
  builder.add(text);
  builder.own("\n");
  const lines = splitLines(meter, builder.finish(), false);
  const out = new TextBuilder(meter);
  lines.forEach((line, i) => {
    if (i > 0) out.own("\n");
    if (i === 0 ? first : blank || line.text !== "") out.add(width);
    out.add(line);
  });
  return out.finish();
}

const HTML: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  "'": "&#39;",
  '"': "&#34;",
};

function escape(runtime: Runtime, value: Value): Markup {
  if (value instanceof Markup) return value;
  const out = new TextBuilder(runtime.meter);
  writeMapped(runtime.meter, toStr(runtime.meter, value), out, (part) =>
    part.replace(/[&<>'"]/g, (unit) => HTML[unit]!),
  );
  return new Markup(out.finish());
}

function jsonStyle(runtime: Runtime, bound: readonly (Value | undefined)[]): JsonStyle {
  const [ascii = false, indentBy = null, separators = null, sortKeys = false] = bound;
  let indentText: Str | null = null;
  if (indentBy instanceof Str) {
    indentText = indentBy;
  } else if (indentBy !== null) {
    const width = Math.max(0, needInteger(indentBy, "indent"));
    runtime.meter.characters(width);
    indentText = new Str(" ".repeat(width));
  }
  let [itemSeparator, keySeparator] = [new Str(indentText === null ? ", " : ","), new Str(": ")];
  if (separators !== null) {
    const pair = separators instanceof List || separators instanceof Tuple ? separators.items : [];
    if (pair.length !== 2) throw fail("separators must be two strings");
    [itemSeparator, keySeparator] = [needStr(pair[0]!, "separators"), needStr(pair[1]!, "separators")];
  }
  return { ascii: truth(ascii), indent: indentText, itemSeparator, keySeparator, sortKeys: truth(sortKeys) };
}

function truncate(runtime: Runtime, value: Value, bound: readonly (Value | undefined)[]): Value {
  const { meter } = runtime;
  const [length = 255, killWords = false, end = new Str("..."), leeway = null] = bound;
  const most = needInteger(length, "length");
  const slack = leeway === null ? 5 : needInteger(leeway, "leeway");
  const ending = needStr(end, "truncate");
  const endLength = pointCount(meter, ending.text);
  if (most < endLength || slack < 0)
    throw fail("expected a length of at least that of the end, and no negative leeway");
  if (needLength(meter, value) <= most + slack) return value;
  const text = needStr(value, "truncate");
  let cut = text.slice(0, offsetOf(meter, text.text, most - endLength));
  if (!truth(killWords)) {
    const blank = cut.text.lastIndexOf(" ");
    if (blank >= 0) cut = cut.slice(0, blank);
  }
  const out = new TextBuilder(meter);
  out.add(cut);
  out.add(ending);
  return out.finish();
}

export const TEXT_FILTERS: readonly (readonly [string, Filter])[] = [
  ["upper", recased("upper", upper)],
  ["lower", recased("lower", lower)],
  ["capitalize", recased("capitalize", capitalize)],
  ["title", recased("title", titled)],
  [
    "trim",
    (runtime, value, positional, named) => {
      const [characters = null] = bind("trim", ["chars"], positional, named);
      return strip(runtime.meter, softStr(runtime, value, "trim"), characters, "both");
    },
  ],
  [
    "replace",
    (runtime, value, positional, named) => {
      const { meter } = runtime;
      const [old, fresh, count = null] = bind("replace", ["old", "new", "count"], positional, named, {
        required: 2,
      });
      const most = count === null ? -1 : needInteger(count, "count");
      return replace(meter, toStr(meter, value), toStr(meter, old!), toStr(meter, fresh!), most);
    },
  ],
  [
    "string",
    ({ meter }, value, positional, named) => {
      bind("string", [], positional, named);
      return value instanceof Markup ? value : toStr(meter, value);
    },
  ],
  [
    "center",
    (runtime, value, positional, named) => {
      const [width = 80] = bind("center", ["width"], positional, named);
      const text = softStr(runtime, value, "center");
      return pad(runtime.meter, text, needInteger(width, "the width"), new Str(" "), CENTER);
    },
  ],
  [
    "format",
    (runtime, value, positional, named) => {
      if (positional.length > 0 && named.size > 0)
        throw fail("format takes no positional and named arguments at once");
      const pairs = [...named].map(([name, one]) => [new Str(name), one] as const);
      const values = named.size > 0 ? new Dict(pairs, (key) => (key as Str).text) : new Tuple(positional);
      return formatPercent(runtime.meter, softStr(runtime, value, "format"), values);
    },
  ],
  [
    "indent",
    (runtime, value, positional, named) => {
      const [width = 4, first = false, blank = false] = bind(
        "indent",
        ["width", "first", "blank"],
        positional,
        named,
      );
      let by: Str;
      if (width instanceof Str) {
        by = width;
      } else {
        const blanks = Math.max(0, needInteger(width, "width"));
        runtime.meter.characters(blanks);
        by = new Str(" ".repeat(blanks));
      }
      return indent(runtime, needStr(value, "indent"), by, truth(first), truth(blank));
    },
  ],
  [
    "truncate",
    (runtime, value, positional, named) =>
      truncate(runtime, value, bind("truncate", ["length", "killwords", "end", "leeway"], positional, named)),
  ],
  [
    "wordcount",
    (runtime, value, positional, named) => {
      bind("wordcount", [], positional, named);
      const { text } = softStr(runtime, value, "wordcount");
      let count = 0;
      let within = false;
      runtime.meter.spend(POINT * text.length);
      for (const point of text) {
        const letter = /[\p{L}\p{N}_]/u.test(point);
        if (letter && !within) ++count;
        within = letter;
      }
      return count;
    },
  ],
  [
    "tojson",
    (runtime, value, positional, named) => {
      const parameters = ["ensure_ascii", "indent", "separators", "sort_keys"];
      return toJson(runtime.meter, value, jsonStyle(runtime, bind("tojson", parameters, positional, named)));
    },
  ],
  [
    "safe",
    ({ meter }, value, positional, named) => {
      bind("safe", [], positional, named);
      return value instanceof Markup ? value : new Markup(toStr(meter, value));
    },
  ],
  ...["escape", "e"].map((name): [string, Filter] => [
    name,
    (runtime, value, positional, named) => {
      bind(name, [], positional, named);
      return escape(runtime, value);
    },
  ]),
  [
    "forceescape",
    (runtime, value, positional, named) => {
      bind("forceescape", [], positional, named);
      return escape(runtime, value instanceof Markup ? value.str : value);
    },
  ],
  [
    "urlencode",
    (runtime, value, positional, named) => {
      bind("urlencode", [], positional, named);
      if (!(value instanceof Str) && integerOf(value) === undefined)
        throw refuse(`urlencode of ${typeName(value)}`);
      const text = toStr(runtime.meter, value);
      if (/\p{Surrogate}/u.test(text.text)) throw fail("half a surrogate pair cannot be encoded");
      const out = new TextBuilder(runtime.meter);
      writeMapped(runtime.meter, text, out, (part) =>
        encodeURIComponent(part)
          .replace(/[!'()*]/g, (unit) => `%${unit.charCodeAt(0).toString(16).toUpperCase()}`)
          .replaceAll("%2F", "/"),
      );
      return out.finish();
    },
  ],
  ...["default", "d"].map((name): [string, Filter] => [
    name,
    (_, value, positional, named) => {
      const [otherwise = EMPTY, boolean = false] = bind(
        name,
        ["default_value", "boolean"],
        positional,
        named,
      );
      return value instanceof Undefined || (truth(boolean) && !truth(value)) ? otherwise : value;
    },
  ]),
];
