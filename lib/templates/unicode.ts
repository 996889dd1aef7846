import { refuse } from "./failure.js";
import { isSpace } from "./whitespace.js";

// Classes and cases of characters as Python's str has them, from JavaScript's tables. Where Python's tables differ from what
// JavaScript has, a text is refused.

/** Decimal digits aside, what `isdigit` takes. */
const DIGIT =
  /[\p{Nd}\xb2\xb3\xb9\u1369-\u1371\u19da\u2070\u2074-\u2079\u2080-\u2089\u2460-\u2468\u2474-\u247c\u2488-\u2490\u24ea\u24f5-\u24fd\u24ff\u2776-\u277e\u2780-\u2788\u278a-\u2792\u{10a40}-\u{10a43}\u{10e60}-\u{10e68}\u{11052}-\u{1105a}\u{1f100}-\u{1f10a}]/u;
/** Ideographs that `isnumeric` takes. */
const NUMERAL =
  /[\p{N}\u3405\u3483\u382a\u3b4d\u4e00\u4e03\u4e07\u4e09\u4e5d\u4e8c\u4e94\u4e96\u4ebf\u4ec0\u4edf\u4ee8\u4f0d\u4f70\u5104\u5146\u5169\u516b\u516d\u5341\u5343-\u5345\u534c\u53c1-\u53c4\u56db\u58f1\u58f9\u5e7a\u5efe\u5eff\u5f0c-\u5f0e\u5f10\u62fe\u634c\u67d2\u6f06\u7396\u767e\u8086\u842c\u8cae\u8cb3\u8d30\u9621\u9646\u964c\u9678\u96f6\uf96b\uf973\uf978\uf9b2\uf9d1\uf9d3\uf9fd\u{20001}\u{20064}\u{200e2}\u{20121}\u{2092a}\u{20983}\u{2098c}\u{2099c}\u{20aea}\u{20afd}\u{20b19}\u{22390}\u{22998}\u{23b1b}\u{2626d}\u{2f890}]/u;

const LETTER = /\p{L}/u;
const DECIMAL = /\p{Nd}/u;
const PRINTABLE = / |[^\p{C}\p{Z}]/u;
const UPPER = /\p{Uppercase}/u;
const LOWER = /\p{Lowercase}/u;
const TITLE = /\p{Lt}/u;
const CASED = /[\p{Uppercase}\p{Lowercase}\p{Lt}]/u;

/** Is there a character, and is each of the class? */
const each =
  (test: (point: string) => boolean) =>
  (text: string): boolean => {
    for (const point of text) if (!test(point)) return false;
    return text !== "";
  };

export const CLASSES: ReadonlyMap<string, (text: string) => boolean> = new Map([
  ["isalpha", each((point) => LETTER.test(point))],
  ["isdecimal", each((point) => DECIMAL.test(point))],
  ["isdigit", each((point) => DIGIT.test(point))],
  ["isnumeric", each((point) => NUMERAL.test(point))],
  ["isalnum", each((point) => LETTER.test(point) || NUMERAL.test(point))],
  ["isspace", each((point) => isSpace(point.codePointAt(0)!))],
  ["isprintable", (text: string) => text === "" || each((point) => PRINTABLE.test(point))(text)],
  ["isascii", (text: string) => !/[^\0-\x7f]/.test(text)],
  ["isidentifier", (text: string) => /^[\p{XID_Start}_]\p{XID_Continue}*$/u.test(text)],
  ["islower", (text: string) => LOWER.test(text) && !UPPER.test(text) && !TITLE.test(text)],
  ["isupper", (text: string) => UPPER.test(text) && !LOWER.test(text) && !TITLE.test(text)],
  ["istitle", isTitle],
]);

function isTitle(text: string): boolean {
  let found = false;
  let afterCased = false;
  for (const point of text) {
    if (UPPER.test(point) || TITLE.test(point)) {
      if (afterCased) return false;
      afterCased = found = true;
    } else if (LOWER.test(point)) {
      if (!afterCased) return false;
      found = true;
    } else {
      afterCased = false;
    }
  }
  return found;
}

export const upper = (text: string): string => text.toUpperCase();

/** JavaScript's rule for a final sigma is Unicode's, and so is Python's. */
export const lower = (text: string): string => text.toLowerCase();

/** Characters with a titlecase that is not their uppercase. */
const TITLED =
  /[\xdf\u01c4-\u01cc\u01f1-\u01f3\u0587\u10d0-\u10fa\u10fd-\u10ff\u1f80-\u1faf\u1fb2-\u1fb4\u1fb7\u1fbc\u1fc2-\u1fc4\u1fc7\u1fcc\u1ff2-\u1ff4\u1ff7\u1ffc\ufb00-\ufb06\ufb13-\ufb17]/;
/** Characters whose casefold is not their lowercase. */
const FOLDED =
  /[\xb5\xdf\u0149\u017f\u01f0\u0345\u0390\u03b0\u03c2\u03d0\u03d1\u03d5\u03d6\u03f0\u03f1\u03f5\u0587\u13a0-\u13fd\u1c80-\u1c88\u1e96-\u1e9b\u1e9e\u1f50-\u1f56\u1f80-\u1ffc\uab70-\uabbf\ufb00-\ufb06\ufb13-\ufb17]/;

export function casefold(text: string): string {
  if (FOLDED.test(text)) throw refuse("casefold of letters other than a to z with this text");
  // A sigma that ends a word folds to the usual one.
  return text.toLowerCase().replaceAll("\u03c2", "\u03c3");
}

/** Changes the case of each code point by what stands before it: up, down, or not at all. */
function recased(
  text: string,
  what: string,
  change: (point: string, before: string) => "up" | "down" | "none",
): string {
  let result = "";
  let before = "";
  for (const point of text) {
    const how = change(point, before);
    // A sigma is another letter at the end of a word.
    if ((how === "down" && point === "\u03a3") || (how === "up" && what !== "swapcase" && TITLED.test(point)))
      throw refuse(`${what} with the letter ${point}`);
    result += how === "none" ? point : how === "up" ? point.toUpperCase() : point.toLowerCase();
    before = point;
  }
  return result;
}

export const capitalize = (text: string): string =>
  recased(text, "capitalize", (_, before) => (before === "" ? "up" : "down"));

/** Python's str.title: upper case behind what has no case. */
export const title = (text: string): string =>
  recased(text, "title", (_, before) => (CASED.test(before) ? "down" : "up"));

export const swapcase = (text: string): string =>
  recased(text, "swapcase", (point) => (UPPER.test(point) ? "down" : LOWER.test(point) ? "up" : "none"));
