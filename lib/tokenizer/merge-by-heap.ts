import { rankOf, type MergeTables } from "./merge-table.js";

const POSITIONS = 2 ** 27;

/**
 * The merges of byte-pair encoding over a linked list with a heap of (rank, position): O(n log n) for a word of n symbols.
 * symbols: [count] in and out. Returns the number that is left. count < 2^27, rank < 2^22: rank * 2^27 + position is exact.
 */
export function mergeByHeap(merges: MergeTables, symbols: Int32Array, count: number): number {
  const previous = new Int32Array(count);
  const next = new Int32Array(count);
  const heap = new PairHeap(count);
  const offer = (at: number): void => {
    const rank = at >= 0 && next[at]! >= 0 ? rankOf(merges, symbols[at]!, symbols[next[at]!]!) : -1;
    if (rank >= 0) heap.push(rank * POSITIONS + at);
  };
  for (let i = 0; i < count; ++i) {
    previous[i] = i - 1;
    next[i] = i + 1 < count ? i + 1 : -1;
  }
  for (let i = 0; i < count; ++i) offer(i);
  while (heap.size > 0) {
    const key = heap.pop();
    const rank = Math.floor(key / POSITIONS);
    const at = key - rank * POSITIONS;
    const right = next[at]!;
    // Skip what an earlier merge has changed: a symbol that was swallowed, or a pair that is no longer this one.
    if (
      symbols[at]! < 0 ||
      right < 0 ||
      symbols[at] !== merges.left[rank] ||
      symbols[right] !== merges.right[rank]
    )
      continue;
    symbols[at] = merges.result[rank]!;
    symbols[right] = -1;
    next[at] = next[right]!;
    if (next[at] >= 0) previous[next[at]] = at;
    offer(previous[at]!);
    offer(at);
  }
  let left = 0;
  for (let i = 0; i < count; ++i) if (symbols[i]! >= 0) symbols[left++] = symbols[i]!;
  return left;
}

/** Binary min-heap of numbers. */
class PairHeap {
  #keys: Float64Array;
  size = 0;

  constructor(capacity: number) {
    this.#keys = new Float64Array(Math.max(capacity, 16));
  }

  push(key: number): void {
    if (this.size === this.#keys.length) {
      const larger = new Float64Array(Math.ceil(this.size * 1.25));
      larger.set(this.#keys);
      this.#keys = larger;
    }
    const keys = this.#keys;
    let at = this.size++;
    for (let parent = (at - 1) >> 1; at > 0 && keys[parent]! > key; at = parent, parent = (at - 1) >> 1)
      keys[at] = keys[parent]!;
    keys[at] = key;
  }

  pop(): number {
    const keys = this.#keys;
    const top = keys[0]!;
    const key = keys[--this.size]!;
    let at = 0;
    for (let child = 1; child < this.size; child = 2 * at + 1) {
      if (child + 1 < this.size && keys[child + 1]! < keys[child]!) ++child;
      if (keys[child]! >= key) break;
      keys[at] = keys[child]!;
      at = child;
    }
    keys[at] = key;
    return top;
  }
}
