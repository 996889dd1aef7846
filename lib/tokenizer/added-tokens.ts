import { isWhiteSpace } from "./normalizer.js";

/** A token that is looked for in the text before the model sees it. */
export interface AddedToken {
  readonly id: number;
  readonly content: string;
  /** A control token, such as <|im_start|>: it steers the model, so text from outside must not become one. */
  readonly special: boolean;
  /** What is looked for in the normalised text: the normalised content; null where the content is looked for in the raw text. */
  readonly normalized: string | null;
  /** Found only where no word character touches it. */
  readonly singleWord: boolean;
  /** Swallows white space before and behind it. */
  readonly lstrip: boolean;
  readonly rstrip: boolean;
}

/** A run of text (token null) or one added token. start, end: UTF-16 offsets. */
export interface Section {
  readonly start: number;
  readonly end: number;
  readonly token: AddedToken | null;
}

/** Decides whether a match counts. start, end: UTF-16 offsets of the token itself. */
export type Accept = (token: AddedToken, start: number, end: number) => boolean;

const WORD_BEFORE = /[\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\p{Join_Control}]$/u;
const WORD_AFTER = /^[\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\p{Join_Control}]/u;

/** Finds added tokens: leftmost, then longest, as the Aho-Corasick automaton of Hugging Face's added_vocabulary.rs does. */
export class AddedTokenMatcher {
  readonly #byContent = new Map<string, AddedToken>();
  /** First UTF-16 unit -> lengths of the tokens that begin with it, longest first. */
  readonly #lengths = new Map<number, number[]>();
  readonly #starts: RegExp | null;

  /** @param contentOf what to look for in place of a token's content */
  constructor(
    tokens: readonly AddedToken[],
    contentOf: (token: AddedToken) => string = (token) => token.content,
  ) {
    for (const token of tokens) {
      const content = contentOf(token);
      if (content === "") continue;
      this.#byContent.set(content, token);
      const unit = content.charCodeAt(0);
      const lengths = this.#lengths.get(unit) ?? [];
      if (!lengths.includes(content.length)) lengths.push(content.length);
      this.#lengths.set(unit, lengths);
    }
    for (const lengths of this.#lengths.values()) lengths.sort((a, b) => b - a);
    // Without the u flag the class holds UTF-16 units, as #lengths does.
    const units = [...this.#lengths.keys()].map((unit) => `\\u${unit.toString(16).padStart(4, "0")}`);
    this.#starts = units.length === 0 ? null : new RegExp(`[${units.join("")}]`, "g");
  }

  /** The whole text as sections in order. Text sections are never empty. */
  split(text: string, accept: Accept): Section[] {
    const sections: Section[] = [];
    let taken = 0;
    for (let match = this.#next(text, 0); match !== null; match = this.#next(text, match.end)) {
      const { token } = match;
      if (token === null || !accept(token, match.start, match.end)) continue;
      if (
        token.singleWord &&
        (WORD_BEFORE.test(text.slice(0, match.start).slice(-2)) ||
          WORD_AFTER.test(text.slice(match.end, match.end + 2)))
      )
        continue;
      let { start, end } = match;
      while (token.lstrip && start > taken && isWhiteSpace(text, start - 1)) --start;
      while (token.rstrip && end < text.length && isWhiteSpace(text, end)) ++end;
      if (taken < start) sections.push({ start: taken, end: start, token: null });
      sections.push({ start, end, token });
      taken = end; // as in the Rust library, even where an earlier rstrip has gone further
    }
    if (taken < text.length) sections.push({ start: taken, end: text.length, token: null });
    return sections;
  }

  #next(text: string, from: number): Section | null {
    if (this.#starts === null) return null;
    this.#starts.lastIndex = from;
    for (let found = this.#starts.exec(text); found !== null; found = this.#starts.exec(text)) {
      const start = found.index;
      for (const length of this.#lengths.get(text.charCodeAt(start))!) {
        const token = this.#byContent.get(text.slice(start, start + length));
        if (token !== undefined) return { start, end: start + length, token };
      }
    }
    return null;
  }
}
