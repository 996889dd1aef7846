import { AutomatonScanner, buildAutomaton, type AutomatonTables } from "./token-automaton.js";
import { isWhiteSpace } from "./white-space.js";

/** A token that is looked for in the text before the model sees it. */
export interface AddedToken {
  readonly id: number;
  readonly content: string;
  /** A control token, such as <|im_start|>: it steers the model, so text from outside must not become one. */
  readonly special: boolean;
  /** What is looked for in the normalised text, once the raw text has been searched: the normalised content; null for a token of the raw text. */
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

/** Takes one section. */
export type Visit = (start: number, end: number, token: AddedToken | null) => void;

/** Decides whether a match counts. start, end: UTF-16 offsets of the token itself. */
export type Accept = (token: AddedToken, start: number, end: number) => boolean;

const WORD_BEFORE = /[\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\p{Join_Control}]$/u;
const WORD_AFTER = /^[\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\p{Join_Control}]/u;

const NAME = "the added tokens";

/** Where the added tokens of a tokenizer are looked for: automata whose indices are those of the list of added tokens. */
export interface AddedTokenTables {
  /** In the raw text. */
  readonly raw: AutomatonTables;
  /** In the normalised text; null where nothing is. */
  readonly normalized: AutomatonTables | null;
  /** In the raw text of a rendered chat, where every control token is; null where that is `raw`. */
  readonly chat: AutomatonTables | null;
}

/** Throws ERR_TOKENIZER where the tokens are too long together. */
export function buildAddedTokenTables(tokens: readonly AddedToken[]): AddedTokenTables {
  const inNormalized = tokens.filter(({ normalized }) => normalized !== null);
  const rawContent = ({ normalized, content }: AddedToken): string | null =>
    normalized === null ? content : null;
  return {
    raw: buildAutomaton(tokens.map(rawContent), NAME),
    normalized:
      inNormalized.length === 0
        ? null
        : buildAutomaton(
            tokens.map(({ normalized }) => normalized),
            NAME,
          ),
    chat: inNormalized.some(({ special }) => special)
      ? buildAutomaton(
          tokens.map((token) => (token.special ? token.content : rawContent(token))),
          NAME,
        )
      : null,
  };
}

/** Finds added tokens: leftmost, then longest, as the Aho-Corasick automaton of Hugging Face's added_vocabulary.rs does. */
export class AddedTokenMatcher {
  readonly #tokens: readonly AddedToken[];
  readonly #lengths: Int32Array;
  readonly #scanner: AutomatonScanner;

  /**
   * @param tables an automaton over the tokens' contents; built here where it is left out
   * @param contentOf what the automaton looks for in place of a token's content
   */
  constructor(
    tokens: readonly AddedToken[],
    tables: AutomatonTables = buildAutomaton(
      tokens.map(({ content }) => content),
      NAME,
    ),
    contentOf: (token: AddedToken) => string = (token) => token.content,
  ) {
    this.#tokens = tokens;
    this.#lengths = Int32Array.from(tokens, (token) => contentOf(token).length);
    this.#scanner = new AutomatonScanner(tables);
  }

  /** The sections of `visit` as a list. */
  split(text: string, accept: Accept): Section[] {
    const sections: Section[] = [];
    this.visit(text, accept, (start, end, token) => sections.push({ start, end, token }));
    return sections;
  }

  /** Visits the whole text as sections in order, in linear time. Text sections are never empty. */
  visit(text: string, accept: Accept, visit: Visit): void {
    let taken = 0;
    // The run of white space that was swallowed last: a walk over it for each token in it would be quadratic.
    let blankStart = 0;
    let blankEnd = 0;
    this.#scanner.scan(text, (found, index) => {
      const token = this.#tokens[index]!;
      const foundEnd = found + this.#lengths[index]!;
      if (!accept(token, found, foundEnd) || (token.singleWord && touchesWord(text, found, foundEnd)))
        return foundEnd;
      let start = found;
      let end = foundEnd;
      while (token.lstrip && start > taken && isWhiteSpace(text, start - 1)) --start;
      if (token.rstrip) {
        if (end < blankStart || end >= blankEnd) {
          blankStart = blankEnd = end;
          while (blankEnd < text.length && isWhiteSpace(text, blankEnd)) ++blankEnd;
        }
        end = blankEnd;
      }
      if (taken < start) visit(taken, start, null);
      visit(start, end, token);
      taken = end; // as in the Rust library, even where an earlier rstrip has gone further
      return foundEnd;
    });
    if (taken < text.length) visit(taken, text.length, null);
  }
}

const touchesWord = (text: string, start: number, end: number): boolean =>
  WORD_BEFORE.test(text.slice(Math.max(0, start - 2), start)) || WORD_AFTER.test(text.slice(end, end + 2));
