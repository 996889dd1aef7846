import type { EngineClient, Prompt } from "../client/index.js";
import { expected } from "../errors/index.js";
import { checkScoreOptions, type ScoreOptions, type ScoreResult } from "./evaluate.js";
import type { TokenLogprob } from "./result.js";
import { tokenLogprobs } from "./token-logprobs.js";

/** See `Model.score`. */
export async function score(
  client: EngineClient,
  prompt: Prompt,
  completion: Prompt,
  options: ScoreOptions,
): Promise<ScoreResult> {
  client.requireAlive();
  const { signal, serving, topLogprobs, ...checked } = checkScoreOptions(options);
  const { prompts } = client;
  const givenPrompt = prompts.check(prompt);
  const givenCompletion = prompts.check(completion, "completion");
  const request = client.textRequest(serving, signal);
  return client.leasing(checked.adapter, serving, signal, async (lease) => {
    const before = await prompts.tokens(givenPrompt, checked, request);
    const after = await prompts.tokens(givenCompletion, { ...checked, addSpecialTokens: false }, request);
    if (before.length === 0) throw expected("at least one token", "prompt", "");
    if (after.length === 0) throw expected("at least one token", "completion", "");
    const tokens = new Int32Array(before.length + after.length);
    tokens.set(before);
    tokens.set(after, before.length);
    const scored: TokenLogprob[] = [];
    await client.run(
      { kind: "score", tokens, from: before.length - 1, to: tokens.length - 1, topLogprobs, ...serving },
      lease,
      signal,
      (event) => scored.push(...tokenLogprobs(event, client.tokenizer, topLogprobs)),
      request.deadline,
    );
    const logprob = scored.reduce((sum, token) => sum + token.logprob, 0);
    const perplexity = Math.exp(-logprob / scored.length);
    return { logprob, perplexity, tokens: scored, promptTokens: before.length };
  });
}
