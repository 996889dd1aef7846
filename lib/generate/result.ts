/** Log-probabilities are natural logarithms of the model's own distribution, before temperature, penalties and bias. */
export interface TokenLogprob {
  id: number;
  /** The token's text alone; a part of a character reads as U+FFFD. */
  token: string;
  logprob: number;
  /** Entropy of the position's distribution, in nats. */
  entropy: number;
  /** log(sum(exp(logits))) at this position. */
  logsumexp: number;
  /** The most likely tokens of this position, likeliest first, as many as were asked for. */
  top: { id: number; token: string; logprob: number }[];
}

/** What a step added to an answer. */
export interface GenerationPart {
  /** Text that is now certain; may be empty while a character or a stop text is not complete. */
  text: string;
  /** Token ids that the step generated. */
  tokens: number[];
  /** Present where `logprobs` was asked for; one for each token. */
  logprobs?: TokenLogprob[];
}

export interface Usage {
  promptTokens: number;
  /** Tokens that were generated up to the end of the answer, the one that ended it included. */
  completionTokens: number;
  /** Tokens that prompt lookup tried, and those of them that were right. */
  draftedTokens: number;
  acceptedTokens: number;
  /** Prompt tokens that the prefix cache had. */
  cachedTokens: number;
}

/** In milliseconds. */
export interface GenerationTimings {
  /** Waiting for other requests. */
  queuedMs: number;
  /** From the start of the prompt's computation to the first token. */
  prefillMs: number;
  /** From the first token to the last. */
  decodeMs: number;
  /** Prompt tokens a second. */
  prefillTokensPerSecond: number;
  /** Tokens a second after the first. */
  decodeTokensPerSecond: number;
}

/**
 * Why a generation ended: `stop` at an end token, stop text or stop token; `length` at maxTokens or where the context is full;
 * `aborted` by the signal, by leaving the loop, or because the model was disposed.
 */
export type FinishReason = "stop" | "length" | "aborted";

export interface GenerationResult {
  /**
   * The answer. Where the generation was cut within a character (finishReason "length" or "aborted"), the character's first bytes are
   * left out; their tokens are in `tokens`.
   */
  text: string;
  /** Generated token ids, without the one that ended the generation. */
  tokens: Int32Array;
  finishReason: FinishReason;
  usage: Usage;
  timings: GenerationTimings;
  /** The seed that was used. */
  seed: bigint;
  logprobs?: TokenLogprob[];
}
