import type { EngineClient } from "../client/index.js";
import { deadlineIn } from "../errors/deadline.js";
import { expected } from "../errors/index.js";
import { checkLogitsOptions, type LogitsOptions, type LogitsResult } from "./evaluate.js";

/** Most float32 values that one call may return: 1 GiB. */
const MAX_LOGITS = 2 ** 28;

/** See `Model.logits`. */
export async function logits(
  client: EngineClient,
  tokens: ArrayLike<number>,
  options: LogitsOptions,
): Promise<LogitsResult> {
  client.requireAlive();
  const ids = client.prompts.checkTokens("tokens", tokens);
  if (ids.length === 0) throw expected("at least one token", "tokens", tokens);
  const { adapter, from, to, serving, signal } = checkLogitsOptions(options, ids.length);
  const deadline = deadlineIn(serving.timeoutMs);
  const { vocabularySize } = client.facts;
  if ((to - from) * vocabularySize > MAX_LOGITS)
    throw expected(
      `at most ${Math.floor(MAX_LOGITS / vocabularySize)} positions`,
      "to - from",
      to - from,
      "Ask in several calls.",
    );
  return client.leasing(adapter, serving, signal, async (lease) => {
    const values = new Float32Array((to - from) * vocabularySize);
    let filled = 0;
    await client.run(
      { kind: "logits", tokens: ids, from, to, topLogprobs: -1, ...serving },
      lease,
      signal,
      (event) => {
        if (!event.logits) return;
        values.set(event.logits, filled);
        filled += event.logits.length;
      },
      deadline,
    );
    return { logits: values, positions: to - from, vocabularySize };
  });
}
