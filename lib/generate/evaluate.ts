import type { AdapterSelection } from "../adapters/index.js";
import { checkBoolean, checkKnown, checkNumber, checkSignal } from "../errors/check.js";
import { checkTopLogprobs } from "./options.js";
import type { TokenLogprob } from "./result.js";

export interface ScoreOptions {
  /** As in GenerateOptions. */
  adapter?: AdapterSelection;
  /** Report so many of the most likely tokens at each position. 0 … 100, default 0. */
  topLogprobs?: number;
  /** Put the tokenizer's special tokens around the prompt. Default true. */
  addSpecialTokens?: boolean;
  /** Let control tokens be written in the texts. Default false. */
  parseSpecialTokens?: boolean;
  signal?: AbortSignal;
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

export interface LogitsOptions {
  adapter?: AdapterSelection;
  /** First position whose next-token logits are wanted. Default 0. */
  from?: number;
  /** Position after the last one. Default: the number of tokens. */
  to?: number;
  signal?: AbortSignal;
}

export interface LogitsResult {
  /** [positions, vocabularySize] float32: row i holds the logits of the token after position from + i. */
  logits: Float32Array;
  positions: number;
  vocabularySize: number;
}

export function checkScoreOptions(options: ScoreOptions): {
  adapter: AdapterSelection | undefined;
  topLogprobs: number;
  addSpecialTokens: boolean;
  parseSpecialTokens: boolean;
  signal: AbortSignal | undefined;
} {
  checkKnown("options", options, [
    "adapter",
    "topLogprobs",
    "addSpecialTokens",
    "parseSpecialTokens",
    "signal",
  ]);
  return {
    adapter: options.adapter,
    topLogprobs: Math.max(0, checkTopLogprobs(options.topLogprobs)),
    addSpecialTokens: checkBoolean("addSpecialTokens", options.addSpecialTokens, true),
    parseSpecialTokens: checkBoolean("parseSpecialTokens", options.parseSpecialTokens, false),
    signal: checkSignal(options.signal),
  };
}

export function checkLogitsOptions(
  options: LogitsOptions,
  length: number,
): { adapter: AdapterSelection | undefined; from: number; to: number; signal: AbortSignal | undefined } {
  checkKnown("options", options, ["adapter", "from", "to", "signal"]);
  const from = checkNumber("from", options.from, { min: 0, max: length - 1, default: 0, integer: true });
  return {
    adapter: options.adapter,
    from,
    to: checkNumber("to", options.to, { min: from + 1, max: length, default: length, integer: true }),
    signal: checkSignal(options.signal),
  };
}
