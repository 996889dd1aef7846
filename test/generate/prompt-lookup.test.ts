/** Prompt lookup: the same text as without, in fewer steps where the answer repeats what was there. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { loadModel, type GenerateOptions, type GenerationResult, type Model } from "#lib/index.js";
import { tinyModel } from "./tiny-models.js";

const repeating = { tokens: Array.from({ length: 60 }, (_, i) => 1 + (i % 6)) };
let model: Model;
beforeAll(async () => {
  model = await loadModel(tinyModel("llama"), { threads: 2 });
});
afterAll(() => model?.dispose());

const run = (options: GenerateOptions): Promise<GenerationResult> =>
  model.generate(repeating, { maxTokens: 100, seed: 3, logprobs: 2, ...options }).result();

describe.each([
  ["greedy", {}],
  ["drawn", { temperature: 0.8, topK: 20, repetitionPenalty: 1.05 }],
  ["with a scaled frequency penalty", { temperature: 0.3, frequencyPenalty: 0.1 }],
])("%s", (_, options) => {
  test.each([1, 3, true])(
    "promptLookup %s changes neither tokens nor log-probabilities",
    async (promptLookup) => {
      const plain = await run(options);
      const looked = await run({ ...options, promptLookup });
      expect([...looked.tokens]).toEqual([...plain.tokens]);
      expect(looked.logprobs).toEqual(plain.logprobs);
      expect(plain.usage).toMatchObject({ draftedTokens: 0, acceptedTokens: 0 });
      expect(looked.usage.completionTokens).toBe(plain.usage.completionTokens);
      expect(looked.usage.draftedTokens).toBeGreaterThan(0);
      expect(looked.usage.acceptedTokens).toBeLessThanOrEqual(looked.usage.draftedTokens);
    },
  );
});

test("drafts are tried, and right ones save steps", async () => {
  // A bias that all but forces one token: the answer repeats itself, and every draft of it is right.
  const generation = model.generate(repeating, {
    maxTokens: 100,
    logitBias: { 9: 1000 },
    promptLookup: true,
    ignoreEndOfText: true,
  });
  let parts = 0;
  for await (const part of generation) parts += part.tokens.length > 0 ? 1 : 0;
  const { usage, tokens } = await generation.result();
  expect([...tokens]).toEqual(Array.from({ length: 100 }, () => 9));
  expect(usage.acceptedTokens).toBeGreaterThan(60);
  expect(parts).toBeLessThan(60);
});
