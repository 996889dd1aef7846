import { flattenSteps, type JsonObject, own, ownFlag } from "./json.js";
import { patternOf } from "./normalizer.js";
import {
  type CompiledPattern,
  compilePattern,
  expressionPattern,
  type Pattern,
  PATTERNS,
  splitText,
  type SplitBehavior,
} from "./split-pattern.js";
import { replaceString } from "./text-builder.js";
import { unsupported } from "./tokenizer-errors.js";

type PrependScheme = "always" | "first" | "never";

/** One step of a pre-tokenizer, checked, with the keys that count. */
export type PreTokenizerStep =
  | { readonly type: "ByteLevel"; readonly addPrefixSpace: boolean; readonly useRegex: boolean }
  | {
      readonly type: "Split";
      readonly pattern: Pattern;
      readonly behavior: SplitBehavior;
      readonly invert: boolean;
    }
  | { readonly type: "Punctuation"; readonly behavior: SplitBehavior }
  | { readonly type: "Whitespace" }
  | {
      readonly type: "Metaspace";
      readonly mark: string;
      readonly scheme: PrependScheme;
      readonly split: boolean;
    };

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
  /** How many times longer a text may become at most. */
  readonly growth: number;
  /** Number of times that a text is cut. */
  readonly cuts: number;
}

const NAME = "pre_tokenizer";
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

/**
 * Reads the `pre_tokenizer` of a tokenizer.json. Throws ERR_TOKENIZER for an unknown step. The steps are own code where those of
 * @huggingface/tokenizers differ from the Rust library (the behaviours of Split, Digits, Punctuation, Metaspace, U+FEFF in ByteLevel).
 */
export function readPreTokenizer(config: unknown): PreTokenizerStep[] {
  const steps = flattenSteps(config, "pretokenizers", NAME).map(readStep);
  const bytes = steps.findIndex(({ type }) => type === "ByteLevel");
  if (bytes >= 0 && bytes < steps.length - 1) throw refuse("no step after ByteLevel", steps[bytes + 1]!.type);
  return steps;
}

const split = (pattern: Pattern, behavior: SplitBehavior): PreTokenizerStep => ({
  type: "Split",
  pattern,
  behavior,
  invert: false,
});

function readStep(step: JsonObject): PreTokenizerStep {
  const type = own(step, "type");
  const flag = (key: string, otherwise: boolean): boolean => ownFlag(step, key, otherwise, NAME);
  switch (type) {
    case "ByteLevel":
      if (own(step, "add_prefix_space") === undefined)
        throw unsupported("true or false", `${NAME}.add_prefix_space`, undefined);
      return { type, addPrefixSpace: flag("add_prefix_space", true), useRegex: flag("use_regex", true) };
    case "Split":
      return {
        type,
        pattern: patternOf(own(step, "pattern"), NAME),
        behavior: behaviorOf(own(step, "behavior")),
        invert: flag("invert", false),
      };
    case "Digits":
      return split(
        { Regex: flag("individual_digits", false) ? PATTERNS.digit : PATTERNS.digits },
        "Isolated",
      );
    case "Whitespace":
      return { type };
    case "WhitespaceSplit":
      return split({ Regex: PATTERNS.spaces }, "Removed");
    case "CharDelimiterSplit":
      return split({ String: characterOf(step, "delimiter", undefined) }, "Removed");
    case "Punctuation":
      return { type, behavior: behaviorOf(own(step, "behavior") ?? "Isolated") };
    case "Metaspace":
      return {
        type,
        mark: characterOf(step, "replacement", "\u2581"),
        scheme: schemeOf(step, NAME),
        split: flag("split", true),
      };
    default:
      throw refuse(
        "Sequence, ByteLevel, Split, Digits, Whitespace, WhitespaceSplit, CharDelimiterSplit, Punctuation or Metaspace",
        type,
      );
  }
}

function behaviorOf(behavior: unknown): SplitBehavior {
  if (!BEHAVIORS.includes(behavior as string)) throw refuse(BEHAVIORS.join(", "), behavior);
  return behavior as SplitBehavior;
}

