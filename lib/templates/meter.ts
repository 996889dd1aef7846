import { TemplateFailure } from "./failure.js";

/** What one rendering may take. */
export interface TemplateLimits {
  /** Longest text, in UTF-16 units. Default: 16,777,216. */
  readonly output?: number | undefined;
  /**
   * Work: about one unit for each byte that is allocated, and 24 for each node that is evaluated. Default: 134,217,728, which a
   * template uses up in about a second and within 256 MB.
   */
  readonly work?: number | undefined;
  /** Levels of calls, blocks and nested values within each other. Default: 500, about where Python's own stack ends. */
  readonly depth?: number | undefined;
}

export const DEFAULT_LIMITS = { output: 1 << 24, work: 1 << 27, depth: 500 } as const;

/** Costs in units of work. */
export const NODE = 24;
/** A value with its wrapper, such as a piece of a string. */
export const OBJECT = 64;
/** A character that is looked at by itself, with its class or case looked up. */
export const POINT = 24;
/** An element of a list. */
export const ELEMENT = 16;

/** Counts the work of one rendering, before it is done. */
export class Meter {
  readonly maxOutput: number;
  readonly #work: number;
  readonly #maxDepth: number;
  #left: number;
  #depth = 0;

  constructor(limits: TemplateLimits = {}) {
    this.maxOutput = limits.output ?? DEFAULT_LIMITS.output;
    this.#work = limits.work ?? DEFAULT_LIMITS.work;
    this.#maxDepth = limits.depth ?? DEFAULT_LIMITS.depth;
    this.#left = this.#work;
  }

  spend(units: number): void {
    this.#left -= units;
    if (!(this.#left >= 0))
      throw new TemplateFailure(`more than ${this.#work} units of work, which is the budget "work"`, "work");
  }

  /** UTF-16 units that are made. */
  characters(count: number): void {
    this.spend(2 * count);
  }

  /** UTF-16 units, or entries of a list, that are looked at. */
  scan(count: number): void {
    this.spend(count / 4);
  }

  elements(count: number): void {
    this.spend(ELEMENT * count);
  }

  enter(): void {
    if (++this.#depth > this.#maxDepth)
      throw new TemplateFailure(`more than ${this.#maxDepth} levels, which is the budget "depth"`, "depth");
  }

  leave(): void {
    --this.#depth;
  }
}
