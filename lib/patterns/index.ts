import { compile } from "./compiler.js";
import { parsePattern } from "./parser.js";
import { type Program, STRIDE } from "./program.js";
import type { Dialect } from "./properties.js";
import { Search } from "./search.js";

export { PatternError } from "./pattern-error.js";
export type { Dialect } from "./properties.js";
export type { Search } from "./search.js";

/** Throws PatternError for what is no pattern by itself. */
export function checkPattern(source: string, dialect: Dialect): void {
  parsePattern(source, dialect);
}

const MAX_QUICK_STATES = 64;

/** A regular expression from a file. It runs on the calling thread, in time proportional to the text's length. */
export class Pattern {
  readonly #program: Program;

  /**
   * Takes time proportional to the source's length, bounded for repeats. Bound the length before.
   * Throws PatternError: malformed, or unsupported (back-references, conditionals, calls, too many instructions …).
   */
  constructor(source: string, dialect: Dialect) {
    this.#program = compile(parsePattern(source, dialect));
  }

  /** Instructions. */
  get size(): number {
    return this.#program.code.length / STRIDE;
  }

  /** True where a search takes a few steps a character on any text one meets: single characters alone are repeated without bound. */
  get quick(): boolean {
    return !this.#program.loops && this.#program.states <= MAX_QUICK_STATES;
  }

  /** Begins a run over a text. Its steps are counted from match to match. */
  search(text: string): Search {
    return new Search(this.#program, text);
  }
}
