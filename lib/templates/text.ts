import type { Meter } from "./meter.js";
import { OBJECT } from "./meter.js";

/** Which UTF-16 units of a text came from outside: ascending, disjoint pairs [start, end). */
export type Runs = readonly number[];

const NONE: Runs = [];

/**
 * A Python string that knows which of its characters came from outside (messages, tools, documents, variables) and which from the
 * template. Offsets are in UTF-16 units; Python's own counting is by code points, see `points.ts`.
 */
export class Str {
  constructor(
    readonly text: string,
    readonly foreign: Runs = NONE,
  ) {}

  static outside(text: string): Str {
    return new Str(text, text === "" ? NONE : [0, text.length]);
  }

  /** Is any character from outside? */
  get mixed(): boolean {
    return this.foreign.length > 0;
  }

  /** The text from `start` to before `end`. The caller meters it. */
  slice(start: number, end: number = this.text.length): Str {
    if (start <= 0 && end >= this.text.length) return this;
    if (end <= start) return EMPTY;
    return new Str(this.text.slice(start, end), sliceRuns(this.foreign, start, end));
  }

  /** Another text in place of this one: what comes of foreign characters is foreign. Where lengths differ, all of it. */
  replaced(text: string): Str {
    if (this.foreign.length === 0) return new Str(text);
    return text.length === this.text.length ? new Str(text, this.foreign) : Str.outside(text);
  }
}

export const EMPTY = new Str("");

/** A string that `safe` or `escape` marked: jinja2 would escape what is put beside it. Few things are done with it here. */
export class Markup {
  constructor(readonly str: Str) {}
}

function sliceRuns(runs: Runs, start: number, end: number): Runs {
  if (runs.length === 0) return NONE;
  if (runs.length === 2) {
    const [from, to] = [Math.max(runs[0]!, start), Math.min(runs[1]!, end)];
    return from < to ? [from - start, to - start] : NONE;
  }
  let low = 0;
  for (let high = runs.length / 2; low < high;) {
    const middle = (low + high) >> 1;
    if (runs[2 * middle + 1]! <= start) low = middle + 1;
    else high = middle;
  }
  const result: number[] = [];
  for (let i = 2 * low; i < runs.length && runs[i]! < end; i += 2)
    result.push(Math.max(runs[i]!, start) - start, Math.min(runs[i + 1]!, end) - start);
  return result;
}

/** What adding a piece costs, however short it is. */
const APPEND = 24;

/** Joins pieces; each is metered before it is added. */
export class TextBuilder {
  #text = "";
  readonly #runs: number[] = [];

  constructor(
    private readonly meter: Meter,
    private readonly maxLength = Infinity,
  ) {}

  get length(): number {
    return this.#text.length;
  }

  /** Characters of the template's own. */
  own(text: string): void {
    this.meter.spend(APPEND + 2 * text.length);
    this.#text += text;
  }

  outside(text: string): void {
    this.#mark(this.#text.length, this.#text.length + text.length);
    this.own(text);
  }

  add(piece: Str): void {
    const { foreign } = piece;
    if (foreign.length > 0) {
      this.meter.spend(4 * foreign.length);
      const offset = this.#text.length;
      for (let i = 0; i < foreign.length; i += 2) this.#mark(offset + foreign[i]!, offset + foreign[i + 1]!);
    }
    this.own(piece.text);
  }

  #mark(start: number, end: number): void {
    if (start === end) return;
    if (this.#runs.length > 0 && this.#runs.at(-1) === start) this.#runs[this.#runs.length - 1] = end;
    else this.#runs.push(start, end);
  }

  /** True once the text is longer than it may be. */
  get full(): boolean {
    return this.#text.length > this.maxLength;
  }

  finish(): Str {
    this.meter.spend(OBJECT);
    return this.#text === "" ? EMPTY : new Str(this.#text, this.#runs);
  }
}

/** Puts two texts together. */
export function concat(meter: Meter, left: Str, right: Str): Str {
  const builder = new TextBuilder(meter);
  builder.add(left);
  builder.add(right);
  return builder.finish();
}
