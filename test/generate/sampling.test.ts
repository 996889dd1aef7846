/** The native sampler against a plain model of it, over the engine's own logits. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { loadModel, type Model } from "#lib/index.js";
import { adjustedLogits, modelledToken, philox4x32, type ModelledOptions } from "./sampler-model.js";
import { someTokens, tinyModel } from "./tiny-models.js";

const prompt = someTokens(20, 1);
const LENGTH = 48;
let model: Model;
beforeAll(async () => {
  model = await loadModel(tinyModel("llama"), { threads: 1, maxQueue: 10_000 });
});
afterAll(() => model?.dispose());

async function generated(options: ModelledOptions, seed: number | bigint = 7): Promise<number[]> {
  const result = await model.generate({ tokens: prompt }, { ...options, seed, maxTokens: LENGTH }).result();
  expect(result.finishReason).toBe("length");
  return [...result.tokens];
}

/** The logits before each generated token, from one evaluation of the whole text. */
async function logitsBefore(tokens: readonly number[]): Promise<Float32Array[]> {
  const { logits, vocabularySize } = await model.logits([...prompt, ...tokens], {
    from: prompt.length - 1,
    to: prompt.length - 1 + tokens.length,
  });
  return tokens.map((_, i) => logits.subarray(i * vocabularySize, (i + 1) * vocabularySize));
}

test("the model's Philox gives the vectors of the Random123 distribution (kat_vectors)", () => {
  const hex = (words: bigint[]): string => words.map((word) => word.toString(16).padStart(8, "0")).join(" ");
  const ones = 0xffffffffn;
  expect(hex(philox4x32([0n, 0n, 0n, 0n], [0n, 0n]))).toBe("6627e8d5 e169c58d bc57ac4c 9b00dbd8");
  expect(hex(philox4x32([ones, ones, ones, ones], [ones, ones]))).toBe("408f276d 41c83b0e a20bc7c6 6d5451fd");
  const pi = [0x243f6a88n, 0x85a308d3n, 0x13198a2en, 0x03707344n];
  expect(hex(philox4x32(pi, [0xa4093822n, 0x299f31d0n]))).toBe("d16cfe09 94fdcceb 5001e420 24126ea1");
});

describe("every token is the one that the description of the options gives", () => {
  const cases: [string, ModelledOptions][] = [
    ["greedy", {}],
    ["temperature 1", { temperature: 1 }],
    ["temperature 0.3", { temperature: 0.3 }],
    ["temperature 100", { temperature: 100 }],
    ["temperature 1e-30", { temperature: 1e-30 }],
    ["top-k 1", { temperature: 1, topK: 1 }],
    ["top-k 5", { temperature: 1.5, topK: 5 }],
    ["top-k above the vocabulary", { temperature: 1, topK: 100_000 }],
    ["top-p 0.5", { temperature: 1, topP: 0.5 }],
    ["top-p 0.9", { temperature: 2, topP: 0.9 }],
    ["top-p 1e-9 keeps the likeliest", { temperature: 1, topP: 1e-9 }],
    ["min-p 0.2", { temperature: 1, minP: 0.2 }],
    ["min-p 1 keeps the likeliest", { temperature: 1, minP: 1 }],
    ["all three", { temperature: 1.7, topK: 40, topP: 0.8, minP: 0.05 }],
    ["repetition penalty", { repetitionPenalty: 1.8 }],
    ["repetition reward", { repetitionPenalty: 0.5 }],
    ["presence penalty", { presencePenalty: 4 }],
    ["frequency penalty", { frequencyPenalty: 1.5, temperature: 0.5 }],
    ["negative frequency penalty", { frequencyPenalty: -2 }],
    ["bias", { logitBias: { 3: 5, 200: -100, 17: 2.5 }, temperature: 1 }],
    [
      "everything",
      {
        temperature: 0.9,
        topK: 60,
        topP: 0.95,
        minP: 0.01,
        repetitionPenalty: 1.2,
        presencePenalty: 0.5,
        frequencyPenalty: 0.25,
        logitBias: { 5: 3 },
      },
    ],
  ];
  test.each(cases)("%s", async (_, options) => {
    const tokens = await generated(options, 1234567890123);
    const rows = await logitsBefore(tokens);
    const expected = tokens.map((_, i) =>
      modelledToken(
        adjustedLogits(rows[i]!, options, prompt, tokens.slice(0, i)),
        options,
        1234567890123n,
        prompt.length + i,
      ),
    );
    expect(tokens).toEqual(expected);
  });

  test("the options of the cases matter: each gives another text than plain sampling or plain greedy", async () => {
    const greedy = (await generated({})).join();
    const sampled = (await generated({ temperature: 1 }, 1234567890123)).join();
    for (const [name, options] of cases) {
      const same = (await generated(options, 1234567890123)).join();
      const isGreedy =
        ["greedy", "temperature 1e-30", "top-k 1"].includes(name) || name.includes("likeliest");
      if (isGreedy) expect(same, name).toBe(greedy);
      else if (!["temperature 1", "top-k above the vocabulary"].includes(name))
        expect([greedy, sampled], name).not.toContain(same);
    }
  });
});

