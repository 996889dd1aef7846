/** `choices`: the answer is one of the given texts, chosen as the model's own probabilities say, whatever else is asked. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { loadModel, type GenerateOptions, type Model } from "#lib/index.js";
import { failureOf, tinyModel, untilIdle } from "./tiny-models.js";

const PROMPT = "Review: The soup was cold and the waiter rude.\nSentiment (positive, negative or neutral):";
const CHOICES = [" positive", " negative", " neutral", " not sure at all", " not sure"];
const CITIES = [" New York", " New", " New York City", " Newcastle upon Tyne"];

let model: Model;
beforeAll(async () => {
  model = await loadModel("smollm2-135m-instruct", { threads: 2, maxSequences: 3 });
  await model.adapters.load("orders", "examples/adapters/order-json");
});
afterAll(() => model?.dispose());

const run = (options: GenerateOptions, prompt = PROMPT) =>
  model.generate(prompt, { choices: CHOICES, ...options }).result();

/** The choice that taking the likeliest allowed token at each step leads to, by scoring all of them. */
async function greedyByScores(prompt: string, choices: readonly string[]): Promise<string> {
  const scored = await Promise.all(
    choices.map(async (choice) => ({ choice, tokens: (await model.score(prompt, choice)).tokens })),
  );
  let left = scored;
  for (let at = 0; left.length > 1; at++) {
    const best = left.reduce((a, b) => (b.tokens[at]!.logprob > a.tokens[at]!.logprob ? b : a)).tokens[at]!;
    left = left.filter(({ tokens }) => tokens[at]!.id === best.id);
  }
  return left[0]!.choice;
}

describe("an answer from a list", () => {
  test("is the one that scores lead to, with the model's own log-probabilities", async () => {
    const choices = [" positive", " negative", " neutral", " not sure"];
    for (const prompt of [
      PROMPT,
      "The opposite of negative is",
      "I do not know. Am I sure? I am",
      "1 + 1 =",
    ]) {
      const { text, finishReason, logprobs, tokens } = await run({ choices, logprobs: 2 }, prompt);
      expect(text).toBe(await greedyByScores(prompt, choices));
      expect(finishReason).toBe("stop");
      const scored = await model.score(prompt, text, { topLogprobs: 2 });
      expect(scored.tokens).toEqual(logprobs);
      expect(scored.tokens.map(({ id }) => id)).toEqual([...tokens]);
      for (const { entropy, logsumexp } of logprobs!) {
        expect(entropy).toBeGreaterThan(0);
        expect(Number.isFinite(logsumexp)).toBe(true);
      }
    }
  });

  test("is the same alone, beside others, with drafts, streamed, and under a preemption", async () => {
    const asked = Array.from({ length: 12 }, (_, seed): GenerateOptions => ({
      temperature: 8,
      seed,
      logprobs: 1,
      ...(seed % 3 === 0 ? { adapter: "orders" } : {}),
    }));
    const alone = [];
    for (const options of asked) alone.push(await run(options));
    for (const { text, finishReason } of alone) {
      expect(CHOICES).toContain(text);
      expect(finishReason).toBe("stop");
    }
    expect(new Set(alone.map(({ text }) => text)).size).toBeGreaterThan(2);
    const together = await Promise.all([
      ...asked.map((options, i) =>
        run({ ...options, promptLookup: i % 2 === 0 ? 7 : 0, priority: i % 4, prefixCache: i % 5 > 0 }),
      ),
      model.generate("Once upon a time", { maxTokens: 60, promptLookup: true }).result(),
    ]);
    for (const [i, { text, tokens, logprobs }] of alone.entries()) {
      expect(together[i]!.text).toBe(text);
      expect([...together[i]!.tokens]).toEqual([...tokens]);
      expect(together[i]!.logprobs).toEqual(logprobs);
    }
    let streamed = "";
    for await (const part of model.generate(PROMPT, { choices: CHOICES, ...asked[1] })) streamed += part.text;
    expect(streamed).toBe(alone[1]!.text);
  });

  test("comes from a chat, too", async () => {
    const messages = [{ role: "user", content: "Is snow black? Answer yes or no." }];
    const { text, finishReason } = await model.chat(messages, { choices: ["Yes", "No"] }).result();
    expect(["Yes", "No"]).toContain(text);
    expect(finishReason).toBe("stop");
  });

  test("ends with the model's end token where one text begins another", async () => {
    const end = model.tokenizer.eosTokenIds[0]!;
    const cities = (options: GenerateOptions) => run({ choices: CITIES, ...options }, "The best city is");
    const short = await cities({ logitBias: { [end]: 1000 } });
    expect(short.text).toBe(" New");
    expect(short.finishReason).toBe("stop");
    const seen = new Set<string>();
    for (let seed = 0; seed < 40; seed++) {
      const { text, finishReason } = await cities({ temperature: 20, seed, promptLookup: seed % 2 === 0 });
      expect(finishReason).toBe("stop");
      seen.add(text);
    }
    expect([...seen].sort()).toEqual([...CITIES].sort());
    // Without an end token nothing could tell them apart.
    const failure = await failureOf(() => cities({ ignoreEndOfText: true }));
    expect(failure.code).toBe("ERR_INVALID_ARGUMENT");
    expect(failure.message).toMatch(/end token/);
    const apart = await run({ choices: [" New York", " Newcastle"], ignoreEndOfText: true });
    expect([" New York", " Newcastle"]).toContain(apart.text);
  });

  test("takes a text that looks like a control token as text, and equal texts once", async () => {
    const { text } = await run({ choices: ["<|im_end|>", "<|im_end|>"] });
    expect(text).toBe("<|im_end|>");
  });

  test("may be cut by maxTokens and by a stop text", async () => {
    const choices = [" one two three four five"];
    const cut = await run({ choices, maxTokens: 2 });
    expect(cut.finishReason).toBe("length");
    expect(cut.tokens).toHaveLength(2);
    const stopped = await run({ choices, stop: " three" });
    expect(stopped.text).toBe(" one two");
    expect(stopped.finishReason).toBe("stop");
    const [id] = await model.tokenize(" one", { addSpecialTokens: false });
    expect((await failureOf(() => run({ choices, stopTokens: [id!] }))).code).toBe("ERR_INVALID_ARGUMENT");
  });
});

