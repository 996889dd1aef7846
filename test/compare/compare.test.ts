/** model.compare against the plain float64 computation from model.logits, and what it refuses. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  loadModel,
  type AdapterSelection,
  type CompareOptions,
  type ComparePrompt,
  type CompareProgress,
  type CompareVariant,
  type Comparison,
  type Model,
} from "#lib/index.js";
import { pairAdapter } from "../adapters/forcing-adapter.js";
import { failureOf, someTokens, tinyAdapter, tinyModel, untilIdle } from "../generate/tiny-models.js";

const CONTEXT = 200;
let model: Model;
beforeAll(async () => {
  model = await loadModel(tinyModel("llama"), { threads: 1, contextLength: CONTEXT, maxSequences: 3 });
  await model.adapters.load("pair", pairAdapter(model.facts, 4, 3));
  await model.adapters.load("plain", tinyAdapter("plain"));
  await model.adapters.load("activated", tinyAdapter("activated"));
});
afterAll(() => model?.dispose());

const text = (length: number, completion: number, seed: number): ComparePrompt => ({
  prompt: { tokens: someTokens(length, seed) },
  completion: { tokens: someTokens(completion, seed + 100) },
});
const tokensOf = (prompt: ComparePrompt): { prompt: number[]; completion: number[] } => {
  const given = prompt as { prompt: { tokens: number[] }; completion: { tokens: number[] } };
  return { prompt: given.prompt.tokens, completion: given.completion.tokens };
};

function logSoftmax(row: Float32Array): Float64Array {
  const peak = Math.max(...row);
  const sum = row.reduce((total, logit) => total + Math.exp(logit - peak), 0);
  return Float64Array.from(row, (logit) => logit - peak - Math.log(sum));
}

/** Log-probabilities of all positions of the completion, [positions][vocabulary]. */
async function distributions(prompt: number[], completion: number[], adapter?: AdapterSelection) {
  const { logits, vocabularySize } = await model.logits([...prompt, ...completion], {
    adapter,
    from: prompt.length - 1,
    to: prompt.length + completion.length - 1,
  });
  return completion.map((_, i) => logSoftmax(logits.subarray(i * vocabularySize, (i + 1) * vocabularySize)));
}

async function expectByDefinition(
  found: Comparison,
  prompts: readonly { prompt: number[]; completion: number[] }[],
  adapters: (AdapterSelection | undefined)[],
): Promise<void> {
  for (const [i, { prompt, completion }] of prompts.entries()) {
    const rows = await Promise.all(adapters.map((adapter) => distributions(prompt, completion, adapter)));
    expect(found.prompts[i]!.tokens.map(({ id }) => id)).toEqual(completion);
    for (const [at, token] of found.prompts[i]!.tokens.entries()) {
      expect(token.position).toBe(prompt.length + at);
      for (const [variant, measure] of token.perVariant.entries()) {
        const [p, q] = [rows[found.reference]![at]!, rows[variant]![at]!];
        const kl = p.reduce((sum, value, id) => sum + Math.exp(value) * (value - q[id]!), 0);
        expect(Math.abs(measure.kl - kl)).toBeLessThan(1e-11 * kl + 1e-12);
        expect(Math.abs(measure.logprob - q[token.id]!)).toBeLessThan(1e-12);
        expect(measure.top1).toBe(q.indexOf(Math.max(...q)));
      }
    }
  }
}

