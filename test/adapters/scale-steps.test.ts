/** Scales that change between the tokens of one text. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { loadModel, type Model, type ScaleStep } from "#lib/index.js";
import { failureOf, sameBits, someTokens, tinyAdapter, tinyModel } from "../generate/tiny-models.js";

let model: Model;
const tokens = someTokens(90, 1);
const vocabulary = (): number => model.facts.vocabularySize;
const steps = (...pairs: [number, number][]): ScaleStep[] =>
  pairs.map(([fromToken, scale]) => ({ fromToken, scale }));
const logits = async (text: number[], adapter?: object): Promise<Float32Array> =>
  (await model.logits(text, { adapter: adapter as never })).logits;

beforeAll(async () => {
  model = await loadModel(tinyModel("llama"), { threads: 1 });
  for (const name of ["plain", "dora", "activated"]) await model.adapters.load(name, tinyAdapter(name));
});
afterAll(() => model?.dispose());

describe("bad steps", () => {
  test.each([
    [[]],
    [steps([1, 1])],
    [steps([0, 1], [0, 2])],
    [steps([0, 1], [5, 2], [4, 1])],
    [steps([0, 1], [1.5, 2])],
    [steps([0, 1000])],
    [[{ fromToken: 0 }]],
    [[{ scale: 1 }]],
    [[{ fromToken: 0, scale: 1, to: 3 }]],
    [[null]],
    [Array.from({ length: 65 }, (_, i) => ({ fromToken: i, scale: 1 }))],
  ])("%j", async (scale) => {
    const adapter = { name: "plain", scale: scale as ScaleStep[] };
    const failure = await failureOf(() => model.generate({ tokens }, { adapter }));
    expect(failure.code).toBe("ERR_INVALID_ARGUMENT");
  });
});

describe("logits", () => {
  test.each(["plain", "dora"])("of %s: one step is that scale, and equal steps are one", async (name) => {
    const constant = await logits(tokens, { name, scale: 0.5 });
    expect(sameBits(await logits(tokens, { name, scale: steps([0, 0.5]) }), constant)).toBe(true);
    const split = await logits(tokens, { name, scale: steps([0, 0.5], [37, 0.5], [64, 0.5]) });
    expect(sameBits(split, constant)).toBe(true);
  });

  test.each([1, 31, 32, 50])(
    "up to step %i are those of the first scale, those behind are others",
    async (from) => {
      const first = await logits(tokens, { name: "plain", scale: 1 });
      const changed = await logits(tokens, { name: "plain", scale: steps([0, 1], [from, -1]) });
      const at = from * vocabulary();
      expect(sameBits(changed.subarray(0, at), first.subarray(0, at))).toBe(true);
      expect(sameBits(changed.subarray(at, at + vocabulary()), first.subarray(at, at + vocabulary()))).toBe(
        false,
      );
    },
  );

  test("of an adapter that is switched on are those of an activated one that wakes there", async () => {
    const wakes = model.adapters.get("activated").invocationTokens!;
    const config = JSON.parse(
      await readFile(join(tinyAdapter("activated"), "adapter_config.json"), "utf8"),
    ) as Record<string, unknown>;
    delete config.alora_invocation_tokens;
    const weights = await readFile(join(tinyAdapter("activated"), "adapter_model.safetensors"));
    await model.adapters.load("the same, always on", { config, weights: new Uint8Array(weights) });
    const text = [...someTokens(41, 5), ...wakes, ...someTokens(30, 6)];
    const switched = await logits(text, { name: "the same, always on", scale: steps([0, 0], [41, 1]) });
    expect(sameBits(switched, await logits(text, { name: "activated" }))).toBe(true);
    expect(sameBits(switched, await logits(text))).toBe(false);
  });
});

describe("answers", () => {
  const generate = async (adapter: object, maxTokens: number): Promise<number[]> => [
    ...(
      await model
        .generate({ tokens }, { adapter: adapter as never, maxTokens, ignoreEndOfText: true })
        .result()
    ).tokens,
  ];

  test("steps count the answer's tokens: those before the step are drawn with the scale before", async () => {
    const first = await generate({ name: "plain", scale: 4 }, 30);
    const changed = await generate({ name: "plain", scale: steps([0, 4], [10, -4]) }, 30);
    expect(changed.slice(0, 10)).toEqual(first.slice(0, 10));
    // The row that draws token 10 is the one of position 90 + 10 - 1.
    const text = [...tokens, ...changed];
    const rows = await logits(text, { name: "plain", scale: steps([0, 4], [99, -4]) });
    changed.forEach((token, i) => {
      const row = rows.subarray((89 + i) * vocabulary(), (90 + i) * vocabulary());
      expect(row.indexOf(Math.max(...row))).toBe(token);
    });
  });

  test("score counts the completion's tokens", async () => {
    const completion = someTokens(20, 9);
    const adapter = { name: "plain", scale: steps([0, 4], [10, -4]) };
    const { tokens: scored } = await model.score({ tokens }, { tokens: completion }, { adapter });
    const rows = await logits([...tokens, ...completion], { name: "plain", scale: steps([0, 4], [99, -4]) });
    scored.forEach(({ id, logprob, logsumexp }, i) =>
      expect(logprob).toBeCloseTo(rows[(89 + i) * vocabulary() + id]! - logsumexp, 5),
    );
  });
});
