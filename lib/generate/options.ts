import { ADAPTER } from "../adapters/index.js";
import { checkTokens } from "../errors/check.js";
import {
  nativeSampling,
  SAMPLING,
  SERVED,
  type SamplingOptions,
  type ServedRequest,
  type VocabularyContext,
} from "../native/request-options.js";
import {
  boolean,
  checkOptions,
  integer,
  namesOf,
  option,
  pick,
  signal,
  text,
  type CheckedOf,
  type OptionsOf,
} from "../schema/index.js";
import { MAX_STOP_LENGTH, MAX_STOP_STRINGS } from "../tokenizer/stop-string-matcher.js";
import { DECODING, ENCODING } from "../tokenizer/text-options.js";
import { expected } from "../errors/index.js";
import { SERVING, type ServingOptions } from "./serving.js";

const MAX_DRAFT_TOKENS = 7;
const DEFAULT_DRAFT_TOKENS = 5; // with the last token six rows, which stream the weights once
export const MAX_TOP_LOGPROBS = 100;

const DRAFT_TOKENS = integer({ description: "", min: 0, max: MAX_DRAFT_TOKENS, default: 0 });
const TOP_LOGPROBS = integer({ description: "", min: 0, max: MAX_TOP_LOGPROBS, default: 0 });

const orBoolean = (numbers: typeof DRAFT_TOKENS) => ({
  anyOf: [{ type: "boolean" }, numbers.json(undefined)],
});

const MAX_CHOICES = 1024;
const MAX_CHOICE_LENGTH = 1024;
const CHOICE = text<never>({
  description: "A text.",
  minLength: 1,
  maxLength: MAX_CHOICE_LENGTH,
  required: true,
});

function checkChoices(choices: unknown, name: string): string[] {
  if (!Array.isArray(choices) || choices.length === 0 || choices.length > MAX_CHOICES)
    throw expected(`an array of 1 to ${MAX_CHOICES} texts`, name, choices);
  return Array.from(choices as unknown[], (one, i) => CHOICE.check(`${name}[${i}]`, one, undefined));
}

const STOP = { type: "string", minLength: 1, maxLength: MAX_STOP_LENGTH };

function checkStop(stop: unknown, name: string): string[] {
  const list = typeof stop === "string" ? [stop] : stop;
  if (!Array.isArray(list) || list.length > MAX_STOP_STRINGS)
    throw expected(`a string or at most ${MAX_STOP_STRINGS} strings`, name, stop);
  for (const one of list)
    if (typeof one !== "string" || one.length === 0 || one.length > MAX_STOP_LENGTH)
      throw expected(`a string of 1 to ${MAX_STOP_LENGTH} characters`, name, one);
  return list as string[];
}

