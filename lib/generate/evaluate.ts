import { ADAPTER } from "../adapters/index.js";
import { expected } from "../errors/index.js";
import { SERVED, type ServedRequest } from "../native/request-options.js";
import { checkOptions, integer, pick, type CheckedOf, type OptionsOf } from "../schema/index.js";
import { ENCODING } from "../tokenizer/text-options.js";
import { MAX_TOP_LOGPROBS } from "./options.js";
import type { TokenLogprob } from "./result.js";
import { SERVING, type ServingOptions } from "./serving.js";

const EVALUATED = {
  /** Adapters for this request, as of `generate`. Default: none, the base model alone. */
  adapter: ADAPTER,
};

const SCORED = {
  /** Report so many of the most likely tokens at each position. 0 … 100, default 0. */
  topLogprobs: integer({
    description: "Report so many of the most likely tokens at each position.",
    unit: "tokens",
    min: 0,
    max: MAX_TOP_LOGPROBS,
    default: 0,
  }),
};

export const SCORE: typeof EVALUATED & typeof SCORED & typeof ENCODING & typeof SERVING = {
  ...EVALUATED,
  ...SCORED,
  ...ENCODING,
  ...SERVING,
};

export interface ScoreOptions
  extends OptionsOf<typeof EVALUATED>, OptionsOf<typeof SCORED>, OptionsOf<typeof ENCODING>, ServingOptions {}

export interface ScoreResult {
  /** Sum of the completion's log-probabilities, natural logarithm. */
  logprob: number;
  /** exp(-logprob / tokens). */
  perplexity: number;
  /** One for each token of the completion. */
  tokens: TokenLogprob[];
  promptTokens: number;
}

interface LengthContext {
  /** Tokens. */
  readonly length: number;
}

const POSITIONS = {
  /** First position whose next-token logits are wanted. Default 0. */
  from: integer<LengthContext, number>({
    description: "First position whose next-token logits are wanted.",
    min: 0,
    max: ({ length }) => length - 1,
    default: 0,
  }),
  /** Position after the last one. Default: the number of tokens. */
  to: integer<LengthContext, number>({
    description: "Position after the last one.",
    min: 1,
    max: ({ length }) => length,
    default: { says: "the number of tokens", value: ({ length }) => length },
  }),
};

export const LOGITS: typeof EVALUATED & typeof POSITIONS & typeof SERVING = {
  ...EVALUATED,
  ...POSITIONS,
  ...SERVING,
};

export interface LogitsOptions
  extends OptionsOf<typeof EVALUATED>, OptionsOf<typeof POSITIONS>, ServingOptions {}

export interface LogitsResult {
  /** [positions, vocabularySize] float32: row i holds the logits of the token after position from + i. */
  logits: Float32Array;
  positions: number;
  vocabularySize: number;
}

export function checkScoreOptions(
  options: ScoreOptions,
): CheckedOf<typeof SCORE> & { serving: ServedRequest } {
  const checked = checkOptions(SCORE, options);
  return { ...checked, serving: pick(checked, SERVED) };
}

export function checkLogitsOptions(
  options: LogitsOptions,
  length: number,
): CheckedOf<typeof LOGITS> & { serving: ServedRequest } {
  const checked = checkOptions(LOGITS, options, { length });
  if (checked.to <= checked.from)
    throw expected(`an integer from ${checked.from + 1} to ${length}`, "to", checked.to);
  return { ...checked, serving: pick(checked, SERVED) };
}
