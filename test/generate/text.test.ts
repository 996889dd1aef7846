/** Text in and out on the real model: SmolLM2-135M-Instruct in int8. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { loadModel, type Model } from "#lib/index.js";
import { safetensors, failureOf } from "./tiny-models.js";

let model: Model;
beforeAll(async () => {
  model = await loadModel("smollm2-135m-instruct", { threads: 1 });
});
afterAll(() => model?.dispose());

const question = [{ role: "user", content: "What is the capital of France? Answer in one sentence." }];

describe("chat", () => {
  test("answers, the same in parts as in whole, and ends by itself", async () => {
    const answer = model.chat(question, { maxTokens: 60 });
    let text = "";
    const tokens: number[] = [];
    for await (const part of answer) {
      text += part.text;
      tokens.push(...part.tokens);
    }
    const result = await answer.result();
    expect(result.text).toContain("Paris");
    expect(result.finishReason).toBe("stop");
    expect(result.text).toBe(text);
    expect([...result.tokens]).toEqual(tokens);
    expect(model.detokenize(result.tokens)).toBe(text);
    expect(result.usage.promptTokens).toBeGreaterThan(20);
  });

  test("several at once, sampled: the same seed gives the same text", async () => {
    const story = [{ role: "user", content: "Begin a story about a parrot." }];
    const ask = async (seed: number): Promise<string> =>
      (await model.chat(story, { maxTokens: 24, temperature: 1, seed }).result()).text;
    const [a, b, c] = await Promise.all([ask(1), ask(1), ask(2)]);
    expect(b).toBe(a);
    expect(c).not.toBe(a);
  });

  test.each([
    ["no list", "hello"],
    ["an empty list", []],
    ["no role", [{ content: "x" }]],
  ])("messages: %s", async (_, messages) => {
    const error = await failureOf(() => model.chat(messages as never).result());
    expect(["ERR_INVALID_ARGUMENT", "ERR_CHAT_TEMPLATE"]).toContain(error.code);
  });

  test("options of the template are checked, too", async () => {
    for (const template of [1, { unknown: true }]) {
      const error = await failureOf(() => model.chat(question, { template } as never).result());
      expect(error.code).toBe("ERR_INVALID_ARGUMENT");
    }
  });
});

describe("text prompts", () => {
  const prompt = "The three primary colours are";

  test("log-probabilities carry the tokens' texts", async () => {
    const result = await model.generate(prompt, { maxTokens: 8, logprobs: 3 }).result();
    expect(result.logprobs!.map(({ token }) => token).join("")).toBe(result.text);
    for (const { token, logprob, top } of result.logprobs!) {
      // Greedy: the token taken is the likeliest.
      expect(top[0]).toMatchObject({ token, logprob });
      expect(top).toHaveLength(3);
      expect(logprob).toBeLessThanOrEqual(0);
    }
  });

  test("score prefers what is true, and tells tokens as generation does", async () => {
    const [right, wrong] = await Promise.all(
      [" Paris", " cheese"].map((city) => model.score("The capital of France is", city)),
    );
    expect(right!.logprob).toBeGreaterThan(wrong!.logprob + 3);
    expect(right!.tokens.map(({ token }) => token).join("")).toBe(" Paris");
  });

  test("stop strings", async () => {
    const free = await model.generate(prompt, { maxTokens: 30 }).result();
    const stop = free.text.slice(9, 14);
    const result = await model.generate(prompt, { maxTokens: 30, stop }).result();
    expect(result).toMatchObject({
      finishReason: "stop",
      text: free.text.slice(0, free.text.indexOf(stop)),
    });
  });

  test("control tokens in a text are text, unless they are allowed", async () => {
    const plain = await model.tokenize("<|im_end|>");
    const parsed = await model.tokenize("<|im_end|>", { parseSpecialTokens: true });
    expect(plain.length).toBeGreaterThan(1);
    expect(parsed).toHaveLength(1);
    const options = { maxTokens: 1, addSpecialTokens: false };
    const { usage } = await model.generate("<|im_end|>", options).result();
    expect(usage.promptTokens).toBe(plain.length);
    const special = await model.generate("<|im_end|>", { ...options, parseSpecialTokens: true }).result();
    expect(special.usage.promptTokens).toBe(1);
  });

  test("an over-long one and an empty one", async () => {
    const long = await failureOf(() => model.generate("word ".repeat(9000)).result());
    expect(long.code).toBe("ERR_CONTEXT_LENGTH");
    const empty = await failureOf(() => model.generate("", { addSpecialTokens: false }).result());
    expect(empty.code).toBe("ERR_INVALID_ARGUMENT");
  });

  test("characters of several tokens come whole", async () => {
    const [first] = await model.tokenize("🦜", { addSpecialTokens: false });
    expect(await model.tokenize("🦜")).not.toHaveLength(1);
    // Forces the parrot's first token again and again: two that can become nothing any more, and the beginning of a third.
    const generation = model.generate(prompt, { maxTokens: 3, logitBias: { [first!]: 1e6 } });
    const texts: string[] = [];
    for await (const part of generation) texts.push(part.text);
    expect(texts.join("")).toBe("\uFFFD\uFFFD");
    const forced = [first!, first!, first!];
    expect(model.detokenize(forced)).toBe("\uFFFD\uFFFD\uFFFD");
    expect(model.detokenize(forced, { skipIncomplete: true })).toBe("\uFFFD\uFFFD");
  });

  test("an answer cut within a character leaves its first bytes out, and keeps their tokens", async () => {
    const repeated = "東京は日本の首都です🦜。".repeat(4);
    let cuts = 0;
    for (let maxTokens = 1; maxTokens <= 20; maxTokens++) {
      const generation = model.generate(repeated, { maxTokens, ignoreEndOfText: true });
      const parts: string[] = [];
      for await (const part of generation) parts.push(part.text);
      const { text, tokens } = await generation.result();
      expect(tokens).toHaveLength(maxTokens);
      expect(parts.join("")).toBe(text);
      expect(text).not.toContain("\uFFFD");
      expect(model.detokenize(tokens)).toMatch(new RegExp(`^${text}\uFFFD*$`));
      if (text !== model.detokenize(tokens)) cuts++;
    }
    expect(cuts).toBeGreaterThan(2);
  });
});

test("an adapter's effect is there for its requests alone", async () => {
  const { hiddenSize, vocabularySize } = model.facts;
  const [token] = await model.tokenize(" lowrank", { addSpecialTokens: false });
  const bias = new Float32Array(vocabularySize);
  bias[token!] = 1e4;
  const pair = "base_model.model.lm_head";
  await model.adapters.load("force", {
    config: { peft_type: "LORA", r: 1, lora_alpha: 1, target_modules: ["lm_head"], lora_bias: true },
    weights: safetensors({
      [`${pair}.lora_A.weight`]: { shape: [1, hiddenSize], values: new Float32Array(hiddenSize) },
      [`${pair}.lora_B.weight`]: { shape: [vocabularySize, 1], values: new Float32Array(vocabularySize) },
      [`${pair}.lora_B.bias`]: { shape: [vocabularySize], values: bias },
    }),
  });
  const [forced, free] = await Promise.all([
    model.chat(question, { adapter: "force", maxTokens: 5 }).result(),
    model.chat(question, { maxTokens: 5 }).result(),
  ]);
  expect([...forced.tokens]).toEqual(new Array(5).fill(token));
  expect([...free.tokens]).not.toContain(token);
});
