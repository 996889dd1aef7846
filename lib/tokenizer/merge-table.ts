import { checkProbes, sharedInts, slotCount } from "./vocabulary.js";

/** Most merge rules of a byte-pair model (Gemma has about 515,000). */
export const MAX_MERGES = 1 << 22;

/**
 * Merge rules of byte-pair encoding in rank order: the pair (left[r], right[r]) becomes result[r]; a low rank goes first.
 * left, right, result: [count] token ids. slots: [power of two] rank + 1, or 0. All of it can be shared by threads.
 */
export interface MergeTables {
  readonly left: Int32Array;
  readonly right: Int32Array;
  readonly result: Int32Array;
  readonly slots: Int32Array;
}

function slotOf(left: number, right: number, mask: number): number {
  let hash = Math.imul(left, 0x9e3779b1) ^ Math.imul(right, 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 15), 0x2c1b3c6d);
  return (hash ^ (hash >>> 13)) & mask;
}

/** Collects merge rules in rank order; `build` packs and indexes them. */
export class MergeTableBuilder {
  readonly #left: number[] = [];
  readonly #right: number[] = [];
  readonly #result: number[] = [];

  get count(): number {
    return this.#left.length;
  }

  add(left: number, right: number, result: number): void {
    this.#left.push(left);
    this.#right.push(right);
    this.#result.push(result);
  }

  /** A pair that stands twice has its last rank, as in Hugging Face's map. */
  build(): MergeTables {
    const count = this.count;
    const tables = {
      left: sharedInts(count),
      right: sharedInts(count),
      result: sharedInts(count),
      slots: sharedInts(slotCount(count)),
    };
    tables.left.set(this.#left);
    tables.right.set(this.#right);
    tables.result.set(this.#result);
    const { left, right, slots } = tables;
    const mask = slots.length - 1;
    for (let rank = 0; rank < count; ++rank) {
      let slot = slotOf(left[rank]!, right[rank]!, mask);
      let probes = 1;
      for (let other = slots[slot]! - 1; other >= 0; slot = (slot + 1) & mask, other = slots[slot]! - 1) {
        if (left[other] === left[rank] && right[other] === right[rank]) break;
        checkProbes(probes++, "the merges");
      }
      slots[slot] = rank + 1;
    }
    return tables;
  }
}

/** The rank of the pair (left, right), or -1 where no rule merges it. */
export function rankOf(tables: MergeTables, left: number, right: number): number {
  const { slots } = tables;
  const mask = slots.length - 1;
  for (let slot = slotOf(left, right, mask); ; slot = (slot + 1) & mask) {
    const rank = slots[slot]! - 1;
    if (rank < 0 || (tables.left[rank] === left && tables.right[rank] === right)) return rank;
  }
}
