import type { NativeEvent } from "../native/types.js";
import type { Tokenizer } from "../tokenizer/index.js";
import type { TokenLogprob } from "./result.js";

/** The log-probabilities of an event's tokens, with their texts. */
export function tokenLogprobs(
  event: NativeEvent,
  tokenizer: Tokenizer | null,
  topCount: number,
): TokenLogprob[] {
  const textOf = (id: number): string =>
    tokenizer && id >= 0 ? tokenizer.decode([id], { skipSpecialTokens: false }) : "";
  const count = event.logprobs?.length ?? 0;
  const width = Math.max(topCount, 0);
  return Array.from({ length: count }, (_, i) => ({
    id: event.tokens![i]!,
    token: textOf(event.tokens![i]!),
    logprob: event.logprobs![i]!,
    entropy: event.entropies![i]!,
    logsumexp: event.logsumexps![i]!,
    top: Array.from({ length: width }, (_, j) => {
      const id = event.topIds![i * width + j]!;
      return { id, token: textOf(id), logprob: event.topLogprobs![i * width + j]! };
    }),
  }));
}
