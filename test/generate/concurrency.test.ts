/** A request's result is the same, bit for bit, alone or in any mix, whatever the threads and the chunks of its prefill. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { loadModel, type GenerateOptions, type GenerationResult, type Model } from "#lib/index.js";
import { sameBits, someTokens, tinyAdapter, tinyModel, untilIdle } from "./tiny-models.js";

interface Wanted {
  tokens: number[];
  options: GenerateOptions;
}

/** Requests that differ in everything: lengths, adapters, sampling. Some prompts are longer than a step has rows. */
const wanted: Wanted[] = Array.from({ length: 24 }, (_, i) => ({
  tokens: someTokens([3, 40, 1, 130, 600][i % 5]! + i, i),
  options: {
    maxTokens: 4 + (i % 7) * 5,
    logprobs: i % 3 === 0 ? 2 : undefined,
    temperature: i % 2,
    seed: i,
    topP: i % 4 === 3 ? 0.9 : 1,
    repetitionPenalty: i % 6 === 5 ? 1.3 : 1,
    adapter: [undefined, "plain", { name: "plain", scale: 0.5 }, ["plain", "rslora"], "dora"][i % 5],
  },
}));

/** What the mix must not change: all but the time that it took, and what the prefix cache had. */
const shape = ({ tokens, finishReason, logprobs, usage }: GenerationResult): unknown => ({
  tokens: [...tokens],
  finishReason,
  logprobs,
  usage: { ...usage, cachedTokens: 0 },
});

async function withAdapters(model: Model): Promise<Model> {
  for (const name of ["plain", "rslora", "dora"]) await model.adapters.load(name, tinyAdapter(name));
  return model;
}

describe("several generations at once equal those alone", () => {
  let model: Model;
  const alone: unknown[] = [];
  beforeAll(async () => {
    model = await withAdapters(await loadModel(tinyModel("llama"), { threads: 1, maxSequences: 5 }));
    for (const { tokens, options } of wanted)
      alone.push(shape(await model.generate({ tokens }, options).result()));
  });
  afterAll(() => model?.dispose());

  const together = (target: Model, order: Wanted[]): Promise<unknown[]> =>
    Promise.all(
      order.map(async ({ tokens, options }) => shape(await target.generate({ tokens }, options).result())),
    );

  test("more requests than sequences", async () => {
    const running = together(model, wanted);
    expect(await running).toEqual(alone);
    await untilIdle(model);
  });

  test("in another order, as streams and with evaluations between them", async () => {
    const evaluation = model.logits(wanted[4]!.tokens);
    const backwards = [...wanted].reverse();
    const streams = backwards.map(async ({ tokens, options }) => {
      const generation = model.generate({ tokens }, options);
      const seen: number[] = [];
      for await (const part of generation) seen.push(...part.tokens);
      const result = await generation.result();
      expect(seen).toEqual([...result.tokens]);
      return shape(result);
    });
    const scores = model.score({ tokens: wanted[3]!.tokens }, { tokens: wanted[1]!.tokens });
    expect((await Promise.all(streams)).reverse()).toEqual(alone);
    const { logits } = await model.logits(wanted[4]!.tokens);
    expect(sameBits((await evaluation).logits, logits)).toBe(true);
    expect(await scores).toEqual(
      await model.score({ tokens: wanted[3]!.tokens }, { tokens: wanted[1]!.tokens }),
    );
  });

  test.each([
    { threads: 1, maxSequences: 1 },
    { threads: 2, maxSequences: 24 },
    { threads: 3, maxSequences: 3 },
  ])("on another engine with $threads threads and $maxSequences sequences", async (options) => {
    await using other = await withAdapters(await loadModel(tinyModel("llama"), options));
    const some = wanted.slice(0, 10);
    expect(await together(other, some)).toEqual(alone.slice(0, 10));
  });
});

describe("chunked prefill", () => {
  const tokens = someTokens(700, 77);
  let model: Model;
  beforeAll(async () => {
    model = await loadModel(tinyModel("llama"), { threads: 1 });
  });
  afterAll(() => model?.dispose());

  test("logits of a prompt of two steps equal those of its parts and of smaller steps", async () => {
    const { logits: whole, vocabularySize } = await model.logits(tokens);
    for (const length of [100, 512, 513, 699]) {
      const { logits } = await model.logits(tokens.slice(0, length));
      expect(sameBits(logits, whole.subarray(0, length * vocabularySize))).toBe(true);
    }
    // Beside decodes, a step has fewer rows for the prompt.
    const beside = Array.from({ length: 6 }, (_, i) =>
      model.generate({ tokens: [i + 1] }, { maxTokens: 40, seed: i }).result(),
    );
    expect(sameBits((await model.logits(tokens)).logits, whole)).toBe(true);
    await Promise.all(beside);
  });

  test("a generation goes on from such a prompt as its logits say", async () => {
    const { tokens: generated } = await model.generate({ tokens }, { maxTokens: 8 }).result();
    const { logits, vocabularySize } = await model.logits([...tokens, ...generated], {
      from: tokens.length - 1,
    });
    generated.forEach((token, i) => {
      const row = logits.subarray(i * vocabularySize, (i + 1) * vocabularySize);
      expect(row.indexOf(Math.max(...row))).toBe(token);
    });
  });
});
