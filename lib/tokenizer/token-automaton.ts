import { damaged } from "./tokenizer-errors.js";
import { buildTrie, childOf, rootsOf, type Trie } from "./trie.js";
import { sharedInts } from "./vocabulary.js";

/**
 * An Aho-Corasick automaton: a trie of reversed strings, so that a scan from right to left knows at each place the longest string that
 * begins there. All of it can be shared by threads.
 */
export interface AutomatonTables extends Trie {
  /** [nodes] the node of the longest proper suffix of what a node stands for. */
  readonly fallback: Int32Array;
  /** [nodes] index of the longest string that is a suffix of what a node stands for, or -1. */
  readonly found: Int32Array;
}

/** Most UTF-16 units of all strings of an automaton together. */
export const MAX_AUTOMATON_UNITS = 1 << 21;
/** A text is scanned in windows of this many UTF-16 units, so that a long one needs no memory of its own length. */
const WINDOW = 1 << 16;

const unitFromEnd = (text: string, depth: number): number => text.charCodeAt(text.length - 1 - depth);

function compareFromEnd(a: string, b: string): number {
  const common = Math.min(a.length, b.length);
  for (let depth = 0; depth < common; ++depth) {
    const difference = unitFromEnd(a, depth) - unitFromEnd(b, depth);
    if (difference !== 0) return difference;
  }
  return a.length - b.length;
}

/**
 * Takes time in proportion to the strings' length. Throws ERR_TOKENIZER past MAX_AUTOMATON_UNITS.
 * @param strings what to look for, by index; null and "" are not looked for. Of equal strings the last one is found.
 */
export function buildAutomaton(strings: readonly (string | null)[], name: string): AutomatonTables {
  const indexOf = new Map<string, number>();
  let units = 0;
  strings.forEach((string, index) => {
    if (string === null || string === "") return;
    indexOf.set(string, index);
    units += string.length;
    if (units > MAX_AUTOMATON_UNITS)
      throw damaged(`at most ${MAX_AUTOMATON_UNITS} characters together`, name, units);
  });
  const trie = buildTrie({
    sorted: [...indexOf.values()].sort((a, b) => compareFromEnd(strings[a]!, strings[b]!)),
    lengthOf: (index) => strings[index]!.length,
    unitAt: (index, depth) => unitFromEnd(strings[index]!, depth),
  });
  const { labels, children, ends } = trie;
  const count = labels.length;
  const fallback = sharedInts(count);
  const found = sharedInts(count);
  found[0] = -1;
  // Breadth first, so the fallback of a node is complete before the node.
  for (let node = 0; node < count; ++node)
    for (let child = children[node]!; child < children[node + 1]!; ++child) {
      if (node > 0) fallback[child] = step(trie, fallback, fallback[node]!, labels[child]!);
      found[child] = ends[child]! >= 0 ? ends[child]! : found[fallback[child]!]!;
    }
  return { ...trie, fallback, found };
}

function step(trie: Trie, fallback: Int32Array, from: number, unit: number): number {
  for (let node = from; ; node = fallback[node]!) {
    const child = childOf(trie, node, unit);
    if (child !== 0 || node === 0) return child;
  }
}

/** Calls back for places in a text where strings begin. Not to be used again from within its own callbacks. */
export class AutomatonScanner {
  readonly #tables: AutomatonTables;
  /** The root's children by unit, up to its last one; 0: none. */
  readonly #roots: Int32Array;
  /** The finds of one window, from right to left. */
  #starts: Int32Array = new Int32Array(64);
  #found: Int32Array = new Int32Array(64);

  constructor(tables: AutomatonTables) {
    this.#tables = tables;
    this.#roots = rootsOf(tables);
  }

  /**
   * In ascending order, for each place at which a string begins: the longest that does. `visit` returns the place from which to go
   * on. Takes time in proportion to the text.
   */
  scan(text: string, visit: (start: number, index: number) => number): void {
    if (this.#tables.longest === 0) return;
    const window = Math.max(WINDOW, this.#tables.longest);
    let from = 0;
    for (let low = 0; low < text.length; low += window) {
      const high = Math.min(low + window, text.length);
      if (from >= high) continue;
      const count = this.#scanWindow(text, Math.max(low, from), high);
      for (let i = count - 1; i >= 0; --i)
        if (this.#starts[i]! >= from) from = visit(this.#starts[i]!, this.#found[i]!);
    }
  }

  /** Collects what begins at low .. high - 1 and returns its number. */
  #scanWindow(text: string, low: number, high: number): number {
    const tables = this.#tables;
    const { fallback, found, longest } = tables;
    const roots = this.#roots;
    let count = 0;
    let node = 0;
    // What begins before `high` ends before high + longest - 1.
    for (let at = Math.min(text.length, high + longest - 1) - 1; at >= low; --at) {
      const unit = text.charCodeAt(at);
      let next = node === 0 ? 0 : childOf(tables, node, unit);
      while (next === 0 && node !== 0) {
        node = fallback[node]!;
        if (node !== 0) next = childOf(tables, node, unit);
      }
      node = next !== 0 ? next : unit < roots.length ? roots[unit]! : 0;
      if (node === 0 || found[node]! < 0 || at >= high) continue;
      if (count === this.#starts.length) this.#grow();
      this.#starts[count] = at;
      this.#found[count++] = found[node]!;
    }
    return count;
  }

  #grow(): void {
    const larger = (list: Int32Array) => {
      const copy = new Int32Array(list.length * 4);
      copy.set(list);
      return copy;
    };
    this.#starts = larger(this.#starts);
    this.#found = larger(this.#found);
  }
}
