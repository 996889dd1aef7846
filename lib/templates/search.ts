import { refuse } from "./failure.js";
import type { Meter } from "./meter.js";

/**
 * Longest pattern that is looked for with JavaScript's own indexOf, which takes time in proportion to text times pattern where both
 * repeat themselves.
 */
const MAX_PLAIN = 32;

/** Finds a text within others, in time that is linear in both. An empty one is found everywhere. */
export class Finder {
  /** For each beginning of the pattern, how long a beginning of it also ends there (Knuth, Morris and Pratt). */
  #borders: Int32Array | null = null;
  /** The same of the pattern from its end. */
  #backwards: Int32Array | null = null;

  constructor(
    private readonly meter: Meter,
    private readonly part: string,
  ) {
    if (isLow(part.charCodeAt(0)) || isHigh(part.charCodeAt(part.length - 1)))
      throw refuse("looking for half a surrogate pair");
  }

  /** The first offset from `from` on, or -1. */
  next(text: string, from: number): number {
    const { part, meter } = this;
    if (part.length > MAX_PLAIN) {
      this.#borders ??= bordersOf(meter, part.length, (at) => part.charCodeAt(at));
      const { length } = text;
      return walk(
        meter,
        this.#borders,
        length - from,
        (at) => text.charCodeAt(from + at),
        (at) => part.charCodeAt(at),
        (end) => from + end - part.length,
      );
    }
    const at = text.indexOf(part, from);
    this.#spend((at < 0 ? text.length : at) - from);
    return at;
  }

  /** The last offset of an occurrence that ends at or before `end`, or -1. */
  last(text: string, end: number): number {
    const { part, meter } = this;
    const { length } = part;
    if (end < length) return -1;
    if (length > MAX_PLAIN) {
      const mirrored = (at: number): number => part.charCodeAt(length - 1 - at);
      this.#backwards ??= bordersOf(meter, length, mirrored);
      return walk(
        meter,
        this.#backwards,
        end,
        (at) => text.charCodeAt(end - 1 - at),
        mirrored,
        (stop) => end - stop,
      );
    }
    const at = text.lastIndexOf(part, end - length);
    this.#spend(end - Math.max(at, 0));
    return at;
  }

  #spend(distance: number): void {
    this.meter.scan(distance * (1 + this.part.length / 8));
  }
}

/** Units between two payments. */
const STRIDE = 64;

/** Goes through `length` units up to the end of the first occurrence; -1 where there is none. */
function walk(
  meter: Meter,
  borders: Int32Array,
  length: number,
  unitAt: (at: number) => number,
  partAt: (at: number) => number,
  offsetOf: (end: number) => number,
): number {
  let matched = 0;
  for (let at = 0; at < length; ++at) {
    if (at % STRIDE === 0) meter.spend(6 * Math.min(STRIDE, length - at));
    const unit = unitAt(at);
    while (matched > 0 && unit !== partAt(matched)) matched = borders[matched - 1]!;
    if (unit === partAt(matched) && ++matched === borders.length) return offsetOf(at + 1);
  }
  return -1;
}

function bordersOf(meter: Meter, size: number, partAt: (at: number) => number): Int32Array {
  meter.spend(6 * size);
  const borders = new Int32Array(size);
  for (let at = 1, length = 0; at < size; ++at) {
    while (length > 0 && partAt(at) !== partAt(length)) length = borders[length - 1]!;
    if (partAt(at) === partAt(length)) ++length;
    borders[at] = length;
  }
  return borders;
}

const isLow = (unit: number): boolean => (unit & 0xfc00) === 0xdc00;
const isHigh = (unit: number): boolean => (unit & 0xfc00) === 0xd800;
