/** score and logits, against each other and against generation. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { loadModel, type Model } from "#lib/index.js";
import { failureOf, sameBits, someTokens, tinyAdapter, tinyModel } from "./tiny-models.js";

const tokens = someTokens(50, 8);
let model: Model;
beforeAll(async () => {
  model = await loadModel(tinyModel("llama"), { threads: 1, contextLength: 100 });
  await model.adapters.load("plain", tinyAdapter("plain"));
});
afterAll(() => model?.dispose());

function logSoftmax(row: Float32Array): Float64Array {
  const peak = Math.max(...row);
  const sum = row.reduce((total, logit) => total + Math.exp(logit - peak), 0);
  return Float64Array.from(row, (logit) => logit - peak - Math.log(sum));
}

describe("score", () => {
  test.each([undefined, "plain"])("gives log-softmax of the logits, adapter %s", async (adapter) => {
    const split = 20;
    const score = await model.score(
      { tokens: tokens.slice(0, split) },
      { tokens: tokens.slice(split) },
      { topLogprobs: 4, adapter },
    );
    const { logits, vocabularySize } = await model.logits(tokens, { adapter });
    const rows = tokens.map((_, i) =>
      logSoftmax(logits.subarray(i * vocabularySize, (i + 1) * vocabularySize)),
    );
    expect(score.promptTokens).toBe(split);
    expect(score.tokens.map(({ id }) => id)).toEqual(tokens.slice(split));
    let sum = 0;
    score.tokens.forEach(({ id, logprob, top, entropy }, i) => {
      const row = rows[split + i - 1]!;
      sum += row[id]!;
      expect(logprob).toBeCloseTo(row[id]!, 4);
      expect(entropy).toBeCloseTo(-row.reduce((total, value) => total + Math.exp(value) * value, 0), 4);
      const order = Array.from(row.keys()).sort((a, b) => row[b]! - row[a]!);
      expect(top.map((one) => one.id)).toEqual(order.slice(0, 4));
    });
    expect(score.logprob).toBeCloseTo(sum, 3);
    expect(Math.log(score.perplexity)).toBeCloseTo(-sum / score.tokens.length, 5);
  });

  test("agrees with what generation reports", async () => {
    const result = await model.generate({ tokens }, { maxTokens: 10, logprobs: 2 }).result();
    const score = await model.score({ tokens }, { tokens: result.tokens }, { topLogprobs: 2 });
    expect(score.tokens).toEqual(result.logprobs);
  });

  test("a completion of one token after a prompt of one, and a full context", async () => {
    const short = await model.score({ tokens: [1] }, { tokens: [2] });
    expect(short.tokens).toHaveLength(1);
    expect(short.tokens[0]!.top).toEqual([]);
    const full = someTokens(100, 2);
    expect((await model.score({ tokens: full.slice(0, 1) }, { tokens: full.slice(1) })).tokens).toHaveLength(
      99,
    );
    const error = await failureOf(() => model.score({ tokens: full }, { tokens: [1] }));
    expect(error.code).toBe("ERR_CONTEXT_LENGTH");
  });

  test.each([
    ["prompt", [], [1]],
    ["completion", [1], []],
  ])("an empty %s is refused", async (name, prompt, completion) => {
    const error = await failureOf(() => model.score({ tokens: prompt }, { tokens: completion }));
    expect(error.code).toBe("ERR_INVALID_ARGUMENT");
    expect(error.message).toContain(name);
  });

  test("text is refused where the model came without a tokenizer", async () => {
    expect((await failureOf(() => model.score("text", { tokens: [1] }))).code).toBe("ERR_TOKENIZER");
    expect((await failureOf(() => model.generate("text"))).code).toBe("ERR_TOKENIZER");
    expect((await failureOf(() => model.chat([{ role: "user", content: "hi" }]))).code).toBe("ERR_TOKENIZER");
    expect((await failureOf(() => model.tokenize("hi"))).code).toBe("ERR_TOKENIZER");
    expect((await failureOf(() => model.detokenize([1]))).code).toBe("ERR_TOKENIZER");
    expect((await failureOf(() => model.tokenizer)).code).toBe("ERR_TOKENIZER");
  });
});

describe("logits", () => {
  test.each([
    [0, 1],
    [0, 50],
    [49, 50],
    [10, 37],
    [16, 32],
  ])("positions %i to %i are those of the whole", async (from, to) => {
    const { logits: whole, vocabularySize } = await model.logits(tokens);
    const part = await model.logits(tokens, { from, to });
    expect(part).toMatchObject({ positions: to - from, vocabularySize });
    expect(sameBits(part.logits, whole.subarray(from * vocabularySize, to * vocabularySize))).toBe(true);
  });

  test("typed arrays and plain ones are the same", async () => {
    const { logits } = await model.logits(tokens);
    expect(sameBits((await model.logits(Int32Array.from(tokens))).logits, logits)).toBe(true);
    expect(sameBits((await model.logits(Float64Array.from(tokens))).logits, logits)).toBe(true);
  });

  test("what comes later does not matter, what came before does", async () => {
    const { logits, vocabularySize } = await model.logits(tokens, { to: 10 });
    const changed = [...tokens.slice(0, 10), ...someTokens(40, 9)];
    expect(sameBits((await model.logits(changed, { to: 10 })).logits, logits)).toBe(true);
    const other = await model.logits([tokens[0]! ^ 1, ...tokens.slice(1)], { from: 9, to: 10 });
    expect(sameBits(other.logits, logits.subarray(9 * vocabularySize))).toBe(false);
  });

  test.each([
    ["from", { from: 50 }],
    ["from", { from: -1 }],
    ["from", { from: 1.5 }],
    ["to", { to: 51 }],
    ["to", { from: 5, to: 5 }],
    ["to", { to: Infinity }],
  ])("%s out of bounds: %j", async (name, range) => {
    const error = await failureOf(() => model.logits(tokens, range));
    expect(error.code).toBe("ERR_INVALID_ARGUMENT");
    expect(error.message).toContain(`for ${name},`);
  });

  test("too many tokens", async () => {
    expect((await failureOf(() => model.logits(someTokens(101, 1)))).code).toBe("ERR_CONTEXT_LENGTH");
  });
});
