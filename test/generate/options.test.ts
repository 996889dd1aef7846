/** Every option out of its bounds is refused with its name; bad prompts with their code; and the engine goes on. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { loadModel, type GenerateOptions, type Model } from "#lib/index.js";
import { failureOf, someTokens, tinyAdapter, tinyModel } from "./tiny-models.js";

const prompt = { tokens: [1, 2, 3] };
const CONTEXT = 50;
let model: Model;
beforeAll(async () => {
  model = await loadModel(tinyModel("llama"), { threads: 1, contextLength: CONTEXT });
  await model.adapters.load("plain", tinyAdapter("plain"));
});
afterAll(async () => {
  // Whatever was refused, the engine still serves.
  expect((await model.generate(prompt, { maxTokens: 3 }).result()).tokens).toHaveLength(3);
  await model.dispose();
});

const NO_NUMBERS = [NaN, "1", null, true, {}, [1], 1n];
const numeric: Record<string, unknown[]> = {
  maxTokens: [0, -1, 1.5, 2 ** 31, Infinity, ...NO_NUMBERS],
  temperature: [-0.001, 100.1, Infinity, ...NO_NUMBERS],
  topK: [-1, 0.5, 2 ** 31, ...NO_NUMBERS],
  topP: [0, -1, 1.001, ...NO_NUMBERS],
  minP: [-0.1, 1.1, ...NO_NUMBERS],
  repetitionPenalty: [0, 0.009, 101, -1, ...NO_NUMBERS],
  presencePenalty: [-101, 101, Infinity, ...NO_NUMBERS],
  frequencyPenalty: [-101, 101, -Infinity, ...NO_NUMBERS],
  seed: [-1, 0.5, 2 ** 53, -1n, 1n << 64n, NaN, "1", null, {}],
  logprobs: [-1, 101, 1.5, NaN, "all", null, {}],
};
const others: Record<string, unknown[]> = {
  stop: [1, null, {}, "", [""], [1], ["a".repeat(1025)], "a".repeat(1025), new Array(65).fill("a"), [null]],
  promptLookup: [-1, 8, 1.5, NaN, "1", null, {}],
  stopTokens: [1, null, "12", [-1], [272], [1.5], ["1"], [NaN], [undefined], {}],
  logitBias: [1, null, [1], "x", { "-1": 1 }, { 272: 1 }, { 1.5: 1 }, { a: 1 }, { "0x1": 1 }, { "": 1 }],
  ignoreEndOfText: [1, null, "true"],
  addSpecialTokens: [1, null, "true"],
  parseSpecialTokens: [1, null, "true"],
  skipSpecialTokens: [1, null, "true"],
  signal: [1, null, {}, new AbortController()],
  adapter: [1, null, {}, { name: 1 }, [1], [null], ["plain", {}], new Array(65).fill("plain")],
};
const nested: [string, unknown, string][] = [
  ["logitBias", { 1: "2" }, "logitBias[1]"],
  ["logitBias", { 1: NaN }, "logitBias[1]"],
  ["logitBias", { 1: null }, "logitBias[1]"],
  ["logitBias", { 1: undefined }, "logitBias[1]"],
  ["logitBias", { 1: 1e10 }, "logitBias[1]"],
  ["adapter", { name: "plain", scale: 101 }, "adapter.scale"],
  ["adapter", { name: "plain", scale: NaN }, "adapter.scale"],
  ["adapter", { name: "plain", scale: "1" }, "adapter.scale"],
  ["adapter", { name: "plain", weight: 1 }, "adapter"],
];
const table = [...Object.entries(numeric), ...Object.entries(others)].flatMap(([name, values]) =>
  values.map((value): [string, unknown, string] => [name, value, name]),
);

describe("generate", () => {
  test.each([...table, ...nested])("%s: %o", async (name, value, named) => {
    const before = model.activeRequests;
    // Arguments are refused by the call itself, not by what it returns.
    let error: unknown;
    try {
      model.generate(prompt, { [name]: value } as GenerateOptions);
    } catch (thrown) {
      error = thrown;
    }
    expect(error).toMatchObject({ code: "ERR_INVALID_ARGUMENT" });
    const { message } = error as Error;
    expect(message).toMatch(/^Expected .+ for .+, received .+\./s);
    expect(message).toContain(named);
    expect(model.activeRequests).toBe(before);
  });

  test.each([
    ["a misspelt key", { temprature: 1 }, "temprature"],
    ["null", null, "options"],
    ["an array", [], "options"],
    ["a number", 1, "options"],
  ])("options: %s", async (_, options, named) => {
    const error = await failureOf(() => model.generate(prompt, options as GenerateOptions));
    expect(error.code).toBe("ERR_INVALID_ARGUMENT");
    expect(error.message).toContain(named);
    const chat = await failureOf(() => model.chat([], options as GenerateOptions));
    expect(chat).toMatchObject({ code: "ERR_INVALID_ARGUMENT" });
  });

  test("undefined is the default", async () => {
    const names = Object.keys({ ...numeric, ...others }).filter((name) => name !== "seed");
    const options = Object.fromEntries(names.map((name) => [name, undefined]));
    const result = await model.generate(prompt, { ...options, maxTokens: 5 }).result();
    const plain = await model.generate(prompt, { maxTokens: 5 }).result();
    expect([...result.tokens]).toEqual([...plain.tokens]);
  });

  test("a polluted prototype is not read as an option", async () => {
    const options = JSON.parse('{"__proto__": {"maxTokens": 1}}') as GenerateOptions;
    const error = await failureOf(() => model.generate(prompt, options));
    expect(error.code).toBe("ERR_INVALID_ARGUMENT");
  });
});

describe("prompts", () => {
  test.each([
    [undefined, "prompt"],
    [null, "prompt"],
    [5, "prompt"],
    [[1, 2], "prompt"],
    [{}, "prompt"],
    [{ tokens: null }, "prompt.tokens"],
    [{ tokens: 5 }, "prompt.tokens"],
    [{ tokens: "12" }, "prompt.tokens"],
    [{ tokens: [1, -1] }, "prompt.tokens[1]"],
    [{ tokens: [1, 2, 272] }, "prompt.tokens[2]"],
    [{ tokens: [0.5] }, "prompt.tokens[0]"],
    [{ tokens: [NaN] }, "prompt.tokens[0]"],
    [{ tokens: ["1"] }, "prompt.tokens[0]"],
    [{ tokens: new Array(3) }, "prompt.tokens[0]"],
    [{ tokens: BigInt64Array.of(1n) }, "prompt.tokens[0]"],
    [{ tokens: { length: 1.5 } }, "prompt.tokens"],
  ])("%o is refused", async (bad, named) => {
    for (const call of [
      () => model.generate(bad as never),
      () => model.score(bad as never, { tokens: [1] }),
    ]) {
      const error = await failureOf(call);
      expect(error.code).toBe("ERR_INVALID_ARGUMENT");
      expect(error.message).toContain(`for ${named},`);
    }
  });

  test("an empty one", async () => {
    const error = await failureOf(() => model.generate({ tokens: [] }).result());
    expect(error.code).toBe("ERR_INVALID_ARGUMENT");
    expect(error.message).toContain("prompt");
  });

  test.each([CONTEXT, CONTEXT + 1, 5000])("one of %i tokens does not fit", async (count) => {
    const error = await failureOf(() => model.generate({ tokens: someTokens(count, 1) }).result());
    expect(error.code).toBe("ERR_CONTEXT_LENGTH");
    expect(error.message).toContain(String(count));
  });

  test("one that fills the context but for a token does", async () => {
    const result = await model.generate({ tokens: someTokens(CONTEXT - 1, 1) }).result();
    expect(result.tokens).toHaveLength(1);
  });

  test("it is taken as it is at the time of the call", async () => {
    const tokens = Int32Array.from(someTokens(10, 5));
    const expected = await model.generate({ tokens }, { maxTokens: 5 }).result();
    const generation = model.generate({ tokens }, { maxTokens: 5 });
    tokens.fill(0);
    expect([...(await generation.result()).tokens]).toEqual([...expected.tokens]);
  });
});

describe("score and logits", () => {
  test.each([
    ["topLogprobs", 101],
    ["topLogprobs", -1],
    ["topLogprobs", true],
    ["addSpecialTokens", 1],
    ["parseSpecialTokens", null],
    ["signal", {}],
    ["adapter", 1],
    ["unknown", 1],
  ])("score: %s %o", async (name, value) => {
    const error = await failureOf(() => model.score(prompt, prompt, { [name]: value }));
    expect(error.code).toBe("ERR_INVALID_ARGUMENT");
    expect(error.message).toContain(name);
  });

  test.each([
    ["signal", {}],
    ["adapter", 1],
    ["unknown", 1],
    ["from", "0"],
    ["to", null],
  ])("logits: %s %o", async (name, value) => {
    const error = await failureOf(() => model.logits([1, 2], { [name]: value }));
    expect(error.code).toBe("ERR_INVALID_ARGUMENT");
    expect(error.message).toContain(name);
  });

  test.each([[undefined], [null], [5], ["12"], [[]], [[272]], [[-1]]])("logits of %o", async (bad) => {
    const error = await failureOf(() => model.logits(bad as never));
    expect(error.code).toBe("ERR_INVALID_ARGUMENT");
    expect(error.message).toContain("tokens");
  });

  test("an adapter that is not loaded", async () => {
    for (const call of [
      () => model.score(prompt, prompt, { adapter: "nope" }),
      () => model.logits([1], { adapter: { name: "nope" } }),
      () => model.generate(prompt, { adapter: ["plain", "nope"] }).result(),
    ])
      expect((await failureOf(call)).code).toBe("ERR_ADAPTER_NOT_FOUND");
    expect(model.adapters.get("plain").users).toBe(0);
  });
});