describe("measures", () => {
  const prompts = [text(20, 30, 1), text(1, 1, 2), text(90, 70, 3)];
  const variants: CompareVariant[] = [
    null,
    "pair",
    { name: "pair", scale: -0.5 },
    { label: "both", adapter: ["pair", { name: "plain", scale: 2 }] },
  ];
  const adapters = [undefined, "pair", { name: "pair", scale: -0.5 }, ["pair", { name: "plain", scale: 2 }]];

  test.each([0, 3])("are those of the definition, reference %i", async (reference) => {
    const found = await model.compare(prompts, variants, { reference });
    expect(found.variants.map(({ label }) => label)).toEqual(["base", "pair", "pair × -0.5", "both"]);
    expect(found.variants[3]!.adapters).toMatchObject([
      { name: "pair", scale: 1, generation: 1, contentHash: model.adapters.get("pair").contentHash },
      { name: "plain", scale: 2, generation: 1, contentHash: model.adapters.get("plain").contentHash },
    ]);
    await expectByDefinition(found, prompts.map(tokensOf), adapters);
    expect(found.summary[1]!.meanKl.value).toBeGreaterThan(1e-4);
  });

  test("pieces of any size, other requests beside and a second run change no bit", async () => {
    const whole = await model.compare(prompts, variants);
    const row = 4 * variants.length * model.facts.vocabularySize;
    const noise = model.generate({ tokens: [1] }, { maxTokens: 150, ignoreEndOfText: true });
    for (const rows of [1, 7, 64]) {
      const held: number[] = [];
      const progress: CompareProgress[] = [];
      const pieces = await model.compare(prompts, variants, {
        logitMemory: rows * row + row - 1,
        onProgress: (step) => {
          progress.push(step);
          held.push(model.memory().comparisonBytes);
        },
      });
      expect(pieces.toJSON()).toEqual(whole.toJSON());
      expect(Math.max(...held)).toBe(rows * row);
      expect(model.memory().comparisonBytes).toBe(0);
      expect(progress.at(-1)).toEqual({ stage: "score", done: 101, total: 101 });
      expect(progress).toHaveLength(Math.ceil(30 / rows) + 1 + Math.ceil(70 / rows));
    }
    noise.abort();
    expect(JSON.parse(JSON.stringify(whole))).toEqual(whole.toJSON());
  });

  test("a variant against itself, or at scale 0 against the base, differs by exactly nothing", async () => {
    const found = await model.compare(prompts, ["pair", "pair", { name: "pair", scale: 1 }]);
    expect(found.variants.map(({ label }) => label)).toEqual(["pair", "pair (2)", "pair (3)"]);
    const zero = await model.compare(prompts, [null, { name: "pair", scale: 0 }]);
    for (const { summary, prompts: compared } of [found, zero]) {
      for (const { tokens } of compared)
        for (const { perVariant } of tokens)
          for (const measure of perVariant) expect(measure).toEqual({ ...perVariant[0], kl: 0 });
      for (const one of summary) {
        expect(one.meanKl).toEqual({ value: 0, interval: [0, 0] });
        expect(one.meanLogprobDifference).toEqual({ value: 0, interval: [0, 0] });
        expect(one.top1Agreement).toEqual({ value: 1, interval: [1, 1] });
        expect(one.perplexityRatio).toEqual({ value: 1, interval: [1, 1] });
      }
    }
  });

  test("summaries are the means of the tokens", async () => {
    const { prompts: compared, summary } = await model.compare(prompts, variants, { reference: 2 });
    const tokens = compared.flatMap((prompt) => prompt.tokens);
    const mean = (of: (measures: (typeof tokens)[0]["perVariant"]) => number): number =>
      tokens.reduce((sum, { perVariant }) => sum + of(perVariant), 0) / tokens.length;
    for (const [i, one] of summary.entries()) {
      expect(one.meanKl.value).toBeCloseTo(
        mean((measures) => measures[i]!.kl),
        12,
      );
      const difference = mean((measures) => measures[i]!.logprob - measures[2]!.logprob);
      expect(one.meanLogprobDifference.value).toBeCloseTo(difference, 12);
      expect(one.top1Agreement.value).toBeCloseTo(
        mean((measures) => (measures[i]!.top1 === measures[2]!.top1 ? 1 : 0)),
        12,
      );
      expect(Math.log(one.perplexity)).toBeCloseTo(-mean((measures) => measures[i]!.logprob), 12);
      expect(one.perplexityRatio.value).toBeCloseTo(one.perplexity / summary[2]!.perplexity, 12);
      for (const { value, interval } of [one.meanKl, one.meanLogprobDifference, one.perplexityRatio]) {
        expect(interval![0]).toBeLessThanOrEqual(value);
        expect(interval![1]).toBeGreaterThanOrEqual(value);
      }
    }
    for (const { tokens: own, perVariant } of compared)
      expect(perVariant[1]!.logprob).toBeCloseTo(
        own.reduce((sum, measures) => sum + measures.perVariant[1]!.logprob, 0),
        10,
      );
    const alone = await model.compare(prompts.slice(0, 1), variants);
    expect(alone.summary[1]!.meanKl.interval).toBeNull();
  });

  test("an activated adapter wakes where the prompt says so, in any piece", async () => {
    const wakes = model.adapters.get("activated").invocationTokens!;
    const asleep = { prompt: someTokens(40, 5), completion: [...someTokens(10, 6), ...wakes, 1, 2] };
    const awake = { prompt: [...someTokens(33, 7), ...wakes, 4], completion: someTokens(12, 8) };
    const given = [asleep, awake].map(({ prompt, completion }) => ({
      prompt: { tokens: prompt },
      completion: { tokens: completion },
    }));
    const found = await model.compare(given, [null, "activated"], {
      logitMemory: 8 * 5 * model.facts.vocabularySize,
    });
    expect(found.prompts[0]!.perVariant[1]!.meanKl).toBe(0);
    expect(found.prompts[1]!.perVariant[1]!.meanKl).toBeGreaterThan(1e-6);
    const alone = await model.compare(given.slice(1), [null, "activated"]);
    await expectByDefinition(alone, [awake], [undefined, "activated"]);
  });
});

