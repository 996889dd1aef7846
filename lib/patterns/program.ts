import type { CharSet } from "./char-set.js";
import type { Assertion } from "./syntax-tree.js";

/**
 * What a pattern is compiled to. An instruction is STRIDE numbers, [op, a, b, c, d, state]; an address is the index of the first.
 * An instruction of which the search may have to go on in another way has a state: its number among them, else -1.
 */
export interface Program {
  readonly code: Int32Array;
  readonly sets: readonly CharSet[];
  readonly states: number;
  /** Holds the first character of every match; null where a match may be empty. */
  readonly first: CharSet | null;
  /** Something longer than one character is repeated without bound. */
  readonly loops: boolean;
  /** A search depends on where it began (\G). */
  readonly anchored: boolean;
}

export const STRIDE = 6;

export const Op = {
  /** a: code point */
  Char: 0,
  /** a: set */
  Set: 1,
  /** Going to the left, in a look-behind. */
  CharBack: 2,
  SetBack: 3,
  /** a, b: addresses, the first one to be tried first; c: set that the next character must be of for a to be tried, or -1 */
  Split: 4,
  /** a: address */
  Jump: 5,
  /** a: set, b: least, c: most, d: mode. Many characters of one set. */
  Span: 6,
  /** a: address of the body, which ends with End; b: address behind; c: 1 for a negative one */
  Look: 7,
  /** a: address of the body; b: where to go on if it was empty; c: else */
  Atomic: 8,
  /** a: index in ASSERTIONS */
  Assert: 9,
  /** a: set of word characters; b: 1 for the negative one; c: 1 where it holds in no empty text */
  Boundary: 10,
  End: 11,
} as const;

/** Modes of a span. */
export const Span = { greedy: 0, lazy: 1, possessive: 2, back: 3 } as const;

export const ASSERTIONS: readonly Assertion[] = [
  "text-start",
  "text-end",
  "last-line-end",
  "line-start",
  "line-end",
  "onig-line-start",
  "search-start",
];

/** For no upper bound. */
export const UNBOUNDED = 0x7fffffff;