/** One code point. */
export function characterOf(
  step: JsonObject,
  key: string,
  otherwise: string | undefined,
  name = NAME,
): string {
  const value = own(step, key) ?? otherwise;
  if (typeof value !== "string" || value.length === 0 || [...value.slice(0, 3)].length !== 1)
    throw unsupported("one character", `${name}.${key}`, value);
  return value;
}

/** Where Metaspace puts its mark before a text, by `prepend_scheme` and the older `add_prefix_space`. */
export function schemeOf(step: JsonObject, name: string): PrependScheme {
  const prefix = ownFlag(step, "add_prefix_space", true, name);
  const scheme = own(step, "prepend_scheme") ?? (prefix ? "always" : "never");
  if (scheme !== "always" && scheme !== "first" && scheme !== "never")
    throw unsupported("always, first or never", `${name}.prepend_scheme`, scheme);
  if (!prefix && scheme !== "never")
    throw unsupported("never, as add_prefix_space is false,", `${name}.prepend_scheme`, scheme);
  return scheme;
}

/** Splits by the steps with the meaning of Hugging Face's Rust library. */
export function compilePreTokenizer(steps: readonly PreTokenizerStep[]): PreTokenizer {
  const compiler = new Compiler();
  for (const step of steps) compiler.add(step);
  const run = compiler.stages.reduceRight<
    (piece: string, first: boolean, emit: (word: string) => void) => void
  >(
    (next, stage) => (piece, first, emit) => stage(piece, first, (part, start) => next(part, start, emit)),
    (piece, _first, emit) => emit(piece),
  );
  const { byteLevel, trusted, growth, cuts } = compiler;
  return { split: run, byteLevel, trusted, growth, cuts };
}

class Compiler {
  readonly stages: Stage[] = [];
  byteLevel = false;
  trusted = true;

  growth = 1;
  cuts = 0;

  add(step: PreTokenizerStep): void {
    switch (step.type) {
      case "ByteLevel":
        if (step.addPrefixSpace) this.stages.push(prefixSpace);
        if (step.addPrefixSpace) this.growth += 1;
        if (step.useRegex) this.#split({ Regex: PATTERNS.gpt2 }, "Isolated", false);
        this.byteLevel = true;
        return;
      case "Split":
        return this.#split(step.pattern, step.behavior, step.invert);
      case "Whitespace":
        return this.#cut(WORDS, "Removed", true);
      case "Punctuation":
        return this.#cut(PUNCTUATION, step.behavior, false);
      case "Metaspace":
        return this.#metaspace(step);
    }
  }

  #split(pattern: Pattern, behavior: SplitBehavior, invert: boolean): void {
    const compiled = compilePattern(pattern, "pre_tokenizer.pattern");
    this.trusted &&= compiled.trusted;
    this.#cut(compiled, behavior, invert);
  }

  #cut(pattern: CompiledPattern, behavior: SplitBehavior, invert: boolean): void {
    this.cuts += 1;
    this.stages.push((piece, first, emit) => {
      let start = first;
      splitText(piece, pattern, behavior, invert, (part) => {
        emit(part, start);
        start = false;
      });
    });
  }

  #metaspace({ mark, scheme, split }: PreTokenizerStep & { type: "Metaspace" }): void {
    // One character becomes one, in front of which a piece may get another.
    this.growth += 2 * mark.length - 1;
    this.stages.push((piece, first, emit) => {
      const marked = replaceString(piece, " ", mark, Infinity)!;
      const prepend = !marked.startsWith(mark) && (scheme === "always" || (scheme === "first" && first));
      emit(prepend ? mark + marked : marked, first);
    });
    if (split) this.#split({ String: mark }, "MergedWithNext", false);
  }
}

const prefixSpace: Stage = (piece, first, emit) => emit(piece.startsWith(" ") ? piece : ` ${piece}`, first);

const refuse = (what: string, received: unknown): Error => unsupported(what, NAME, received);
