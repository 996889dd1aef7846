import { checkSelection, type AdapterSelection, type AdapterUse } from "../adapters/index.js";
import { checkBoolean, checkKnown, checkNumber, checkSignal } from "../errors/check.js";
import { MAX_TOP_LOGPROBS } from "./options.js";
import type { ServedRequest } from "../native/types.js";
import { checkServing, SERVING_KEYS, type ServingOptions } from "./serving.js";
import type { TokenLogprob } from "./result.js";

export interface ScoreOptions extends ServingOptions {
  /** As in GenerateOptions. */
  adapter?: AdapterSelection;
  /** Report so many of the most likely tokens at each position. 0 … 100, default 0. */
  topLogprobs?: number;
  /** Put the tokenizer's special tokens around the prompt. Default true. */
  addSpecialTokens?: boolean;
  /** Let control tokens be written in the texts. Default false. */
  parseSpecialTokens?: boolean;
}

export interface ScoreResult {
  /** Sum of the completion's log-probabilities, natural logarithm. */
  logprob: number;
  /** exp(-logprob / tokens). */
  perplexity: number;
  /** One for each token of the completion. */
  tokens: TokenLogprob[];
  promptTokens: number;
}

export interface LogitsOptions extends ServingOptions {
  adapter?: AdapterSelection;
  /** First position whose next-token logits are wanted. Default 0. */
  from?: number;
  /** Position after the last one. Default: the number of tokens. */
  to?: number;
}

export interface LogitsResult {
  /** [positions, vocabularySize] float32: row i holds the logits of the token after position from + i. */
  logits: Float32Array;
  positions: number;
  vocabularySize: number;
}

export function checkScoreOptions(options: ScoreOptions): {
  adapter: Required<AdapterUse>[];
  topLogprobs: number;
  addSpecialTokens: boolean;
  parseSpecialTokens: boolean;
  serving: ServedRequest;
  signal: AbortSignal | undefined;
} {
  checkKnown("options", options, [
    "adapter",
    "topLogprobs",
    "addSpecialTokens",
    "parseSpecialTokens",
    ...SERVING_KEYS,
  ]);
  return {
    adapter: checkSelection(options.adapter),
    topLogprobs: checkNumber("topLogprobs", options.topLogprobs, {
      min: 0,
      max: MAX_TOP_LOGPROBS,
      default: 0,
      integer: true,
    }),
    addSpecialTokens: checkBoolean("addSpecialTokens", options.addSpecialTokens, true),
    parseSpecialTokens: checkBoolean("parseSpecialTokens", options.parseSpecialTokens, false),
    serving: checkServing(options),
    signal: checkSignal(options.signal),
  };
}

export function checkLogitsOptions(
  options: LogitsOptions,
  length: number,
): {
  adapter: Required<AdapterUse>[];
  from: number;
  to: number;
  serving: ServedRequest;
  signal: AbortSignal | undefined;
} {
  checkKnown("options", options, ["adapter", "from", "to", ...SERVING_KEYS]);
  const from = checkNumber("from", options.from, { min: 0, max: length - 1, default: 0, integer: true });
  return {
    adapter: checkSelection(options.adapter),
    from,
    to: checkNumber("to", options.to, { min: from + 1, max: length, default: length, integer: true }),
    serving: checkServing(options),
    signal: checkSignal(options.signal),
  };
}
