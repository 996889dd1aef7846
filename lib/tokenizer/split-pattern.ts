import { LowrankError } from "../errors/index.js";
import { Pattern as BoundedPattern, PatternError } from "../patterns/index.js";
import { shown, unsupported } from "./tokenizer-errors.js";

/** A pattern of tokenizer.json: an Oniguruma regular expression, or a string to be found as it is. */
export type Pattern = { readonly Regex: string } | { readonly String: string };

export interface CompiledPattern {
  /** Is there a match in the empty text? */
  readonly matchesEmpty: () => boolean;
  /** True where 8,192 characters take less than 10 ms; else they may take 10 times as long, and a worker should run them. */
  readonly trusted: boolean;
  /**
   * Calls `visit` for each match from left to right, with UTF-16 offsets. As in Hugging Face's library an empty match directly behind
   * a match does not count, and an empty text has no matches. Where `visit` returns false, the run ends.
   * Throws ERR_TOKENIZER where a text takes more than its share of steps.
   */
  readonly each: (text: string, visit: (start: number, end: number) => boolean | void) => void;
}

/** Longest pattern, in UTF-16 units. */
const MAX_PATTERN = 16_384;

// Rust's and Oniguruma's \s is White_Space: unlike JavaScript's it has U+0085 and has not U+FEFF.
const S = "\\p{White_Space}";
const NOT_S = "\\P{White_Space}";
/** The contractions without regard to case: Oniguruma folds U+017F, the long s, to s. */
const CONTRACTIONS = "'(?:[sS\u017f]|[tT]|[rR][eE]|[vV][eE]|[mM]|[lL][lL]|[dD])";
const CASED = "[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]";
const UNCASED = "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]";

/** Names of the patterns that the tokenizers of the supported model families use. */
export const PATTERNS = {
  gpt2: "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+",
  llama3:
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
  qwen2:
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
  tekken:
    "[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]*[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]+|[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]+[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]*|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
  digit: "\\p{N}",
  digits: "\\p{N}+",
  space: "\\s",
  spaces: "\\s+",
} as const;

const TAIL = `|${S}*[\\r\\n]+|${S}+(?!${NOT_S})|${S}+`;
const WORDS_AND_MARKS = (numbers: string): string =>
  `${CONTRACTIONS}|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|${numbers}| ?[^${S}\\p{L}\\p{N}]+[\\r\\n]*${TAIL}`;

/** The same patterns in JavaScript, written by hand and linear in time but for short look-aheads. */
const TRUSTED: ReadonlyMap<string, string> = new Map([
  [
    PATTERNS.gpt2,
    `'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^${S}\\p{L}\\p{N}]+|${S}+(?!${NOT_S})|${S}+`,
  ],
  [PATTERNS.llama3, WORDS_AND_MARKS("\\p{N}{1,3}")],
  [PATTERNS.qwen2, WORDS_AND_MARKS("\\p{N}")],
  [
    PATTERNS.tekken,
    `[^\\r\\n\\p{L}\\p{N}]?${CASED}*${UNCASED}+|[^\\r\\n\\p{L}\\p{N}]?${CASED}+${UNCASED}*|\\p{N}| ?[^${S}\\p{L}\\p{N}]+[\\r\\n/]*${TAIL}`,
  ],
  [PATTERNS.digit, "\\p{N}"],
  [PATTERNS.digits, "\\p{N}+"],
  [PATTERNS.space, S],
  [PATTERNS.spaces, `${S}+`],
]);

/**
 * Compiles a pattern. Known ones run as the regular expressions above, others by `lib/patterns`; all in time proportional to the text.
 * Throws ERR_TOKENIZER for what is no pattern, too long, or cannot be run so, such as back-references.
 */
