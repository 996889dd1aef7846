import {
  type CompiledPattern,
  compilePattern,
  expressionPattern,
  PATTERNS,
  splitText,
  type SplitBehavior,
} from "./split-pattern.js";
import { unsupported } from "./tokenizer-errors.js";

/**
 * Cuts a piece of text into smaller ones. `first` is true for the piece with which the whole text begins.
 * A stage must emit no empty piece.
 */
type Stage = (piece: string, first: boolean, emit: (piece: string, first: boolean) => void) => void;

export interface PreTokenizer {
  /** Words for the model, in order. */
  readonly split: (text: string, first: boolean, emit: (word: string) => void) => void;
  /** True where a ByteLevel step comes last: the model's symbols are bytes. */
  readonly byteLevel: boolean;
  /** False where a pattern may take 100 ms for 8,192 characters: run it in a worker only. */
  readonly trusted: boolean;
}

const BEHAVIORS: readonly string[] = [
  "Isolated",
  "Removed",
  "MergedWithPrevious",
  "MergedWithNext",
  "Contiguous",
];
/** `\\w+|[^\\w\\s]+` as Rust's regex crate reads it. */
const WORD = "\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\p{Join_Control}";
const WORDS = expressionPattern(new RegExp(`[${WORD}]+|[^${WORD}\\p{White_Space}]+`, "gu"));
const PUNCTUATION = expressionPattern(/[\p{P}!-/:-@[-`{-~]/gu);
/** Most steps of a Sequence, nested ones counted. */
const MAX_STAGES = 64;

/**
 * Compiles the `pre_tokenizer` of a tokenizer.json, with the meaning of Hugging Face's Rust library.
 * Throws ERR_TOKENIZER for an unknown step.
 */
export function compilePreTokenizer(config: unknown): PreTokenizer {
  const compiler = new Compiler();
  compiler.add(config, 0);
  const run = compiler.stages.reduceRight<
    (piece: string, first: boolean, emit: (word: string) => void) => void
  >(
    (next, stage) => (piece, first, emit) => stage(piece, first, (part, start) => next(part, start, emit)),
    (piece, _first, emit) => emit(piece),
  );
  return { split: run, byteLevel: compiler.byteLevel, trusted: compiler.trusted };
}

class Compiler {
  readonly stages: Stage[] = [];
  byteLevel = false;
  trusted = true;

  add(config: unknown, depth: number): void {
    if (config === null || config === undefined) return;
    const step = config as Record<string, unknown>;
    if (this.byteLevel) throw refuse("a step after ByteLevel", step["type"]);
    if (depth > 8 || this.stages.length > MAX_STAGES) throw refuse("at most 64 steps, 8 deep", step["type"]);
    switch (step["type"]) {
      case "Sequence": {
        if (!Array.isArray(step["pretokenizers"])) throw refuse("a list of pretokenizers", "Sequence");
        for (const inner of step["pretokenizers"] as unknown[]) this.add(inner, depth + 1);
        return;
      }
      case "ByteLevel":
        if (step["add_prefix_space"] !== false) this.stages.push(prefixSpace); // Hugging Face's default is true
        if (step["use_regex"] !== false) this.#split({ Regex: PATTERNS.gpt2 }, "Isolated", false);
        this.byteLevel = true;
        return;
      case "Split":
        return this.#split(step["pattern"], step["behavior"], step["invert"] === true);
      case "Digits":
        return this.#split(
          { Regex: step["individual_digits"] === true ? PATTERNS.digit : PATTERNS.digits },
          "Isolated",
          false,
        );
      case "Whitespace":
        return this.#cut(WORDS, "Removed", true);
      case "WhitespaceSplit":
        return this.#split({ Regex: PATTERNS.spaces }, "Removed", false);
      case "CharDelimiterSplit":
        return this.#split({ String: step["delimiter"] }, "Removed", false);
      case "Punctuation":
        return this.#cut(PUNCTUATION, step["behavior"] ?? "Isolated", false);
      case "Metaspace":
        return this.#metaspace(step);
      default:
        throw refuse(
          "Sequence, ByteLevel, Split, Digits, Whitespace, WhitespaceSplit, CharDelimiterSplit, Punctuation or Metaspace",
          step["type"],
        );
    }
  }

  #split(pattern: unknown, behavior: unknown, invert: boolean): void {
    const compiled = compilePattern(pattern, "pre_tokenizer.pattern");
    this.trusted &&= compiled.trusted;
    this.#cut(compiled, behavior, invert);
  }

  #cut(pattern: CompiledPattern, behavior: unknown, invert: boolean): void {
    if (!BEHAVIORS.includes(behavior as string)) throw refuse(BEHAVIORS.join(", "), behavior);
    this.stages.push((piece, first, emit) => {
      let start = first;
      splitText(piece, pattern, behavior as SplitBehavior, invert, (part) => {
        emit(part, start);
        start = false;
      });
    });
  }

  #metaspace(step: Record<string, unknown>): void {
    const mark = step["replacement"] ?? "\u2581";
    if (typeof mark !== "string" || mark.length === 0 || mark.length > 2)
      throw refuse("one character as replacement", mark);
    const scheme = step["prepend_scheme"] ?? (step["add_prefix_space"] === false ? "never" : "always");
    if (scheme !== "always" && scheme !== "first" && scheme !== "never")
      throw refuse("always, first or never", scheme);
    this.stages.push((piece, first, emit) => {
      const marked = piece.replaceAll(" ", mark);
      const prepend = !marked.startsWith(mark) && (scheme === "always" || (scheme === "first" && first));
      emit(prepend ? mark + marked : marked, first);
    });
    if (step["split"] !== false) this.#split({ String: mark }, "MergedWithNext", false);
  }
}

const prefixSpace: Stage = (piece, first, emit) => emit(piece.startsWith(" ") ? piece : ` ${piece}`, first);

const refuse = (what: string, received: unknown): Error => unsupported(what, "pre_tokenizer", received);