const ANSWER = {
  /** Adapters for this request, by name, each with its own scale. Default: none, the base model alone. */
  adapter: ADAPTER,
  /** Tokens to generate at most. 1 … 2^31-1, default 512; generation also ends where the context is full. */
  maxTokens: integer({
    description: "Tokens to generate at most.",
    unit: "tokens",
    min: 1,
    max: 2 ** 31 - 1,
    default: 512,
  }),
  /** Texts that end the generation; they are not part of the answer. At most 64, of 1 to 1024 characters each. Default: none. */
  stop: option<string | string[], string[], unknown, string[]>({
    description: "Texts that end the generation; they are not part of the answer.",
    default: { says: "none", value: () => [] },
    json: { anyOf: [STOP, { type: "array", maxItems: MAX_STOP_STRINGS, items: STOP }] },
    check: checkStop,
  }),
  /** Token ids that end the generation, beside the model's own end tokens. Default: none. */
  stopTokens: option<ArrayLike<number>, Int32Array, VocabularyContext, Int32Array>({
    description: "Token ids that end the generation, beside the model's own end tokens.",
    default: { says: "none", value: () => new Int32Array(0) },
    json: (context) => ({
      type: "array",
      items: { type: "integer", minimum: 0, ...(context && { maximum: context.vocabularySize - 1 }) },
    }),
    check: (tokens, name, { vocabularySize }) => checkTokens(name, tokens, vocabularySize),
  }),
  /**
   * The answer is one of these texts: only tokens that continue one of them are drawn, and the generation ends with finishReason "stop"
   * when one is complete. Each is tokenised by itself, like the completion of `score`. Where one begins another, the model's end token
   * chooses the shorter one. Log-probabilities stay those of the model's own distribution. Stop texts, and `maxTokens`, may cut an answer.
   * Texts of one token at least, without end tokens; 1 to 1024 of 1 to 1024 characters each, 65,536 tokens in all. Needs a tokenizer.
   * Default: any answer.
   */
  choices: option<readonly string[], string[]>({
    description: "Texts of which the answer is one.",
    default: { says: "any answer", value: undefined },
    json: { type: "array", minItems: 1, maxItems: MAX_CHOICES, items: CHOICE.json(undefined)! },
    check: checkChoices,
  }),
  /**
   * Prompt lookup: tokens that followed the last ones earlier in prompt or answer are tried in one step, up to this many, and those
   * that equal the draw are kept. The text is the same as without. With adapters, the last answer under the same ones is
   * looked up, too: answers of one task share their frame. Faster where the answer repeats either (extraction, rewriting);
   * else a little slower. `true` stands for 5: as many rows still take about the time of one. 0 … 7, default 0.
   */
  promptLookup: option<boolean | number, number, unknown, number>({
    description: "Tokens that a step tries that followed the last ones earlier; true stands for 5.",
    unit: "tokens",
    default: 0,
    json: orBoolean(DRAFT_TOKENS),
    check: (value, name) =>
      typeof value === "boolean"
        ? Number(value) * DEFAULT_DRAFT_TOKENS
        : DRAFT_TOKENS.check(name, value, undefined),
  }),
  /** Go on past the model's end-of-text and end-of-turn tokens. Default false. */
  ignoreEndOfText: boolean({
    description: "Go on past the model's end-of-text and end-of-turn tokens.",
    default: false,
  }),
  /**
   * Report log-probabilities: `true` for those of the generated tokens, a number for so many of the most likely ones at each position,
   * too. Natural logarithms of the model's own distribution, before temperature, penalties and bias. 0 … 100, default false.
   */
  logprobs: option<boolean | number, number, unknown, number>({
    description: "Report log-probabilities; a number: of so many of the most likely tokens, too.",
    unit: "tokens",
    default: { says: "false", value: -1 },
    json: orBoolean(TOP_LOGPROBS),
    check: (value, name) =>
      typeof value === "boolean" ? Number(value) - 1 : TOP_LOGPROBS.check(name, value, undefined),
  }),
  /** Leave special tokens out of the text of the answer. Default true. */
  skipSpecialTokens: DECODING.skipSpecialTokens,
  /** Ends the generation: the loop throws ERR_ABORTED, and `result()` resolves with finishReason "aborted". */
  signal: signal({ description: "Ends the generation." }),
};

/** What an answer to any prompt takes. */
export const ANSWERING: typeof ANSWER & typeof SAMPLING & typeof SERVING = {
  ...SERVING,
  ...ANSWER,
  ...SAMPLING,
};

export interface AnswerOptions
  extends OptionsOf<typeof ANSWER>, OptionsOf<typeof SAMPLING>, Omit<ServingOptions, "signal"> {}

export const GENERATE: typeof ANSWERING & typeof ENCODING = { ...ANSWERING, ...ENCODING };

export const GENERATE_KEYS = namesOf(GENERATE);

export interface GenerateOptions extends AnswerOptions, OptionsOf<typeof ENCODING> {}

/** Options that go to the engine together. */
interface RequestParts {
  sampling: SamplingOptions;
  serving: ServedRequest;
}

/** AnswerOptions, checked and complete. */
export interface CheckedAnswerOptions extends CheckedOf<typeof ANSWERING>, RequestParts {}

/** Adds what goes to the engine together. */
export function withRequestParts<Checked extends CheckedOf<typeof ANSWERING>>(
  checked: Checked,
): Checked & RequestParts {
  return {
    ...checked,
    sampling: nativeSampling(pick(checked, SAMPLING)),
    serving: pick(checked, SERVED),
  };
}

export const checkGenerateOptions = (options: GenerateOptions, vocabularySize: number) =>
  withRequestParts(checkOptions(GENERATE, options, { vocabularySize }));
