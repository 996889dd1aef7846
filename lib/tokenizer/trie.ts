/**
 * A trie in tables. Nodes are numbered breadth first, 0 is the root, which makes the children of a node neighbours. All of it can
 * be shared by threads.
 */
export interface Trie {
  /** [nodes] the unit that leads to a node from its parent. */
  readonly labels: Uint16Array;
  /** [nodes + 1] the children of node v are children[v] .. children[v + 1] - 1, their labels ascending. */
  readonly children: Int32Array;
  /** [nodes] which sequence ends at a node, or -1. */
  readonly ends: Int32Array;
  /** Units of the longest sequence. */
  readonly longest: number;
}

/** Sequences of units, by number. None is empty. */
export interface Sequences {
  /** In ascending order, each once. */
  readonly sorted: ArrayLike<number>;
  readonly lengthOf: (index: number) => number;
  readonly unitAt: (index: number, depth: number) => number;
}

/** Takes time and memory in proportion to the sequences' length. */
export function buildTrie({ sorted, lengthOf, unitAt }: Sequences): Trie {
  let units = 0;
  for (let i = 0; i < sorted.length; ++i) units += lengthOf(sorted[i]!);
  const labels = new Uint16Array(units + 1);
  const children = new Int32Array(units + 2);
  const ends = new Int32Array(units + 1).fill(-1);
  // Which sequences pass through a node: sorted[low] .. sorted[high - 1].
  const low = new Int32Array(units + 1);
  const high = new Int32Array(units + 1);
  high[0] = sorted.length;
  let count = 1;
  let depth = 0;
  for (let node = 0, levelEnd = 1; node < count; ++node) {
    if (node === levelEnd) {
      ++depth;
      levelEnd = count;
    }
    let at = low[node]!;
    const end = high[node]!;
    // Of two sequences the one that is the beginning of the other goes first.
    if (at < end && lengthOf(sorted[at]!) === depth) ends[node] = sorted[at++]!;
    children[node] = count;
    while (at < end) {
      const unit = unitAt(sorted[at]!, depth);
      labels[count] = unit;
      low[count] = at;
      while (at < end && unitAt(sorted[at]!, depth) === unit) ++at;
      high[count++] = at;
    }
    children[node + 1] = count;
  }
  return {
    labels: shared(labels, count),
    children: shared(children, count + 1),
    ends: shared(ends, count),
    longest: depth,
  };
}

function shared<T extends Uint16Array | Int32Array>(table: T, length: number): T {
  const Kind = table.constructor as new (buffer: SharedArrayBuffer) => T;
  const copy = new Kind(new SharedArrayBuffer(length * table.BYTES_PER_ELEMENT));
  copy.set(table.subarray(0, length));
  return copy;
}

/** The child of a node by a unit; 0 where there is none. */
export function childOf({ labels, children }: Trie, node: number, unit: number): number {
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

/** [last label + 1] the root's children by unit; 0 where there is none. */
export function rootsOf({ labels, children }: Trie): Int32Array {
  const end = children[1]!;
  const roots = new Int32Array(end > 1 ? labels[end - 1]! + 1 : 0);
  for (let child = 1; child < end; ++child) roots[labels[child]!] = child;
  return roots;
}
