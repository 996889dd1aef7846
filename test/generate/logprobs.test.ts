/** Log-probabilities of generated tokens against log-softmax of the model's own logits. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { loadModel, type Model, type TokenLogprob } from "#lib/index.js";
import { someTokens, tinyModel } from "./tiny-models.js";

const prompt = someTokens(12, 3);
const LENGTH = 12;
let model: Model;
beforeAll(async () => {
  model = await loadModel(tinyModel("qwen2"), { threads: 1 });
});
afterAll(() => model?.dispose());

interface Row {
  logprobs: number[];
  entropy: number;
  logsumexp: number;
  order: number[];
}

function describeRow(logits: Float32Array): Row {
  const peak = Math.max(...logits);
  const logsumexp = peak + Math.log(logits.reduce((sum, logit) => sum + Math.exp(logit - peak), 0));
  const logprobs = Array.from(logits, (logit) => logit - logsumexp);
  return {
    logprobs,
    entropy: -logprobs.reduce((sum, logprob) => sum + Math.exp(logprob) * logprob, 0),
    logsumexp,
    order: logprobs.map((_, id) => id).sort((a, b) => logits[b]! - logits[a]! || a - b),
  };
}

async function rowsOf(tokens: number[]): Promise<Row[]> {
  const { logits, vocabularySize } = await model.logits([...prompt, ...tokens], { from: prompt.length - 1 });
  return tokens.map((_, i) => describeRow(logits.subarray(i * vocabularySize, (i + 1) * vocabularySize)));
}

function check(entries: TokenLogprob[], tokens: number[], rows: Row[], top: number): void {
  expect(entries.map(({ id }) => id)).toEqual(tokens);
  entries.forEach((entry, i) => {
    const row = rows[i]!;
    expect(entry.logprob).toBeCloseTo(row.logprobs[entry.id]!, 4);
    expect(entry.logsumexp).toBeCloseTo(row.logsumexp, 4);
    expect(entry.entropy).toBeCloseTo(row.entropy, 4);
    expect(entry.top.map(({ id }) => id)).toEqual(row.order.slice(0, top));
    for (const { id, logprob } of entry.top) expect(logprob).toBeCloseTo(row.logprobs[id]!, 4);
  });
}

test.each([
  ["true", true, 0],
  ["0", 0, 0],
  ["1", 1, 1],
  ["5", 5, 5],
  ["100", 100, 100],
] as const)("logprobs: %s", async (_, logprobs, top) => {
  const generation = model.generate({ tokens: prompt }, { logprobs, maxTokens: LENGTH });
  const parts: TokenLogprob[] = [];
  for await (const part of generation) parts.push(...part.logprobs!);
  const result = await generation.result();
  const tokens = [...result.tokens];
  check(result.logprobs!, tokens, await rowsOf(tokens), top);
  expect(parts).toEqual(result.logprobs);
});

test("they are those of the model, before temperature, penalties and bias", async () => {
  const options = {
    logprobs: 3,
    maxTokens: LENGTH,
    temperature: 1.5,
    seed: 1,
    repetitionPenalty: 1.5,
    logitBias: { 7: 20 },
  };
  const result = await model.generate({ tokens: prompt }, options).result();
  const tokens = [...result.tokens];
  expect(tokens).toContain(7);
  check(result.logprobs!, tokens, await rowsOf(tokens), 3);
});

test("the token that ends the generation has none", async () => {
  const free = await model.generate({ tokens: prompt }, { maxTokens: LENGTH, logprobs: 1 }).result();
  const stop = free.tokens[4]!;
  const end = free.tokens.indexOf(stop);
  const result = await model.generate({ tokens: prompt }, { logprobs: 1, stopTokens: [stop] }).result();
  expect(result.finishReason).toBe("stop");
  expect([...result.tokens]).toEqual([...free.tokens.subarray(0, end)]);
  expect(result.logprobs).toEqual(free.logprobs!.slice(0, end));
});

test("without the option there are none", async () => {
  for (const logprobs of [undefined, false]) {
    const generation = model.generate({ tokens: prompt }, { maxTokens: 2, logprobs });
    for await (const part of generation) expect(part.logprobs).toBeUndefined();
    expect(await generation.result()).not.toHaveProperty("logprobs");
  }
});
