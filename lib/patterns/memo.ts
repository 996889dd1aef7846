import { stepBack, width } from "./positions.js";
import type { Program } from "./program.js";

/** Numbers in the table of outcomes: 16 MB. */
const MAX_OUTCOMES = 4_000_000;

/**
 * What a search has found out about states, that is, about instructions at places of the text: that the pattern cannot match from there
 * on, or where the match ends that comes first. Outcomes of places beyond the table, which is bounded, are not kept.
 *
 * States on the way are marked; those that the search has gone back from have failed, the others share the end of the match.
 */
export class Memo {
  readonly #outcomes: Int32Array;
  /** The table holds the places from `base` to `base + width - 1`, [place, state]. */
  readonly #base: number;
  readonly #width: number;
  readonly #states: number;
  readonly #windowed: boolean;
  /** Marked states: index in the table, height of the stack. */
  #trail = new Int32Array(256);
  #marks = 0;
  /** For each state that is a span: where the last run of its characters began and ended, which ends failed. */
  readonly #runs: Int32Array;
  readonly #ends: Int32Array;

  constructor({ states }: Program, text: string, from: number) {
    this.#base = from;
    this.#states = states;
    this.#width = Math.min(text.length + 1 - from, Math.floor(MAX_OUTCOMES / Math.max(1, states)));
    this.#windowed = this.#width < text.length + 1 - from;
    this.#outcomes = new Int32Array(states * this.#width);
    this.#runs = new Int32Array(2 * states).fill(-1);
    this.#ends = new Int32Array(2 * states);
    for (let state = 0; state < states; state++) this.#ends[2 * state] = 1; // 1 to 0: none
  }

  /** A search from `at` on would find half of the table behind it, and the text goes on beyond the table. */
  isBehind(at: number): boolean {
    return this.#windowed && at > this.#base + this.#width / 2;
  }

  get marks(): number {
    return this.#marks;
  }

  /** 0: not known; -1: no match; else one more than where the match ends. */
  look(state: number, at: number): number {
    const place = at - this.#base;
    return place >= 0 && place < this.#width ? this.#outcomes[place * this.#states + state]! : 0;
  }

  /** @param height of the stack before the state's choices */
  mark(state: number, at: number, height: number): void {
    const place = at - this.#base;
    if (place < 0 || place >= this.#width) return;
    if (this.#marks + 2 > this.#trail.length) {
      const larger = new Int32Array(this.#trail.length * 2);
      larger.set(this.#trail);
      this.#trail = larger;
    }
    this.#trail[this.#marks++] = place * this.#states + state;
    this.#trail[this.#marks++] = height;
  }

  /** The search has gone back to a stack of this height: what was marked above it has failed. */
  failed(mark: number, height: number): void {
    while (this.#marks > mark && this.#trail[this.#marks - 1]! > height) {
      this.#marks -= 2;
      this.#outcomes[this.#trail[this.#marks]!] = -1;
    }
  }

  succeeded(mark: number, end: number): void {
    while (this.#marks > mark) {
      this.#marks -= 2;
      this.#outcomes[this.#trail[this.#marks]!] = end + 1;
    }
  }

  /** Where the run of a span's characters ends that `at` lies in; -1 where it is not known. */
  runEnd(state: number, at: number): number {
    return at >= this.#runs[2 * state]! && at < this.#runs[2 * state + 1]! ? this.#runs[2 * state + 1]! : -1;
  }

  /** Where the run begins that is known, -1 for none. */
  runStart(state: number): number {
    return this.#runs[2 * state]!;
  }

  keepRun(state: number, start: number, end: number): void {
    if (start === end) return;
    this.#runs[2 * state] = start;
    this.#runs[2 * state + 1] = end;
  }

  /** The pattern does not match where the span ends at `at`. */
  tried(state: number, at: number, text: string): void {
    const low = this.#ends[2 * state]!;
    const high = this.#ends[2 * state + 1]!;
    if (at >= low && at <= high) return;
    if (low <= high && at < low && stepBack(text, low) === at) this.#ends[2 * state] = at;
    else if (low <= high && stepBack(text, at) === high) this.#ends[2 * state + 1] = at;
    else this.#ends[2 * state] = this.#ends[2 * state + 1] = at;
  }

  /** The first end from `at` to `limit` that has not failed; -1 where all have. */
  skip(state: number, at: number, limit: number, text: string): number {
    const low = this.#ends[2 * state]!;
    const high = this.#ends[2 * state + 1]!;
    if (at < low || at > high) return at;
    if (limit <= at) return low > limit ? stepBack(text, low) : -1;
    return high < limit ? high + width(text, high) : -1;
  }
}