export function compilePattern(pattern: unknown, name: string): CompiledPattern {
  const { Regex, String: literal } = (
    typeof pattern === "object" && pattern !== null ? pattern : {}
  ) as Record<string, unknown>;
  const source = Regex ?? literal;
  if (typeof source !== "string" || source.length > MAX_PATTERN)
    throw unsupported(
      `{"Regex": …} or {"String": …} of at most ${MAX_PATTERN} characters`,
      name,
      source ?? pattern,
    );
  const known = Regex === undefined ? escapeRegex(source) : TRUSTED.get(source);
  if (known !== undefined) return expressionPattern(new RegExp(known, "gu"));
  try {
    const bounded = new BoundedPattern(source, "oniguruma");
    return {
      matchesEmpty: () => bounded.search("").next(0),
      trusted: bounded.quick,
      each: eachBounded(bounded, source, name),
    };
  } catch (cause) {
    if (!(cause instanceof PatternError)) throw cause;
    const what =
      cause.kind === "malformed"
        ? `a regular expression in Oniguruma's syntax`
        : `a regular expression that can be run in bounded time`;
    throw new LowrankError(
      "ERR_TOKENIZER",
      `Expected ${what} for ${name}, received ${shown(source)} with ${cause.message}. Use a model whose tokenizer is of the Llama, Qwen, Mistral or Gemma kind.`,
      { cause },
    );
  }
}

/** The matches of a global, Unicode-aware expression that takes linear time. */
export const expressionPattern = (regex: RegExp): CompiledPattern => ({
  matchesEmpty: () => {
    regex.lastIndex = 0;
    return regex.test("");
  },
  trusted: true,
  each: (text, visit) => {
    let last = -1;
    regex.lastIndex = 0;
    for (let match = regex.exec(text); match !== null; match = regex.exec(text)) {
      const start = match.index;
      const end = start + match[0].length;
      if (start === end) {
        regex.lastIndex += text.codePointAt(end)! > 0xffff ? 2 : 1;
        if (start === last) continue;
      }
      last = end;
      const next = regex.lastIndex; // `visit` may run the same expression
      if (visit(start, end) === false) return;
      regex.lastIndex = next;
    }
  },
});

const eachBounded =
  (pattern: BoundedPattern, source: string, name: string): CompiledPattern["each"] =>
  (text, visit) => {
    if (text === "") return;
    const search = pattern.search(text);
    const next = (from: number): boolean => {
      try {
        return from <= text.length && search.next(from);
      } catch (cause) {
        if (!(cause instanceof PatternError)) throw cause;
        throw new LowrankError(
          "ERR_TOKENIZER",
          `Expected a regular expression that takes time in proportion to the text for ${name}, received ${shown(source)}, which takes ${cause.message}. Use a model whose tokenizer is of the Llama, Qwen, Mistral or Gemma kind, or other text.`,
          { cause },
        );
      }
    };
    let last = -1;
    for (let from = 0; next(from);) {
      const { start, end } = search;
      if (start === end && end === last) {
        from += text.codePointAt(from)! > 0xffff ? 2 : 1;
        continue;
      }
      from = last = end;
      if (visit(start, end) === false) return;
    }
  };

/** Escapes the syntax characters of regular expressions. */
export function escapeRegex(text: string): string {
  return text.replace(/[\\^$.*+?()[\]{}|/]/g, "\\$&");
}

export type SplitBehavior = "Isolated" | "Removed" | "MergedWithPrevious" | "MergedWithNext" | "Contiguous";

/**
 * Cuts a text at the matches of a pattern, with the behaviours of Hugging Face's `NormalizedString::split`.
 * @param invert take what lies between the matches for the matches
 */
export function splitText(
  text: string,
  pattern: CompiledPattern,
  behavior: SplitBehavior,
  invert: boolean,
  emit: (piece: string) => void,
): void {
  let start = -1; // of the piece in hand
  let end = 0;
  let previous = false; // was the last piece a match
  const take = (from: number, to: number, match: boolean): void => {
    const joins =
      (behavior === "Contiguous" && match === previous) ||
      (behavior === "MergedWithPrevious" && match && !previous) ||
      (behavior === "MergedWithNext" && !match && previous);
    if (start < 0 || !joins) {
      if (start >= 0 && end > start) emit(text.slice(start, end));
      start = from;
    }
    end = to;
    previous = match;
    if (behavior === "Removed" && match) start = end; // leaves nothing to be emitted
  };
  let last = 0; // end of what has been taken
  pattern.each(text, (from, to) => {
    if (last < from) take(last, from, invert);
    take(from, to, !invert);
    last = to;
  });
  if (last < text.length) take(last, text.length, invert);
  if (start >= 0 && end > start) emit(text.slice(start, end));
}
