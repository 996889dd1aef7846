import { type CharSet, rangeSet, union } from "./char-set.js";

export type Mode = "greedy" | "lazy" | "possessive";

export type Assertion =
  | "text-start"
  | "text-end"
  /** At the end, or before a line feed that ends the text. */
  | "last-line-end"
  | "line-start"
  | "line-end"
  /** Oniguruma's: a line feed at the end of the text begins no line. */
  | "onig-line-start"
  | "search-start";

export type Node =
  | { readonly type: "empty" }
  /** One code point. `folded` is the character that stands in the pattern, where case is of no account. */
  | { readonly type: "set"; readonly set: CharSet; readonly folded?: number }
  | { readonly type: "char"; readonly code: number }
  | { readonly type: "concat"; readonly items: readonly Node[] }
  | { readonly type: "alternation"; readonly items: readonly Node[] }
  | {
      readonly type: "repeat";
      readonly body: Node;
      readonly min: number;
      readonly max: number;
      readonly mode: Mode;
    }
  | { readonly type: "look"; readonly body: Node; readonly behind: boolean; readonly negative: boolean }
  | { readonly type: "atomic"; readonly body: Node }
  | { readonly type: "assertion"; readonly kind: Assertion }
  /** `filled`: holds in no empty text, as Python's negative one before 3.14. */
  | {
      readonly type: "boundary";
      readonly words: CharSet;
      readonly negative: boolean;
      readonly filled: boolean;
    };

export const EMPTY: Node = { type: "empty" };

/** Fewest and most code points of a match. */
export interface Width {
  readonly min: number;
  readonly max: number;
}

const widths = new WeakMap<Node, Width>();

export function widthOf(node: Node): Width {
  let width = widths.get(node);
  if (width === undefined) widths.set(node, (width = measure(node)));
  return width;
}

function measure(node: Node): Width {
  switch (node.type) {
    case "set":
    case "char":
      return { min: 1, max: 1 };
    case "concat": {
      const inner = node.items.map(widthOf);
      return {
        min: inner.reduce((sum, { min }) => sum + min, 0),
        max: inner.reduce((sum, { max }) => sum + max, 0),
      };
    }
    case "alternation": {
      const inner = node.items.map(widthOf);
      return {
        min: inner.reduce((least, { min }) => Math.min(least, min), Infinity),
        max: inner.reduce((most, { max }) => Math.max(most, max), 0),
      };
    }
    case "repeat": {
      const { min, max } = widthOf(node.body);
      return { min: min * node.min, max: max === 0 || node.max === 0 ? 0 : max * node.max };
    }
    case "atomic":
      return widthOf(node.body);
    default:
      return { min: 0, max: 0 };
  }
}

/** Sets that a set of first characters is made of at most. */
const MAX_FIRST = 16;
const firsts = new WeakMap<Node, readonly CharSet[] | null>();

/** A set that holds the first character of every match; null where a match may be empty or the set is not worth its making. */
export function firstSet(node: Node): CharSet | null {
  const sets = widthOf(node).min === 0 ? null : firstSets(node);
  return sets === null ? null : union(sets);
}

/** The same for what a node consumes, if it consumes anything. */
function firstSets(node: Node): readonly CharSet[] | null {
  let sets = firsts.get(node);
  if (sets === undefined) {
    sets = findFirst(node);
    if (sets !== null && new Set(sets).size > MAX_FIRST) sets = null;
    firsts.set(node, sets);
  }
  return sets;
}

function findFirst(node: Node): readonly CharSet[] | null {
  switch (node.type) {
    case "set":
      return [node.set];
    case "char":
      return [rangeSet([[node.code, node.code]])];
    case "concat": {
      const out: CharSet[] = [];
      for (const item of node.items) {
        const sets = firstSets(item);
        if (sets === null) return null;
        out.push(...sets);
        if (out.length > MAX_FIRST || widthOf(item).min > 0) break;
      }
      return out;
    }
    case "alternation": {
      const out: CharSet[] = [];
      for (const item of node.items) {
        const sets = firstSets(item);
        if (sets === null || out.length > MAX_FIRST) return null;
        out.push(...sets);
      }
      return out;
    }
    case "repeat":
    case "atomic":
      return firstSets(node.body);
    default:
      return [];
  }
}
