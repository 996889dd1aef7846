/** What ends a generation: length, the context, end tokens, stop tokens, stop strings. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { loadModel, type GenerateOptions, type GenerationResult, type Model } from "#lib/index.js";
import { someTokens, tinyGguf, tinyModel } from "./tiny-models.js";

/** Runs a generation and checks that its parts add up to its result. */
async function run(
  model: Model,
  prompt: string | { tokens: number[] },
  options: GenerateOptions,
): Promise<GenerationResult> {
  const generation = model.generate(prompt, options);
  let text = "";
  const tokens: number[] = [];
  for await (const part of generation) {
    text += part.text;
    tokens.push(...part.tokens);
  }
  const result = await generation.result();
  expect(text).toBe(result.text);
  expect(tokens).toEqual([...result.tokens]);
  return result;
}

describe("token ids", () => {
  const prompt = { tokens: someTokens(20, 1) };
  let model: Model;
  beforeAll(async () => {
    model = await loadModel(tinyModel("llama"), { threads: 1, contextLength: 64 });
  });
  afterAll(() => model?.dispose());

  test.each([1, 2, 17])("maxTokens %i", async (maxTokens) => {
    const result = await run(model, prompt, { maxTokens, prefixCache: false });
    expect(result.finishReason).toBe("length");
    expect(result.tokens).toHaveLength(maxTokens);
    const none = { draftedTokens: 0, acceptedTokens: 0, cachedTokens: 0 };
    expect(result.usage).toEqual({ promptTokens: 20, completionTokens: maxTokens, ...none });
    expect(result.text).toBe("");
  });

  test.each([1, 40, 63])("a full context ends the generation after a prompt of %i tokens", async (count) => {
    const result = await run(model, { tokens: someTokens(count, 4) }, {});
    expect(result.finishReason).toBe("length");
    expect(result.tokens).toHaveLength(64 - count);
  });

  test("stop tokens are no part of the answer, but of its cost", async () => {
    const free = await run(model, prompt, { maxTokens: 30 });
    const stopTokens = [free.tokens[9]!, free.tokens[13]!];
    const end = free.tokens.findIndex((token) => stopTokens.includes(token));
    const result = await run(model, prompt, { maxTokens: 30, stopTokens });
    expect(result.finishReason).toBe("stop");
    expect([...result.tokens]).toEqual([...free.tokens.subarray(0, end)]);
    expect(result.usage.completionTokens).toBe(end + 1);
    const typed = await run(model, prompt, { maxTokens: 30, stopTokens: Uint16Array.from(stopTokens) });
    expect([...typed.tokens]).toEqual([...result.tokens]);
  });

  test("a stop token as the very first", async () => {
    const { tokens } = await run(model, prompt, { maxTokens: 1 });
    const result = await run(model, prompt, { stopTokens: tokens });
    expect(result).toMatchObject({ finishReason: "stop", text: "" });
    expect(result.tokens).toHaveLength(0);
  });

  test("timings are of this request", async () => {
    const { timings } = await run(model, prompt, { maxTokens: 20 });
    for (const value of Object.values(timings)) expect(value).toBeGreaterThanOrEqual(0);
    expect(timings.prefillMs).toBeGreaterThan(0);
    expect(timings.decodeTokensPerSecond).toBeCloseTo(19_000 / timings.decodeMs, 3);
    expect(timings.prefillTokensPerSecond).toBeCloseTo(20_000 / timings.prefillMs, 3);
  });
});

