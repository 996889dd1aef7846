import type { CharSet } from "./char-set.js";
import { PatternError } from "./pattern-error.js";
import type { Dialect } from "./properties.js";

export interface Flags {
  readonly ignoreCase: boolean;
  readonly dotAll: boolean;
  readonly multiline: boolean;
  readonly verbose: boolean;
  readonly ascii: boolean;
}

export const NO_FLAGS: Flags = {
  ignoreCase: false,
  dotAll: false,
  multiline: false,
  verbose: false,
  ascii: false,
};

/** Different sets in a pattern at most. */
const MAX_SETS = 256;

/** A pattern that is being read, and the sets that it has so far. */
export class Cursor {
  at = 0;
  readonly #sets = new Map<string, CharSet>();

  constructor(
    readonly source: string,
    readonly dialect: Dialect,
  ) {}

  get ended(): boolean {
    return this.at >= this.source.length;
  }

  /** The UTF-16 unit at `ahead` from here; "" behind the end. */
  peek(ahead = 0): string {
    return this.source[this.at + ahead] ?? "";
  }

  /** Takes `text` if it comes next. */
  eat(text: string): boolean {
    if (!this.source.startsWith(text, this.at)) return false;
    this.at += text.length;
    return true;
  }

  /** Takes one code point. */
  next(what: string): number {
    const code = this.source.codePointAt(this.at);
    if (code === undefined) throw this.malformed(`${what} is missing`);
    this.at += code > 0xffff ? 2 : 1;
    return code;
  }

  /** Takes what lies before `end`, and `end`. */
  until(end: string, what: string): string {
    const close = this.source.indexOf(end, this.at);
    if (close < 0) throw this.malformed(`${what} is not closed`);
    const text = this.source.slice(this.at, close);
    this.at = close + end.length;
    return text;
  }

  /** Takes at least `least`, at most `most` digits of a base (8, 10 or 16); null where there are fewer. */
  digits(base: 8 | 10 | 16, least: number, most: number): string | null {
    const kind = base === 8 ? /[0-7]/ : base === 10 ? /[0-9]/ : /[0-9a-fA-F]/;
    let length = 0;
    while (length < most && kind.test(this.peek(length))) ++length;
    if (length < least) return null;
    this.at += length;
    return this.source.slice(this.at - length, this.at);
  }

  /** One object for equal sets, so that their pages are worked out once. */
  intern(key: string, make: () => CharSet): CharSet {
    let set = this.#sets.get(key);
    if (set === undefined) {
      if (this.#sets.size >= MAX_SETS)
        throw this.unsupported(`more than ${MAX_SETS} different character classes`);
      this.#sets.set(key, (set = make()));
    }
    return set;
  }

  malformed(what: string, at = this.at): PatternError {
    return new PatternError("malformed", what, at);
  }

  unsupported(what: string, at = this.at): PatternError {
    return new PatternError("unsupported", what, at);
  }
}
