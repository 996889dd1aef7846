import { createRequire } from "node:module";
import { unsupported } from "./tokenizer-errors.js";

/** A pattern of tokenizer.json: an Oniguruma regular expression, or a string to be found as it is. */
export type Pattern = { readonly Regex: string } | { readonly String: string };

export interface CompiledPattern {
  /** Global and Unicode-aware. */
  readonly regex: RegExp;
  /** False for a regular expression that nobody has checked for catastrophic backtracking: run it in a worker only. */
  readonly trusted: boolean;
}

/** What is used of @huggingface/tokenizers; its own typings do not resolve in ES modules. */
interface PatternLibrary {
  SplitPreTokenizer: new (config: Record<string, unknown>) => { readonly pattern: RegExp | null };
}
/** Loaded for patterns beyond the known ones only: it costs 1 MB and 20 ms. */
const loadLibrary = (): PatternLibrary =>
  createRequire(import.meta.url)("@huggingface/tokenizers") as PatternLibrary;

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
 * Compiles a pattern. Known ones by the table above; others are translated from Oniguruma by @huggingface/tokenizers.
 * Throws ERR_TOKENIZER for what is no pattern, too long, or beyond JavaScript's regular expressions.
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
  if (Regex === undefined) return { regex: new RegExp(escapeRegex(source), "gu"), trusted: true };
  const known = TRUSTED.get(source);
  if (known !== undefined) return { regex: new RegExp(known, "gu"), trusted: true };
  try {
    const { pattern: regex } = new (loadLibrary().SplitPreTokenizer)({
      type: "Split",
      pattern: { Regex: source },
      behavior: "Isolated",
      invert: false,
    });
    if (regex !== null) return { regex, trusted: false };
  } catch (cause) {
    throw unsupported("a regular expression that JavaScript can run", name, source, cause);
  }
  throw unsupported("a regular expression", name, source);
}

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
  regex: RegExp,
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
  let lastMatch = -1;
  regex.lastIndex = 0;
  for (let match = regex.exec(text); match !== null; match = regex.exec(text)) {
    const from = match.index;
    const to = from + match[0].length;
    if (from === to) {
      // An empty match directly behind a match does not count; go on by one code point.
      regex.lastIndex += text.codePointAt(to)! > 0xffff ? 2 : 1;
      if (from === lastMatch) continue;
    }
    if (last < from) take(last, from, invert);
    take(from, to, !invert);
    last = lastMatch = to;
  }
  if (last < text.length) take(last, text.length, invert);
  if (start >= 0 && end > start) emit(text.slice(start, end));
}