describe("seeds", () => {
  test("the same seed gives the same tokens, another seed others", async () => {
    const first = await generated({ temperature: 1 }, 99);
    expect(await generated({ temperature: 1 }, 99)).toEqual(first);
    expect(await generated({ temperature: 1 }, 99n)).toEqual(first);
    expect(await generated({ temperature: 1 }, 100)).not.toEqual(first);
  });

  test("all 64 bits of the seed count", async () => {
    const texts = [0n, 1n, 1n << 32n, 1n << 63n, (1n << 64n) - 1n].map(async (seed) =>
      (await generated({ temperature: 1 }, seed)).join(),
    );
    expect(new Set(await Promise.all(texts)).size).toBe(5);
  });

  test("without a seed each request has its own, which the result tells", async () => {
    const options = { temperature: 1, maxTokens: 16 };
    const first = await model.generate({ tokens: prompt }, options).result();
    const second = await model.generate({ tokens: prompt }, options).result();
    expect(first.seed).not.toBe(second.seed);
    const again = await model.generate({ tokens: prompt }, { ...options, seed: first.seed }).result();
    expect([...again.tokens]).toEqual([...first.tokens]);
  });

  test("a draw depends on the position alone: a text goes on as it would have", async () => {
    const whole = await generated({ temperature: 1 }, 5);
    const head = whole.slice(0, 20);
    const tail = await model
      .generate({ tokens: [...prompt, ...head] }, { temperature: 1, seed: 5, maxTokens: LENGTH - 20 })
      .result();
    expect([...tail.tokens]).toEqual(whole.slice(20));
  });

  test("draws over many seeds follow the distribution (chi-square)", async () => {
    const draws = 1500;
    const results = await Promise.all(
      Array.from({ length: draws }, (_, seed) =>
        model.generate({ tokens: prompt }, { temperature: 1, seed, maxTokens: 1 }).result(),
      ),
    );
    const counts = new Map<number, number>();
    for (const { tokens } of results) counts.set(tokens[0]!, (counts.get(tokens[0]!) ?? 0) + 1);
    const { logits } = await model.logits(prompt, { from: prompt.length - 1 });
    const weights = Array.from(logits, (logit) => Math.exp(logit));
    const total = weights.reduce((sum, weight) => sum + weight, 0);
    // Tokens that are expected at least five times, and the rest as one class.
    let statistic = 0;
    let classes = 1;
    let restExpected = draws;
    let restCount = draws;
    weights.forEach((weight, id) => {
      const wanted = (draws * weight) / total;
      if (wanted < 5) return;
      const seen = counts.get(id) ?? 0;
      statistic += (seen - wanted) ** 2 / wanted;
      classes++;
      restExpected -= wanted;
      restCount -= seen;
    });
    statistic += (restCount - restExpected) ** 2 / restExpected;
    expect(classes).toBeGreaterThan(5);
    // Mean and deviation of chi-square with `classes - 1` degrees of freedom; the seeds are fixed, so is the outcome.
    const freedom = classes - 1;
    expect(statistic).toBeLessThan(freedom + 4 * Math.sqrt(2 * freedom));
  });
});