describe("without a completion", () => {
  const prompts = [{ tokens: someTokens(9, 20) }, { tokens: someTokens(30, 21) }];

  test("the reference answers, and all are scored on that", async () => {
    const found = await model.compare(prompts, [null, "pair"], { reference: 1, maxTokens: 12 });
    const answers = await Promise.all(
      prompts.map((prompt) => model.generate(prompt, { adapter: "pair", maxTokens: 12 }).result()),
    );
    expect(found.prompts.map(({ generated }) => generated)).toEqual([true, true]);
    const completions = answers.map(({ tokens }) => [...tokens]);
    await expectByDefinition(
      found,
      prompts.map(({ tokens }, i) => ({ prompt: tokens, completion: completions[i]! })),
      [undefined, "pair"],
    );
    // What is drawn greedily is the most likely token.
    for (const { tokens } of found.prompts)
      for (const { id, perVariant } of tokens) expect(perVariant[1]!.top1).toBe(id);
    expect(found.prompts[0]!.generations).toBeUndefined();
  });

  test("each variant answers itself where asked to", async () => {
    const progress: CompareProgress[] = [];
    const found = await model.compare([...prompts, text(5, 6, 30)], [null, "pair"], {
      maxTokens: 7,
      generations: true,
      onProgress: (step) => progress.push(step),
    });
    for (const [i, { generations, tokens }] of found.prompts.entries()) {
      const prompt = [...prompts, { tokens: tokensOf(text(5, 6, 30)).prompt }][i]!;
      for (const [variant, adapter] of [undefined, "pair"].entries()) {
        const answer = await model.generate(prompt, { adapter, maxTokens: 7 }).result();
        expect(generations![variant]).toEqual({
          text: "",
          tokens: [...answer.tokens],
          finishReason: "length",
        });
      }
      if (i < 2) expect(tokens.map(({ id }) => id)).toEqual(generations![0]!.tokens);
    }
    expect(found.prompts[2]!.generated).toBe(false);
    expect(progress.filter(({ stage }) => stage === "generate").map(({ done }) => done)).toEqual([
      1, 2, 3, 4, 5, 6,
    ]);
  });

  test("an answer ends where the context does", async () => {
    const found = await model.compare([{ tokens: someTokens(CONTEXT - 3, 4) }], [null, "pair"]);
    expect(found.prompts[0]!.tokens).toHaveLength(3);
  });
});

