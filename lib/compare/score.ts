import type { LeasedAdapters } from "../adapters/index.js";
import type { EngineClient } from "../client/index.js";
import { inTurns } from "./in-turns.js";
import type { CheckedCompareOptions } from "./options.js";
import type { ComparedToken } from "./result.js";
import type { Text } from "./texts.js";

/** An open comparison of the engine: room for the logits of all variants at `rows` positions. */
export interface LogitRoom {
  id: number;
  rows: number;
}

/**
 * Measures every token of a completion under all variants, which are computed at once, `room.rows` positions at a time: what comes before
 * is in the prefix cache then. An activated adapter looks for its invocation tokens in the prompt.
 */
export async function scoreText(
  client: EngineClient,
  text: Text,
  variants: readonly LeasedAdapters[],
  room: LogitRoom,
  options: CheckedCompareOptions,
  onTokens: (count: number) => void,
): Promise<ComparedToken[]> {
  const { prompt, completion } = text;
  const whole = new Int32Array(prompt.length + completion.length);
  whole.set(prompt);
  whole.set(completion, prompt.length);
  const applied = variants.map((variant) => variant.applied(prompt, prompt.length));
  const textOf = (id: number): string => client.tokenizer?.decode([id], { skipSpecialTokens: false }) ?? "";

  const scored: ComparedToken[] = [];
  for (let begin = 0; begin < completion.length; begin += room.rows) {
    const tokens = completion.slice(begin, begin + room.rows);
    // The distribution of a token stands at the position before it.
    const from = prompt.length - 1 + begin;
    const to = from + tokens.length;
    await inTurns(variants.length, variants.length, options.signal, (variant, signal) =>
      client.run(
        {
          kind: "logits",
          tokens: whole.slice(0, to),
          from,
          to,
          topLogprobs: -1,
          comparison: room.id,
          variant,
          ...options.serving,
        },
        { ...variants[variant]!, applied: () => applied[variant]! },
        signal,
        () => {},
      ),
    );
    const { divergences, logprobs, mostLikely } = await client.logitRooms.compareLogits({
      comparison: room.id,
      reference: options.reference,
      tokens,
    });
    for (const [row, id] of tokens.entries())
      scored.push({
        id,
        text: textOf(id),
        position: prompt.length + begin + row,
        perVariant: variants.map((_, variant) => {
          const at = variant * tokens.length + row;
          const top1 = mostLikely[at]!;
          return { logprob: logprobs[at]!, kl: divergences[at]!, top1, top1Text: textOf(top1) };
        }),
      });
    onTokens(tokens.length);
  }
  return scored;
}
