import { expected } from "../errors/index.js";

export interface StopResult {
  /** Text that belongs to the answer for certain. */
  readonly text: string;
  /** The stop string that was found, or null. What came behind it is dropped. */
  readonly stop: string | null;
}

/** Most stop strings, and the longest one, in UTF-16 units. */
export const MAX_STOP_STRINGS = 64;
export const MAX_STOP_LENGTH = 1024;

/**
 * Finds stop strings in a text that comes in parts, also where they lie across a border. Text that may be the beginning of a stop
 * string is held back. The stop string that is complete first ends the text; of two that end together, the longer. So the result
 * does not depend on where the parts are cut.
 */
export class StopStringMatcher {
  readonly #stops: readonly string[];
  /** What is held back: it is no longer than the longest stop string. */
  #held = "";
  #stopped: string | null = null;

  /** @param stops up to 64 strings of 1 to 1,024 UTF-16 units; none: everything passes through */
  constructor(stops: readonly string[]) {
    if (!Array.isArray(stops) || stops.length > MAX_STOP_STRINGS)
      throw expected(`up to ${MAX_STOP_STRINGS} strings`, "stop", stops);
    for (const stop of stops as readonly unknown[])
      if (typeof stop !== "string" || stop.length === 0 || stop.length > MAX_STOP_LENGTH)
        throw expected(`strings of 1 to ${MAX_STOP_LENGTH} characters`, "stop", stop);
    this.#stops = [...new Set(stops as readonly string[])].sort((a, b) => b.length - a.length);
  }

  /** The stop string that was found, or null while there is none. */
  get stopped(): string | null {
    return this.#stopped;
  }

  /** Takes the next part. After a stop every part gives "". */
  push(part: string): StopResult {
    if (this.#stopped !== null) return { text: "", stop: this.#stopped };
    const text = this.#held + part;
    let end = Infinity;
    for (const stop of this.#stops) {
      const found = text.indexOf(stop);
      if (found < 0 || found + stop.length >= end) continue; // longer ones come first, so an equal end is a shorter one's
      end = found + stop.length;
      this.#stopped = stop;
    }
    if (this.#stopped !== null) {
      this.#held = "";
      return { text: text.slice(0, end - this.#stopped.length), stop: this.#stopped };
    }
    const safe = text.length - this.#undecided(text);
    this.#held = text.slice(safe);
    return { text: text.slice(0, safe), stop: null };
  }

  /** Ends the text: what was held back was no stop string. */
  flush(): string {
    const rest = this.#held;
    this.#held = "";
    return rest;
  }

  /** Length of the longest end of the text that is the beginning of a stop string. */
  #undecided(text: string): number {
    let longest = 0;
    for (const stop of this.#stops) {
      for (let length = Math.min(stop.length - 1, text.length); length > longest; --length) {
        if (text.endsWith(stop.slice(0, length))) {
          longest = length;
          break;
        }
      }
    }
    return longest;
  }
}
