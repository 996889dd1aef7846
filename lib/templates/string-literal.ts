import { fail, refuse } from "./failure.js";

const SIMPLE: Readonly<Record<string, string>> = {
  "\n": "",
  "\\": "\\",
  "'": "'",
  '"': '"',
  a: "\u0007",
  b: "\b",
  f: "\f",
  n: "\n",
  r: "\r",
  t: "\t",
  v: "\v",
};
const HEX: Readonly<Record<string, number>> = { x: 2, u: 4, U: 8 };

/** What stands between the quotes of a string, by Python's `unicode-escape`. */
export function unescapeString(source: string): string {
  if (!source.includes("\\")) return source;
  let text = "";
  for (let at = 0; at < source.length;) {
    const slash = source.indexOf("\\", at);
    if (slash < 0) return text + source.slice(at);
    text += source.slice(at, slash);
    const letter = source[slash + 1]!;
    at = slash + 2;
    if (SIMPLE[letter] !== undefined) {
      text += SIMPLE[letter];
    } else if (HEX[letter] !== undefined) {
      const digits = source.slice(at, at + HEX[letter]);
      if (!/^[\da-f]+$/i.test(digits) || digits.length < HEX[letter])
        throw fail(`a string with the broken escape \\${letter}${digits}`);
      text += character(parseInt(digits, 16));
      at += digits.length;
    } else if (letter >= "0" && letter <= "7") {
      const digits = /^[0-7]{1,3}/.exec(source.slice(slash + 1, slash + 4))![0];
      text += character(parseInt(digits, 8));
      at = slash + 1 + digits.length;
    } else if (letter === "N") {
      throw refuse("a string with \\N{…}");
    } else if (letter > "\u007f") {
      // jinja2 turns it into an escape before the slash is looked at, which keeps that from being one.
      const code = source.codePointAt(slash + 1)!;
      const hex = code.toString(16);
      const [mark, width] = code < 0x100 ? ["x", 2] : code < 0x10000 ? ["u", 4] : ["U", 8];
      text += `\\${mark}${hex.padStart(width, "0")}`;
      at = slash + 1 + (code > 0xffff ? 2 : 1);
    } else {
      text += `\\${letter}`;
    }
  }
  return text;
}

function character(code: number): string {
  if (code > 0x10ffff) throw fail("a string with an escape past U+10FFFF");
  if (code >= 0xd800 && code <= 0xdfff) throw refuse("a string with half a surrogate pair");
  return String.fromCodePoint(code);
}
