import type { CompiledPattern } from "./split-pattern.js";

/** Parts that are joined at a time: a list of millions of small strings would take more memory than the text. */
const PARTS = 4_096;

/** Joins many small strings into one of bounded length. */
export class TextBuilder {
  readonly #limit: number;
  #length = 0;
  #parts: string[] = [];
  readonly #joined: string[] = [];

  /** @param limit most UTF-16 units of the whole text */
  constructor(limit: number) {
    this.#limit = limit;
  }

  /** False, and nothing is appended, where the text would be longer than the limit. */
  append(part: string): boolean {
    if (this.#length + part.length > this.#limit) return false;
    this.#length += part.length;
    this.#parts.push(part);
    if (this.#parts.length === PARTS) {
      this.#joined.push(this.#parts.join(""));
      this.#parts = [];
    }
    return true;
  }

  build(): string {
    const rest = this.#parts.join("");
    return this.#joined.length === 0 ? rest : this.#joined.join("") + rest;
  }
}

/** Units that are searched at a time. */
const WINDOW = 1 << 16;

/** Every occurrence of a string that is not empty becomes `content`; null where the result would be longer than `limit`. */
export function replaceString(text: string, from: string, content: string, limit: number): string | null {
  if (!text.includes(from)) return text.length > limit ? null : text;
  const parts: string[] = [];
  let length = 0;
  for (let start = 0; start < text.length;) {
    const end = Math.min(text.length, start + WINDOW + from.length);
    const pieces = text.slice(start, end).split(from);
    // An occurrence may begin in what is left of the window and end in the next one.
    const last = pieces.at(-1)!;
    const kept = end === text.length ? 0 : Math.min(last.length, from.length - 1);
    pieces[pieces.length - 1] = last.slice(0, last.length - kept);
    length += end - kept - start + (pieces.length - 1) * (content.length - from.length);
    if (length > limit) return null;
    parts.push(pieces.join(content));
    start = end - kept;
  }
  return parts.join("");
}

/** Every match of a pattern becomes `content`; null where the result would be longer than `limit`. */
export function replaceMatches(
  text: string,
  pattern: CompiledPattern,
  content: string,
  limit: number,
): string | null {
  const builder = new TextBuilder(limit);
  let end = 0;
  let fits = true;
  pattern.each(text, (from, to) => {
    fits = builder.append(text.slice(end, from)) && builder.append(content);
    end = to;
    return fits;
  });
  return fits && builder.append(text.slice(end)) ? builder.build() : null;
}
