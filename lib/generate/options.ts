import { randomBytes } from "node:crypto";
import { checkSelection, type AdapterSelection, type AdapterUse } from "../adapters/index.js";
import { checkBoolean, checkKnown, checkNumber, checkSignal, checkTokens } from "../errors/check.js";
import { expected } from "../errors/index.js";
import type { SamplingOptions, ServedRequest } from "../native/types.js";
import { checkServing, SERVING_KEYS, type ServingOptions } from "./serving.js";

export interface GenerateOptions extends ServingOptions {
  /** Adapters for this request, by name, each with its own scale. Default: none, the base model alone. */
  adapter?: AdapterSelection;
  /** Tokens to generate at most. 1 … 2^31-1, default 512; generation also ends where the context is full. */
  maxTokens?: number;
  /** 0 takes the most likely token each time; above, probabilities are those of logits / temperature. 0 … 100, default 0. */
  temperature?: number;
  /** Keep the k most likely tokens; 0 keeps all. Default 0. */
  topK?: number;
  /** Then the fewest whose probabilities add up to p. Above 0, up to 1; default 1 (all). */
  topP?: number;
  /** Then those with at least minP times the highest probability. 0 … 1, default 0 (all). */
  minP?: number;
  /** Divides (or, where negative, multiplies) the logits of tokens that occurred in prompt or answer. 0.01 … 100, default 1. */
  repetitionPenalty?: number;
  /** Subtracted once from the logit of each token that was generated. -100 … 100, default 0. */
  presencePenalty?: number;
  /** Subtracted for each time a token was generated. -100 … 100, default 0. */
  frequencyPenalty?: number;
  /** Added to the logits of tokens: `{ 42: -100 }` forbids token 42. */
  logitBias?: Record<number, number>;
  /**
   * The same seed, prompt and options give the same text. An integer from 0 to 2^53-1, or a BigInt up to 2^64-1; default: a random one,
   * which the result tells.
   */
  seed?: number | bigint;
  /** Texts that end the generation; they are not part of the answer. At most 64. */
  stop?: string | string[];
  /** Token ids that end the generation, beside the model's own end tokens. */
  stopTokens?: ArrayLike<number>;
  /**
   * Prompt lookup: tokens that followed the last ones earlier in prompt or answer are tried in one step, up to this many, and those
   * that equal the draw are kept. The text is the same as without. With adapters, the last answer under the same ones is
   * looked up, too: answers of one task share their frame. Faster where the answer repeats either (extraction, rewriting);
   * else a little slower. `true` stands for 5: as many rows still take about the time of one. 0 … 7, default 0.
   */
  promptLookup?: boolean | number;
  /** Go on past the model's end-of-text and end-of-turn tokens. Default false. */
  ignoreEndOfText?: boolean;
  /**
   * Report log-probabilities: `true` for those of the generated tokens, a number for so many of the most likely ones at each position,
   * too. Natural logarithms of the model's own distribution, before temperature, penalties and bias. At most 100; default false.
   */
  logprobs?: boolean | number;
  /** Put the tokenizer's own special tokens around a text prompt. Default true; `chat` has them in its template. */
  addSpecialTokens?: boolean;
  /** Let control tokens be written in a text prompt, such as "<|im_start|>". Default false: text from outside stays text. */
  parseSpecialTokens?: boolean;
  /** Leave special tokens out of the text of the answer. Default true. */
  skipSpecialTokens?: boolean;
  /** Ends the generation: the loop throws ERR_ABORTED, and `result()` resolves with finishReason "aborted". */
  signal?: AbortSignal;
}

export const GENERATE_KEYS = [
  "adapter",
  "maxTokens",
  "temperature",
  "topK",
  "topP",
  "minP",
  "repetitionPenalty",
  "presencePenalty",
  "frequencyPenalty",
  "logitBias",
  "seed",
  "stop",
  "stopTokens",
  "promptLookup",
  "ignoreEndOfText",
  "logprobs",
  "addSpecialTokens",
  "parseSpecialTokens",
  "skipSpecialTokens",
  ...SERVING_KEYS,
] as const;

const MAX_DRAFT_TOKENS = 7;
const DEFAULT_DRAFT_TOKENS = 5; // with the last token six rows, which stream the weights once
const MAX_STOPS = 64;
const MAX_STOP_LENGTH = 1024;
export const MAX_TOP_LOGPROBS = 100;
const MAX_SEED = (1n << 64n) - 1n;

/** GenerateOptions, checked and complete. */
export interface CheckedGenerateOptions {
  adapter: Required<AdapterUse>[];
  maxTokens: number;
  sampling: SamplingOptions;
  stop: string[];
  stopTokens: Int32Array;
  maxDraftTokens: number;
  ignoreEndOfText: boolean;
  topLogprobs: number;
  addSpecialTokens: boolean;
  parseSpecialTokens: boolean;
  skipSpecialTokens: boolean;
  serving: ServedRequest;
  signal: AbortSignal | undefined;
}

