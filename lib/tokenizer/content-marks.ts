import { LowrankError } from "../errors/index.js";

/** JSON values, as messages and tools are made of. */
export type JsonValue = string | number | boolean | null | JsonValue[] | { [key: string]: JsonValue };

/** Deepest nesting and most text (UTF-16 units) of what is handed to a template. */
const MAX_DEPTH = 32;
const MAX_INPUT = 1 << 24;

/**
 * Characters such that each control token has one of them; greedy, marks before letters: usually just "<".
 * A token of white space only cannot be guarded and is left out.
 */
export function guardCharacters(controlTokens: readonly string[]): string[] {
  const chosen: string[] = [];
  let open = controlTokens.map(
    (token) => new Set(token.split("").filter((unit) => !/[\s\p{Surrogate}]/u.test(unit))),
  );
  for (open = open.filter((units) => units.size > 0); open.length > 0;) {
    const counts = new Map<string, number>();
    for (const units of open)
      for (const unit of units)
        counts.set(unit, (counts.get(unit) ?? 0) + (/[\p{L}\p{N}]/u.test(unit) ? 1 : 1_000_000));
    const best = [...counts].reduce((a, b) => (b[1] > a[1] ? b : a))[0];
    chosen.push(best);
    open = open.filter((units) => !units.has(best));
  }
  return chosen;
}

/**
 * One-to-one replacement of characters by private ones that occur nowhere else, and back. While a template renders, a private one
 * stands for a character that came in with a message; lengths, slices and trimming stay as they are.
 */
export class Marks {
  readonly #to = new Map<string, string>();
  readonly #from = new Map<string, string>();
  readonly #guards: RegExp;
  readonly #marked: RegExp;
  readonly #markedNoBom: RegExp;

  /** @param texts everything in which the private characters must not occur */
  constructor(guards: readonly string[], texts: readonly string[]) {
    const used = new Set<string>();
    for (const text of texts)
      for (const unit of text.match(/[\ufdd0-\ufdef\ue000-\uf8ff]/g) ?? []) used.add(unit);
    const free = privateCharacters(used);
    for (const character of [BOM, ...guards]) {
      const { value, done } = free.next();
      if (done)
        throw new LowrankError(
          "ERR_CHAT_TEMPLATE",
          "Expected messages that leave some private-use characters free for marking, received all of them.",
        );
      this.#to.set(character, value);
      this.#from.set(value, character);
    }
    const marks = [...this.#from.keys()];
    this.#guards = classOf(guards);
    this.#marked = classOf(marks);
    this.#markedNoBom = classOf(marks.slice(1));
  }

  /** U+FEFF is white space to JavaScript's trim, and not to Python's: it is hidden from the template. */
  hideBom(text: string): string {
    return text.replaceAll(BOM, this.#to.get(BOM)!);
  }

  /** Marks every guard character. */
  markAll(text: string): string {
    return this.hideBom(text).replace(this.#guards, (unit) => this.#to.get(unit)!);
  }

  /** Marks the guard characters inside of control tokens only. */
  markTokens(text: string, controlTokens: readonly string[]): string {
    const units = text.split("");
    for (const token of controlTokens)
      for (let at = text.indexOf(token); at >= 0; at = text.indexOf(token, at + 1))
        for (let i = at; i < at + token.length; ++i)
          if (this.#to.has(text[i]!) && text[i] !== BOM) units[i] = this.#to.get(text[i]!)!;
    return this.hideBom(units.join(""));
  }

  unmark(text: string): string {
    return text.replace(this.#marked, (unit) => this.#from.get(unit)!);
  }

  /** Offsets of the marks, ascending. */
  positions(text: string): Int32Array {
    return Int32Array.from(text.matchAll(this.#markedNoBom), (match) => match.index);
  }
}

const BOM = "\ufeff";

function* privateCharacters(used: ReadonlySet<string>): Generator<string, undefined> {
  for (const [first, last] of [
    [0xfdd0, 0xfdef],
    [0xe000, 0xf8ff],
  ] as const)
    for (let code = first; code <= last; ++code)
      if (!used.has(String.fromCharCode(code))) yield String.fromCharCode(code);
  return undefined;
}

function classOf(units: readonly string[]): RegExp {
  return units.length === 0
    ? /(?!)/g
    : new RegExp(
        `[${units.map((unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`).join("")}]`,
        "g",
      );
}

/** Every string of a value, keys too. Throws ERR_INVALID_ARGUMENT for what is no JSON, too deep or too long. */
export function collectStrings(value: unknown, name: string): string[] {
  const strings: string[] = [];
  let total = 0;
  const visit = (item: unknown, depth: number): void => {
    if (depth > MAX_DEPTH) throw invalid(`at most ${MAX_DEPTH} levels of nesting`, name, "more");
    if (typeof item === "string") {
      strings.push(item);
      total += item.length;
      if (total > MAX_INPUT) throw invalid(`at most ${MAX_INPUT} characters`, name, "more");
    } else if (Array.isArray(item)) {
      for (const element of item) visit(element, depth + 1);
    } else if (typeof item === "object" && item !== null) {
      for (const [key, element] of Object.entries(item)) {
        visit(key, depth + 1);
        visit(element, depth + 1);
      }
    } else if (item !== null && item !== undefined && typeof item !== "number" && typeof item !== "boolean") {
      throw invalid("JSON values", name, typeof item);
    }
  };
  visit(value, 0);
  return strings;
}

/** A copy of a JSON value with every string, keys too, passed through `map`. `undefined` in objects is left out. */
export function mapStrings(value: unknown, map: (text: string) => string): unknown {
  if (typeof value === "string") return map(value);
  if (Array.isArray(value)) return value.map((element) => mapStrings(element, map));
  if (typeof value !== "object" || value === null) return value;
  // No prototype: a key "__proto__" is a key like any other.
  const copy = Object.create(null) as Record<string, unknown>;
  for (const [key, element] of Object.entries(value))
    if (element !== undefined) copy[map(key)] = mapStrings(element, map);
  return copy;
}

const invalid = (what: string, name: string, received: string): LowrankError =>
  new LowrankError("ERR_INVALID_ARGUMENT", `Expected ${what} for ${name}, received ${received}.`, {
    details: { name },
  });
