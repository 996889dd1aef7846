import { damaged } from "./tokenizer-errors.js";
import { sharedInts } from "./vocabulary.js";

/**
 * An Aho-Corasick automaton over reversed strings, so that a scan from right to left knows at each place the longest string that
 * begins there. Nodes are numbered breadth first, which makes the children of a node neighbours. All of it can be shared by threads.
 */
export interface AutomatonTables {
  /** [nodes] the UTF-16 unit that leads to a node from its parent. */
  readonly labels: Uint16Array;
  /** [nodes + 1] the children of node v are children[v] .. children[v + 1] - 1, their labels ascending. */
  readonly children: Int32Array;
  /** [nodes] the node of the longest proper suffix of what a node stands for. */
  readonly fallback: Int32Array;
  /** [nodes] index of the longest string that is a suffix of what a node stands for, or -1. */
  readonly found: Int32Array;
  /** Length of the longest string, in UTF-16 units. */
  readonly longest: number;
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
  const sorted = [...indexOf.keys()].sort(compareFromEnd);
  const labels = new Uint16Array(units + 1);
  const children = new Int32Array(units + 2);
  const fallback = new Int32Array(units + 1);
  const found = new Int32Array(units + 1).fill(-1);
  // The sorted strings that pass through a node.
  const low = new Int32Array(units + 1);
  const high = new Int32Array(units + 1);
  high[0] = sorted.length;
  const tables = { labels, children, fallback, found, longest: 0 };
  let count = 1;
  let depth = 0;
  for (let node = 0, levelEnd = 1; node < count; ++node) {
    if (node === levelEnd) {
      ++depth;
      levelEnd = count;
    }
    let at = low[node]!;
    children[node] = count;
    // The shorter string goes first, so the one that ends here is the first.
    if (at < high[node]! && sorted[at]!.length === depth) found[node] = indexOf.get(sorted[at++]!)!;
    else if (node > 0) found[node] = found[fallback[node]!]!;
    while (at < high[node]!) {
      const unit = unitFromEnd(sorted[at]!, depth);
      const child = count++;
      low[child] = at;
      while (at < high[node]! && unitFromEnd(sorted[at]!, depth) === unit) ++at;
      high[child] = at;
      labels[child] = unit;
    }
    children[node + 1] = count;
    // Their fallbacks lie on levels that are complete.
    if (node > 0)
      for (let child = children[node]!; child < count; ++child)
        fallback[child] = step(tables, fallback[node]!, labels[child]!);
  }
  return {
    labels: sharedUnits(count, labels),
    children: sharedCopy(children, count + 1),
    fallback: sharedCopy(fallback, count),
    found: sharedCopy(found, count),
    longest: depth,
  };
}

function sharedUnits(length: number, table: Uint16Array): Uint16Array {
  const copy = new Uint16Array(new SharedArrayBuffer(length * 2));
  copy.set(table.subarray(0, length));
  return copy;
}

function sharedCopy(table: Int32Array, length: number): Int32Array {
  const copy = sharedInts(length);
  copy.set(table.subarray(0, length));
  return copy;
}

function childOf({ labels, children }: AutomatonTables, node: number, unit: number): number {
  let low = children[node]!;
  let high = children[node + 1]! - 1;
  while (low <= high) {
    const middle = (low + high) >> 1;
    const label = labels[middle]!;
    if (label === unit) return middle;
    if (label < unit) low = middle + 1;
    else high = middle - 1;
  }
  return 0;
}

function step(tables: AutomatonTables, from: number, unit: number): number {
  for (let node = from; ; node = tables.fallback[node]!) {
    const child = childOf(tables, node, unit);
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
    const { labels, children } = tables;
    const end = children[1]!;
    this.#roots = new Int32Array(end > 1 ? labels[end - 1]! + 1 : 0);
    for (let child = 1; child < end; ++child) this.#roots[labels[child]!] = child;
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
