import { caseEquivalents, pythonCaseEquivalents } from "./case-folding.js";
import { type CharSet, closure, complement, intersection, type Range, rangeSet, union } from "./char-set.js";
import type { Cursor, Flags } from "./cursor.js";
import { classCodePoint, setEscape } from "./escapes.js";
import { posixClass } from "./properties.js";

/** Sets within one class, ranges apart. */
const MAX_PARTS = 64;
const MAX_NESTING = 32;

/** A class as it is put together: ranges and other sets. */
class Collector {
  readonly #ranges: Range[] = [];
  readonly #parts = new Set<CharSet>();

  constructor(readonly cursor: Cursor) {}

  range(low: number, high: number): void {
    this.#ranges.push([low, high]);
  }

  set(set: CharSet): void {
    this.#parts.add(set);
    if (this.#parts.size > MAX_PARTS)
      throw this.cursor.unsupported(`a character class of more than ${MAX_PARTS} named or nested classes`);
  }

  /** Takes over what a nested class has, unless it is a set of its own. */
  merge(inner: Collector): void {
    this.#ranges.push(...inner.#ranges);
    for (const part of inner.#parts) this.set(part);
  }

  build(): CharSet {
    return union([
      ...(this.#ranges.length > 0 || this.#parts.size === 0 ? [rangeSet(this.#ranges)] : []),
      ...this.#parts,
    ]);
  }
}

export interface ClassItem {
  readonly set: CharSet;
  /** False for [^…]. */
  readonly positive: boolean;
}

/** Reads a class in brackets; the opening one has been taken. */
export function parseClass(cursor: Cursor, flags: Flags): ClassItem {
  const start = cursor.at;
  const positive = cursor.peek() !== "^";
  const inner = cursor.dialect === "python" ? pythonClass(cursor, flags) : onigurumaClass(cursor, flags, 0);
  const key = `[${flags.ignoreCase ? "i" : ""}${flags.ascii ? "a" : ""}${cursor.source.slice(start, cursor.at)}`;
  const set = cursor.intern(key, () => {
    const positiveSet = inner.collected.build();
    const equivalents = cursor.dialect === "python" ? pythonCaseEquivalents : caseEquivalents;
    const closed = flags.ignoreCase ? closure(positiveSet, equivalents) : positiveSet;
    return positive ? closed : complement(closed);
  });
  return { set, positive };
}

interface Collected {
  readonly collected: Collector;
  readonly negated: boolean;
}

function pythonClass(cursor: Cursor, flags: Flags): Collected {
  const start = cursor.at - 1;
  const negated = cursor.eat("^");
  const collected = new Collector(cursor);
  for (let first = true; first || cursor.peek() !== "]"; first = false) {
    if (cursor.ended) throw cursor.malformed("a character class that is not closed", start);
    const at = cursor.at;
    const low = classItem(cursor, flags);
    if (cursor.peek() !== "-" || cursor.peek(1) === "]" || cursor.peek(1) === "") {
      if (typeof low === "number") collected.range(low, low);
      else collected.set(low);
      continue;
    }
    cursor.at++;
    const high = classItem(cursor, flags);
    if (typeof low !== "number" || typeof high !== "number" || high < low)
      throw cursor.malformed("a range that is none", at);
    collected.range(low, high);
  }
  cursor.at++;
  return { collected, negated };
}

/** Takes a character, or an escape for one or for a set. */
function classItem(cursor: Cursor, flags: Flags): number | CharSet {
  if (!cursor.eat("\\")) return cursor.next("a character");
  return setEscape(cursor, flags, true) ?? classCodePoint(cursor);
}

function onigurumaClass(cursor: Cursor, flags: Flags, depth: number): Collected {
  const start = cursor.at - 1;
  if (depth > MAX_NESTING) throw cursor.unsupported(`classes nested more than ${MAX_NESTING} deep`, start);
  const negated = cursor.eat("^");
  const operands: Collector[] = [];
  let collected = new Collector(cursor);
  /** What a hyphen may follow: nothing yet, one character, a whole range, a set. */
  let before: "start" | "char" | "range" | "set" = "start";
  let low = 0;
  const flush = (): void => {
    if (before === "char") collected.range(low, low);
  };
  const single = (code: number): void => {
    flush();
    low = code;
    before = "char";
  };
  const add = (set: CharSet): void => {
    flush();
    collected.set(set);
    before = "set";
  };
  if (cursor.peek() === "]") {
    if (!hasLaterBracket(cursor)) throw cursor.malformed("an empty character class", start);
    cursor.at++;
    single(0x5d);
  }
  while (!cursor.eat("]")) {
    if (cursor.ended) throw cursor.malformed("a character class that is not closed", start);
    const at = cursor.at;
    if (cursor.eat("&&")) {
      flush();
      before = "start";
      operands.push(collected);
      collected = new Collector(cursor);
    } else if (cursor.peek() === "[") {
      const posix = posixBracket(cursor);
      if (posix !== undefined) {
        add(posix);
        continue;
      }
      cursor.at++;
      const inner = onigurumaClass(cursor, flags, depth + 1);
      flush();
      before = "set";
      if (inner.negated) collected.set(complement(inner.collected.build()));
      else collected.merge(inner.collected);
    } else if (cursor.peek() === "-" && before !== "start") {
      cursor.at++;
      const last =
        cursor.peek() === "]" || cursor.peek() === "[" || cursor.source.startsWith("&&", cursor.at);
      if (last || before === "range") {
        single(0x2d);
        continue;
      }
      if (before === "set") throw cursor.malformed("a range that begins with a class", at);
      const high = classItem(cursor, flags);
      if (typeof high !== "number") throw cursor.malformed("a range that ends with a class", at);
      if (high < low) throw cursor.malformed("a range whose end lies before its start", at);
      collected.range(low, high);
      before = "range";
    } else {
      const item = classItem(cursor, flags);
      if (typeof item === "number") single(item);
      else add(item);
    }
  }
  flush();
  if (operands.length === 0) return { collected, negated };
  const all = new Collector(cursor);
  const sets = [...operands, collected].map((operand) => operand.build());
  if (sets.length > MAX_PARTS) throw cursor.unsupported(`more than ${MAX_PARTS} intersections`, start);
  all.set(intersection(sets));
  return { collected: all, negated };
}

/** Is there a closing bracket behind the one here? */
function hasLaterBracket(cursor: Cursor): boolean {
  for (let at = cursor.at + 1; at < cursor.source.length; at++) {
    if (cursor.source[at] === "\\") ++at;
    else if (cursor.source[at] === "]") return true;
  }
  return false;
}

/** Takes [:name:] or [:^name:]. */
function posixBracket(cursor: Cursor): CharSet | undefined {
  const found = /^\[:(\^?)([a-z]{1,8}):\]/.exec(cursor.source.slice(cursor.at, cursor.at + 16));
  if (found === null) return undefined;
  const set = posixClass(found[2]!);
  if (set === undefined) return undefined;
  cursor.at += found[0].length;
  return found[1] === "" ? set : cursor.intern(found[0], () => complement(set));
}

export const anyBut = (code: number): CharSet => complement(rangeSet([[code, code]]));
