import { type CharSet, complement } from "./char-set.js";
import type { Cursor, Flags } from "./cursor.js";
import { classEscape, namedSet } from "./properties.js";

/** Letters behind a backslash that stand for a control character, in both dialects. */
const CONTROLS: Readonly<Record<string, number>> = { a: 7, f: 12, n: 10, r: 13, t: 9, v: 11 };

/** Takes an escape that stands for a set: \d, \S, \p{L} …; the backslash has been taken. Undefined for another escape. */
export function setEscape(cursor: Cursor, flags: Flags, inClass: boolean): CharSet | undefined {
  const letter = cursor.peek();
  const lower = letter.toLowerCase();
  if ((letter === "p" || letter === "P") && cursor.dialect === "oniguruma" && cursor.peek(1) === "{")
    return property(cursor, inClass);
  const set = classEscape(lower, cursor.dialect, flags.ascii, inClass);
  if (set === undefined) return undefined;
  cursor.at++;
  return letter === lower
    ? set
    : cursor.intern(`${inClass ? "[" : ""}\\${letter}${flags.ascii ? "a" : ""}`, () => complement(set));
}

function property(cursor: Cursor, inClass: boolean): CharSet {
  const at = cursor.at - 1;
  const outer = cursor.peek() === "P";
  cursor.at += 2;
  const inverse = cursor.eat("^") !== outer;
  const name = cursor.until("}", "a property's name");
  const set = name.length > 64 ? null : namedSet(name, inClass);
  if (set === null) throw cursor.unsupported(`the property "${name.slice(0, 64)}"`, at);
  return inverse ? cursor.intern(`${inClass ? "[" : ""}\\P${name}`, () => complement(set)) : set;
}

/** Takes an escape within a class that stands for one character; the backslash has been taken. */
export function classCodePoint(cursor: Cursor): number {
  if (cursor.eat("b")) return 8;
  return codePoint(cursor, true);
}

/** Takes an escape that stands for one character; the backslash has been taken. Refuses back-references by name. */
export function codePoint(cursor: Cursor, inClass: boolean): number {
  const at = cursor.at - 1;
  const letter = cursor.peek();
  if (letter === "") throw cursor.malformed("a backslash at the end", at);
  if (Object.hasOwn(CONTROLS, letter)) {
    cursor.at++;
    return CONTROLS[letter]!;
  }
  return cursor.dialect === "python"
    ? pythonCodePoint(cursor, letter, at, inClass)
    : onigurumaCodePoint(cursor, letter, at, inClass);
}

function pythonCodePoint(cursor: Cursor, letter: string, at: number, inClass: boolean): number {
  if (letter >= "0" && letter <= "9") {
    const octal = letter === "0" || inClass ? /^[0-7]{1,3}/ : /^[0-7]{3}/;
    const digits = octal.exec(cursor.source.slice(cursor.at, cursor.at + 3))?.[0];
    if (digits === undefined && !inClass) throw backReference(cursor, at);
    const code = parseInt(digits ?? "", 8);
    if (!(code <= 0o377)) throw cursor.malformed("an octal escape beyond 377", at);
    cursor.at += digits!.length;
    return code;
  }
  cursor.at++;
  const width = { x: 2, u: 4, U: 8 }[letter];
  if (width !== undefined) {
    const code = parseInt(cursor.digits(16, width, width) ?? "", 16);
    if (!(code <= 0x10ffff)) throw cursor.malformed(`an escape \\${letter} without ${width} digits`, at);
    return code;
  }
  if (letter === "N") throw cursor.unsupported("a character by its name (\\N{…})", at);
  if (/[a-zA-Z]/.test(letter))
    throw cursor.malformed(`the escape \\${letter}, which Python does not have,`, at);
  cursor.at--;
  return cursor.next("a character");
}

function onigurumaCodePoint(cursor: Cursor, letter: string, at: number, inClass: boolean): number {
  if (letter >= "0" && letter <= "9") {
    const number = /^[0-9]+/.exec(cursor.source.slice(cursor.at, cursor.at + 9))![0];
    if (!inClass && letter !== "0" && Number(number) <= 9) throw backReference(cursor, at);
    const digits = cursor.digits(8, 1, 3);
    return digits === null ? cursor.next("a digit") : parseInt(digits, 8);
  }
  cursor.at++;
  switch (letter) {
    case "e":
      return 0x1b;
    case "x":
    case "o":
      if (cursor.eat("{")) return inBraces(cursor, letter === "x" ? 16 : 8, at);
      if (letter === "o") return 0x6f;
      return singleByte(cursor, parseInt(cursor.digits(16, 1, 2) ?? "0", 16), at);
    case "u": {
      const digits = cursor.digits(16, 4, 4);
      if (digits === null) throw cursor.malformed("an escape \\u without 4 digits", at);
      return parseInt(digits, 16);
    }
    case "c":
      return control(cursor, at);
    case "C":
      if (!cursor.eat("-")) throw cursor.malformed("an escape \\C without a hyphen", at);
      return control(cursor, at);
    case "M":
      throw cursor.unsupported("a meta character (\\M-…)", at);
    case "k":
      if (!inClass && /[<']/.test(cursor.peek())) throw backReference(cursor, at);
      break;
    case "g":
      if (!inClass && /[<']/.test(cursor.peek())) throw cursor.unsupported("a subexpression call (\\g)", at);
      break;
    default:
  }
  cursor.at--;
  return cursor.next("a character");
}

function inBraces(cursor: Cursor, base: 8 | 16, at: number): number {
  const code = parseInt(cursor.digits(base, 1, 11) ?? "", base);
  if (!(code <= 0x10ffff) || !cursor.eat("}")) throw cursor.malformed("an escape without a code point", at);
  return code;
}

/** A byte beyond ASCII is no character in UTF-8. */
function singleByte(cursor: Cursor, code: number, at: number): number {
  if (code > 0x7f) throw cursor.malformed("an escape \\x beyond 7F without braces", at);
  return code;
}

function control(cursor: Cursor, at: number): number {
  const code = cursor.next("a character");
  if (code > 0x7f || code === 0x5c) throw cursor.unsupported("this control character", at);
  return code === 0x3f ? 0x7f : code & 0x1f;
}

const backReference = (cursor: Cursor, at: number): Error => cursor.unsupported("a back-reference", at);