describe("text", () => {
  let model: Model;
  let free: GenerationResult;
  beforeAll(async () => {
    model = await loadModel(tinyGguf("llama-f16.gguf"), { threads: 1 });
    free = await run(model, "What stops this", { maxTokens: 60, ignoreEndOfText: true });
  });
  afterAll(() => model?.dispose());

  /** Where the first of the stop strings that is complete begins. */
  function cut(stops: string[]): number {
    const ends = stops.flatMap((stop) => {
      const at = free.text.indexOf(stop);
      return at < 0 ? [] : [{ at, end: at + stop.length }];
    });
    const first = ends.sort((a, b) => a.end - b.end || a.at - b.at)[0]!;
    return first.at;
  }

  test("the text to stop in is long enough", () => expect(free.text.length).toBeGreaterThan(20));

  test.each([
    ["one character", (text: string) => [text[10]!]],
    ["across tokens", (text: string) => [text.slice(7, 15)]],
    ["several", (text: string) => ["never there", text.slice(12, 14), text.slice(15, 16)]],
    ["the beginning", (text: string) => [text.slice(0, 3)]],
    ["one within another", (text: string) => [text.slice(5, 12), text.slice(8, 10)]],
  ])("stop strings: %s", async (_, choose) => {
    const stop = choose(free.text);
    const result = await run(model, "What stops this", { maxTokens: 60, ignoreEndOfText: true, stop });
    expect(result.finishReason).toBe("stop");
    expect(result.text).toBe(free.text.slice(0, cut(stop)));
    // The tokens are those up to the one that completed the stop string, whatever the engine did before it heard of it.
    expect([...result.tokens]).toEqual([...free.tokens.subarray(0, result.tokens.length)]);
    expect(result.usage.completionTokens).toBe(result.tokens.length);
    expect(result.tokens.length).toBeLessThan(60);
  });

  test("a single string does as an array of one", async () => {
    const options = { maxTokens: 60, ignoreEndOfText: true };
    const stop = free.text.slice(4, 6);
    const one = await run(model, "What stops this", { ...options, stop });
    const list = await run(model, "What stops this", { ...options, stop: [stop] });
    expect(one.text).toBe(list.text);
  });

  test("a stop string that does not come holds nothing back at the end", async () => {
    const stop = [`${free.text.slice(-4)}more`, "never there"];
    const result = await run(model, "What stops this", { maxTokens: 60, ignoreEndOfText: true, stop });
    expect(result).toMatchObject({ finishReason: "length", text: free.text });
  });

  test("the model's own end tokens end the answer, unless they are ignored", async () => {
    const eos = model.tokenizer.eosTokenIds[0]!;
    const options = { maxTokens: 5, logitBias: { [eos]: 1e6 } };
    const ended = await run(model, "What stops this", options);
    expect(ended).toMatchObject({ finishReason: "stop", text: "" });
    expect(ended.usage.completionTokens).toBe(1);
    const ignored = await run(model, "What stops this", { ...options, ignoreEndOfText: true });
    expect(ignored.finishReason).toBe("length");
    expect([...ignored.tokens]).toEqual(new Array(5).fill(eos));
    expect(ignored.text).toBe("");
    const shown = await run(model, "What stops this", {
      ...options,
      ignoreEndOfText: true,
      skipSpecialTokens: false,
    });
    expect(shown.text).toBe(model.tokenizer.idToToken(eos)!.repeat(5));
  });
});

describe("stop texts and prompt lookup", () => {
  let model: Model;
  beforeAll(async () => {
    model = await loadModel("smollm2-135m-instruct", { threads: 1 });
  });
  afterAll(() => model?.dispose());

  // The prompt's own words come back, so that a step brings several tokens at once.
  const prompt = "one two three four five six. one two three four five six. one two";
  test.each(["four", " five", "six.", "ur fi", "o"])(
    "the answer, its tokens and its cost up to %j are those without drafts",
    async (stop) => {
      const options = { stop, maxTokens: 30, logprobs: true, prefixCache: false };
      const plain = await run(model, prompt, options);
      const looked = await run(model, prompt, { ...options, promptLookup: 7 });
      expect(plain.finishReason).toBe("stop");
      expect(looked.usage.draftedTokens).toBeGreaterThan(0);
      expect(looked.text).toBe(plain.text);
      expect([...looked.tokens]).toEqual([...plain.tokens]);
      expect(looked.logprobs).toEqual(plain.logprobs);
      expect(looked.usage.completionTokens).toBe(plain.usage.completionTokens);
      expect(looked.usage.completionTokens).toBe(looked.tokens.length);
    },
  );
});
