/** Code points of a page. */
const PAGE = 256;
const MAX_CODE = 0x10ffff;
/** Pages that a set keeps, 150 KB, those apart that have all or no members; more are forgotten all at once. */
const MAX_PAGES = 512;
const NO_MEMBER = new Uint8Array(PAGE);
const ALL_MEMBERS = new Uint8Array(PAGE).fill(1);

/** What has been worked out since the start of the process; a search charges it to its budget. */
export const effort = { pages: 0, blocks: 0 };

/** Sets 1 for the members of page `page` (code points page * 256 to page * 256 + 255) in `out`, which is all 0. */
type WritePage = (page: number, out: Uint8Array) => void;

/** A set of code points. Its membership is worked out page by page, when a text first needs it, and kept. */
export class CharSet {
  /** Pages of the basic plane: one byte a code point, 1 for a member. */
  readonly pages: (Uint8Array | undefined)[] = new Array<undefined>(0x10000 / PAGE).fill(undefined);
  readonly #astral = new Map<number, Uint8Array>();
  readonly #write: WritePage;
  #kept = 0;

  /** @param write works out a page */
  constructor(write: WritePage) {
    this.#write = write;
  }

  has(code: number): boolean {
    return this.page(code >> 8)[code & 0xff] === 1;
  }

  page(page: number): Uint8Array {
    const kept = page < 0x100 ? this.pages[page] : this.#astral.get(page);
    return kept ?? this.#make(page);
  }

  #make(page: number): Uint8Array {
    ++effort.pages;
    let made = new Uint8Array(PAGE);
    this.#write(page, made);
    if (!made.includes(1)) made = NO_MEMBER;
    else if (!made.includes(0)) made = ALL_MEMBERS;
    else if (++this.#kept > MAX_PAGES) {
      this.pages.fill(undefined);
      this.#astral.clear();
      this.#kept = 1;
    }
    if (page < 0x100) this.pages[page] = made;
    else this.#astral.set(page, made);
    return made;
  }
}

/** First and last code point. */
export type Range = readonly [number, number];

/** Sorted, without overlaps. */
function merged(ranges: readonly Range[]): Range[] {
  const out: [number, number][] = [];
  for (const [low, high] of [...ranges].sort((a, b) => a[0] - b[0])) {
    const last = out.at(-1);
    if (last !== undefined && low <= last[1] + 1) last[1] = Math.max(last[1], high);
    else out.push([low, high]);
  }
  return out;
}

export function rangeSet(given: readonly Range[]): CharSet {
  const ranges = merged(given);
  return new CharSet((page, out) => {
    const first = page * PAGE;
    let low = 0; // the first range that ends in the page or behind it, by bisection
    let high = ranges.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (ranges[middle]![1] < first) low = middle + 1;
      else high = middle;
    }
    for (; low < ranges.length && ranges[low]![0] < first + PAGE; low++)
      out.fill(1, Math.max(0, ranges[low]![0] - first), Math.min(PAGE, ranges[low]![1] + 1 - first));
  });
}

export const EMPTY_SET = rangeSet([]);
export const EVERY_CHAR = rangeSet([[0, MAX_CODE]]);

export function union(sets: readonly CharSet[]): CharSet {
  const distinct = [...new Set(sets)];
  if (distinct.length === 1) return distinct[0]!;
  return new CharSet((page, out) => {
    for (const set of distinct) {
      const other = set.page(page);
      for (let i = 0; i < PAGE; i++) out[i]! |= other[i]!;
    }
  });
}

export function intersection(sets: readonly CharSet[]): CharSet {
  return new CharSet((page, out) => {
    out.fill(1);
    for (const set of sets) {
      const other = set.page(page);
      for (let i = 0; i < PAGE; i++) out[i]! &= other[i]!;
    }
  });
}

export function complement(set: CharSet): CharSet {
  return new CharSet((page, out) => {
    const other = set.page(page);
    for (let i = 0; i < PAGE; i++) out[i] = 1 - other[i]!;
  });
}

/** The set with every character that `equivalents` names beside a member. */
export function closure(set: CharSet, equivalents: (code: number) => readonly number[]): CharSet {
  return new CharSet((page, out) => {
    out.set(set.page(page));
    for (let i = 0; i < PAGE; i++)
      if (out[i] === 0 && equivalents(page * PAGE + i).some((code) => set.has(code))) out[i] = 1;
  });
}

/** Code points that are asked for a property at a time, in about 0.2 ms. */
const BLOCK = 4096;
/** Blocks that a property keeps, 260 KB; more are forgotten all at once. */
const MAX_BLOCKS = 64;

/** The members among the code points of a block, one byte each. */
class Property {
  readonly #blocks = new Map<number, Uint8Array>();
  readonly #members: RegExp;

  constructor(expression: string) {
    this.#members = new RegExp(`\\p{${expression}}+`, "gu");
  }

  block(block: number): Uint8Array {
    const kept = this.#blocks.get(block);
    if (kept !== undefined) return kept;
    if (this.#blocks.size >= MAX_BLOCKS) this.#blocks.clear();
    ++effort.blocks;
    const made = new Uint8Array(BLOCK);
    const text = blockText(block);
    const units = block < 0x10000 / BLOCK ? 1 : 2;
    const members = this.#members;
    members.lastIndex = 0;
    for (let run = members.exec(text); run !== null; run = members.exec(text))
      made.fill(1, run.index / units, members.lastIndex / units);
    this.#blocks.set(block, made);
    return made;
  }
}

/** The last text of a block: several properties ask for it in a row. */
let lastText: { block: number; text: string } | undefined;

function blockText(block: number): string {
  if (lastText?.block === block) return lastText.text;
  const first = block * BLOCK;
  const units = new Uint16Array(first < 0x10000 ? BLOCK : 2 * BLOCK);
  for (let i = 0; i < BLOCK; i++) {
    const beyond = first + i - 0x10000;
    if (beyond < 0) units[i] = first + i;
    else {
      units[2 * i] = 0xd800 + (beyond >> 10);
      units[2 * i + 1] = 0xdc00 + (beyond & 0x3ff);
    }
  }
  lastText = { block, text: String.fromCharCode.apply(null, units as unknown as number[]) };
  return lastText.text;
}

const byProperty = new Map<string, CharSet>();

/**
 * The characters with a Unicode property, by the tables of this JavaScript engine; null where it has no such property.
 * @param expression what stands between the braces of \p{…} in JavaScript
 */
export function propertySet(expression: string): CharSet | null {
  const kept = byProperty.get(expression);
  if (kept !== undefined) return kept;
  try {
    const property = new Property(expression);
    const set = new CharSet((page, out) => {
      const first = (page * PAGE) % BLOCK;
      out.set(property.block(Math.floor((page * PAGE) / BLOCK)).subarray(first, first + PAGE));
    });
    byProperty.set(expression, set);
    return set;
  } catch {
    return null; // not kept: there is no end of names that are none
  }
}

/** A property that every engine has. */
export const known = (expression: string): CharSet => propertySet(expression)!;