describe("refuses", () => {
  const good: ComparePrompt[] = [text(3, 3, 1)];
  const pair: CompareVariant[] = [null, "pair"];
  test.each<[string, unknown, unknown, CompareOptions & Record<string, unknown>, string]>([
    ["no prompt", [], pair, {}, "prompts"],
    ["no list of prompts", "text", pair, {}, "prompts"],
    ["a prompt of no kind", [5], pair, {}, "prompts[0]"],
    ["a token outside the vocabulary", [{ tokens: [1, 2 ** 20] }], pair, {}, "prompts[0].tokens[1]"],
    ["an empty prompt", [{ tokens: [] }], pair, {}, "prompts[0]"],
    [
      "an empty completion",
      [{ prompt: { tokens: [1] }, completion: { tokens: [] } }],
      pair,
      {},
      "prompts[0].completion",
    ],
    ["an unknown key of a prompt", [{ prompt: { tokens: [1] }, answer: "" }], pair, {}, "prompts[0]"],
    ["one variant", good, [null], {}, "adapters"],
    ["too many variants", good, new Array(65).fill(null), {}, "adapters"],
    ["an absent variant", good, [null, undefined], {}, "adapters[1]"],
    ["an absent adapter", good, [null, { label: "x", adapter: undefined }], {}, "adapters[1]"],
    ["an empty label", good, [null, { label: "", adapter: "pair" }], {}, "adapters[1].label"],
    ["a label that is none", good, [null, { adapter: "pair" }], {}, "adapters[1].label"],
    ["a scale out of bounds", good, [null, { name: "pair", scale: 101 }], {}, "adapter.scale"],
    ["an unknown option", good, pair, { temperature: 1 }, "options"],
    ["a reference that is none", good, pair, { reference: 2 }, "reference"],
    ["no tokens", good, pair, { maxTokens: 0 }, "maxTokens"],
    ["a confidence of 1", good, pair, { confidence: 1 }, "confidence"],
    ["few resamples", good, pair, { resamples: 99 }, "resamples"],
    ["a negative seed", good, pair, { seed: -1 }, "seed"],
    ["memory for less than a position", good, pair, { logitMemory: 100 }, "logitMemory"],
    ["a progress that is none", good, pair, { onProgress: 5 as never }, "onProgress"],
    ["a signal that is none", good, pair, { signal: {} as never }, "signal"],
  ])("%s", async (_, prompts, variants, options, name) => {
    const error = await failureOf(() => model.compare(prompts as never, variants as never, options));
    expect(error.code).toBe("ERR_INVALID_ARGUMENT");
    expect(error.message).toContain(name);
  });

  test("adapters that are not loaded, texts without a tokenizer, texts beyond the context", async () => {
    const codeOf = async (prompts: ComparePrompt[], variants: CompareVariant[], options?: CompareOptions) =>
      (await failureOf(() => model.compare(prompts, variants, options))).code;
    expect(await codeOf(good, ["pair", "nobody"])).toBe("ERR_ADAPTER_NOT_FOUND");
    expect(await codeOf(["text"], pair)).toBe("ERR_TOKENIZER");
    expect(await codeOf([{ messages: [{ role: "user", content: "text" }] }], pair)).toBe("ERR_TOKENIZER");
    expect(await codeOf([text(CONTEXT - 10, 11, 1)], pair)).toBe("ERR_CONTEXT_LENGTH");
    expect(await codeOf([{ tokens: someTokens(CONTEXT, 1) }], pair)).toBe("ERR_CONTEXT_LENGTH");
    expect((await model.compare([text(CONTEXT - 10, 10, 1)], pair)).prompts[0]!.tokens).toHaveLength(10);
    expect(model.adapters.get("pair").users).toBe(0);
    expect(model.memory().comparisonBytes).toBe(0);
    await untilIdle(model);
  });
});