function checkSeed(seed: unknown): bigint {
  if (seed === undefined) return randomBytes(8).readBigUInt64LE();
  if (typeof seed === "number" && Number.isSafeInteger(seed) && seed >= 0) return BigInt(seed);
  if (typeof seed === "bigint" && seed >= 0n && seed <= MAX_SEED) return seed;
  throw expected("an integer from 0 to 2^53-1 or a BigInt from 0 to 2^64-1", "seed", seed);
}

function checkStop(stop: unknown): string[] {
  const list = stop === undefined ? [] : typeof stop === "string" ? [stop] : stop;
  if (!Array.isArray(list) || list.length > MAX_STOPS)
    throw expected(`a string or at most ${MAX_STOPS} strings`, "stop", stop);
  for (const one of list)
    if (typeof one !== "string" || one.length === 0 || one.length > MAX_STOP_LENGTH)
      throw expected(`a string of 1 to ${MAX_STOP_LENGTH} characters`, "stop", one);
  return list as string[];
}

function checkLogitBias(bias: unknown, vocabularySize: number): { ids: Int32Array; values: Float32Array } {
  if (bias === undefined) return { ids: new Int32Array(0), values: new Float32Array(0) };
  if (typeof bias !== "object" || bias === null || Array.isArray(bias))
    throw expected("an object of token ids and numbers", "logitBias", bias);
  const entries = Object.entries(bias as Record<string, unknown>);
  const ids = checkTokens(
    "logitBias",
    entries.map(([id]) => (/^\d+$/.test(id) ? Number(id) : id)),
    vocabularySize,
  );
  const values = Float32Array.from(entries, ([id, value]) =>
    checkNumber(`logitBias[${id}]`, value ?? NaN, { min: -1e9, max: 1e9, default: 0 }),
  );
  return { ids, values };
}

function checkLogprobs(logprobs: unknown): number {
  if (logprobs === undefined || logprobs === false) return -1;
  if (logprobs === true) return 0;
  return checkNumber("logprobs", logprobs, { min: 0, max: MAX_TOP_LOGPROBS, default: -1, integer: true });
}

function checkPromptLookup(lookup: unknown): number {
  if (typeof lookup === "boolean") return lookup ? DEFAULT_DRAFT_TOKENS : 0;
  return checkNumber("promptLookup", lookup, { min: 0, max: MAX_DRAFT_TOKENS, default: 0, integer: true });
}

export function checkGenerateOptions(
  options: GenerateOptions,
  vocabularySize: number,
): CheckedGenerateOptions {
  checkKnown("options", options, GENERATE_KEYS);
  const number = (
    name: keyof GenerateOptions,
    min: number,
    max: number,
    fallback: number,
    integer = false,
  ): number => checkNumber(name, options[name], { min, max, default: fallback, integer });
  const topP = number("topP", 0, 1, 1);
  if (topP === 0) throw expected("a number above 0, up to 1", "topP", topP);
  const bias = checkLogitBias(options.logitBias, vocabularySize);
  return {
    adapter: checkSelection(options.adapter),
    maxTokens: number("maxTokens", 1, 2 ** 31 - 1, 512, true),
    sampling: {
      temperature: number("temperature", 0, 100, 0),
      topK: number("topK", 0, 2 ** 31 - 1, 0, true),
      topP,
      minP: number("minP", 0, 1, 0),
      repetitionPenalty: number("repetitionPenalty", 0.01, 100, 1),
      presencePenalty: number("presencePenalty", -100, 100, 0),
      frequencyPenalty: number("frequencyPenalty", -100, 100, 0),
      logitBiasIds: bias.ids,
      logitBiasValues: bias.values,
      seed: checkSeed(options.seed),
    },
    stop: checkStop(options.stop),
    stopTokens:
      options.stopTokens === undefined
        ? new Int32Array(0)
        : checkTokens("stopTokens", options.stopTokens, vocabularySize),
    maxDraftTokens: checkPromptLookup(options.promptLookup),
    ignoreEndOfText: checkBoolean("ignoreEndOfText", options.ignoreEndOfText, false),
    topLogprobs: checkLogprobs(options.logprobs),
    addSpecialTokens: checkBoolean("addSpecialTokens", options.addSpecialTokens, true),
    parseSpecialTokens: checkBoolean("parseSpecialTokens", options.parseSpecialTokens, false),
    skipSpecialTokens: checkBoolean("skipSpecialTokens", options.skipSpecialTokens, true),
    serving: checkServing(options),
    signal: checkSignal(options.signal),
  };
}