describe("refused", () => {
  test.each([
    ["no list", "yes"],
    ["an empty list", []],
    ["an empty text", ["yes", ""]],
    ["no text", ["yes", 1]],
    ["a hole", [, "yes"]],
    ["too many", Array.from({ length: 1025 }, (_, i) => String(i))],
    ["one that is too long", ["a".repeat(1025)]],
  ])("%s, at the call", async (_, choices) => {
    expect((await failureOf(() => model.generate("a", { choices: choices as string[] }))).code).toBe(
      "ERR_INVALID_ARGUMENT",
    );
  });

  test("more tokens than a constraint holds, while the event loop goes on", async () => {
    const choices = Array.from({ length: 1024 }, (_, i) => `${i} ${"q x ".repeat(250)}`.slice(0, 1024));
    let turns = 0;
    const meter = setInterval(() => turns++, 1);
    const failure = await failureOf(() => run({ choices }));
    clearInterval(meter);
    expect(failure.code).toBe("ERR_INVALID_ARGUMENT");
    expect(failure.message).toMatch(/65536 tokens/);
    expect(turns).toBeGreaterThan(3);
    await untilIdle(model);
  });

  test("an abort while the texts are tokenised ends it", async () => {
    const stop = new AbortController();
    const choices = Array.from({ length: 1024 }, (_, i) => `${i} ${"word ".repeat(200)}`.slice(0, 1024));
    const generation = model.generate(PROMPT, { choices, signal: stop.signal });
    setImmediate(() => stop.abort());
    expect((await generation.result()).finishReason).toBe("aborted");
    await untilIdle(model);
  });

  test("a model without a tokenizer", async () => {
    await using bare = await loadModel(tinyModel("llama"), { threads: 1 });
    expect((await failureOf(() => bare.generate({ tokens: [1] }, { choices: ["a"] }))).code).toBe(
      "ERR_TOKENIZER",
    );
  });
});
