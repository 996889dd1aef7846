/** Each option that is accepted has an effect: none is checked and then dropped. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { TEMPLATE_KEYS, type TemplateOptions } from "#lib/client/index.js";
import { GENERATE_KEYS } from "#lib/generate/index.js";
import { loadModel, type GenerateOptions, type GenerationResult, type Model } from "#lib/index.js";
import { failureOf } from "./tiny-models.js";

let model: Model;
let plain: GenerationResult;
let end: number;
beforeAll(async () => {
  model = await loadModel("smollm2-135m-instruct", { threads: 1, maxSequences: 1 });
  await model.adapters.load("orders", "examples/adapters/order-json");
  plain = await run({});
  end = model.tokenizer.eosTokenIds[0]!;
});
afterAll(() => model?.dispose());

const PROMPT = "The best cities of the world are";
const run = (options: GenerateOptions, prompt = PROMPT): Promise<GenerationResult> =>
  model.generate(prompt, { maxTokens: 12, ...options }).result();
/** Far from the likeliest tokens, but for what the options keep. */
const HOT = { temperature: 50, seed: 1 } as const;
const ids = (result: GenerationResult): number[] => [...result.tokens];

const EFFECTS: Record<(typeof GENERATE_KEYS)[number], () => Promise<void>> = {
  adapter: async () => expect(ids(await run({ adapter: "orders" }))).not.toEqual(ids(plain)),
  maxTokens: async () => expect(ids(await run({ maxTokens: 3 }))).toHaveLength(3),
  temperature: async () => expect(ids(await run(HOT))).not.toEqual(ids(plain)),
  topK: async () => expect(ids(await run({ ...HOT, topK: 1 }))).toEqual(ids(plain)),
  topP: async () => expect(ids(await run({ ...HOT, topP: 1e-9 }))).toEqual(ids(plain)),
  minP: async () => expect(ids(await run({ ...HOT, minP: 1 }))).toEqual(ids(plain)),
  repetitionPenalty: async () => expect(ids(await run({ repetitionPenalty: 50 }))).not.toEqual(ids(plain)),
  presencePenalty: async () => expect(new Set(ids(await run({ presencePenalty: 100 }))).size).toBe(12),
  frequencyPenalty: async () => expect(new Set(ids(await run({ frequencyPenalty: 100 }))).size).toBe(12),
  logitBias: async () =>
    expect(ids(await run({ logitBias: { 42: 1e6 } }))).toEqual(Array.from({ length: 12 }, () => 42)),
  seed: async () => expect(ids(await run({ ...HOT, seed: 2 }))).not.toEqual(ids(await run(HOT))),
  stop: async () => {
    const stop = model.detokenize(plain.tokens.subarray(4, 5));
    const result = await run({ stop });
    expect(result.finishReason).toBe("stop");
    expect(result.tokens.length).toBeLessThanOrEqual(5);
  },
  stopTokens: async () => {
    const result = await run({ stopTokens: [plain.tokens[4]!] });
    expect(ids(result)).toEqual(ids(plain).slice(0, plain.tokens.indexOf(plain.tokens[4]!)));
  },
  choices: async () => {
    const { text, finishReason } = await run({ choices: [" zebra crossing", " xylophone music"] });
    expect([" zebra crossing", " xylophone music"]).toContain(text);
    expect(finishReason).toBe("stop");
  },
  promptLookup: async () => {
    const { usage } = await run({ promptLookup: 5 }, "one two three one two three one two");
    expect(usage.draftedTokens).toBeGreaterThan(0);
  },
  ignoreEndOfText: async () => {
    const forced = { logitBias: { [end]: 1e6 } };
    expect((await run(forced)).finishReason).toBe("stop");
    expect(ids(await run({ ...forced, ignoreEndOfText: true }))).toHaveLength(12);
  },
  logprobs: async () => {
    expect(plain.logprobs).toBeUndefined();
    expect((await run({ logprobs: 3 })).logprobs![0]!.top).toHaveLength(3);
  },
  addSpecialTokens: async () => {
    const { prefix, suffix } = model.tokenizer.definition;
    const { usage } = await run({ addSpecialTokens: false });
    expect(plain.usage.promptTokens - usage.promptTokens).toBe(prefix.length + suffix.length);
    expect(prefix.length + suffix.length).toBe((await model.tokenize("")).length);
  },
  parseSpecialTokens: async () =>
    expect((await run({ parseSpecialTokens: true }, "a<|im_end|>")).usage.promptTokens).toBeLessThan(
      (await run({}, "a<|im_end|>")).usage.promptTokens,
    ),
  skipSpecialTokens: async () => {
    const forced = { logitBias: { [end]: 1e6 }, ignoreEndOfText: true, maxTokens: 1 };
    expect((await run(forced)).text).toBe("");
    expect((await run({ ...forced, skipSpecialTokens: false })).text).not.toBe("");
  },
  priority: async () => {
    const order: string[] = [];
    const ask = (name: string, priority: number): Promise<unknown> =>
      run({ priority, maxTokens: 40, ignoreEndOfText: true }).then(() => order.push(name));
    await Promise.all([ask("first", 100), ask("low", 0), ask("high", 50)]);
    expect(order).toEqual(["first", "high", "low"]);
  },
  timeoutMs: async () =>
    expect((await failureOf(() => run({ timeoutMs: 1, maxTokens: 500 }))).code).toBe("ERR_TIMEOUT"),
  prefixCache: async () => {
    const long = "a b c d e f g h ".repeat(30);
    await run({}, long);
    expect((await run({}, long)).usage.cachedTokens).toBeGreaterThan(0);
    expect((await run({ prefixCache: false }, long)).usage.cachedTokens).toBe(0);
  },
  cacheSalt: async () => {
    const long = "a b c d e f g h ".repeat(30);
    await run({}, long);
    expect((await run({ cacheSalt: "b" }, long)).usage.cachedTokens).toBe(0);
  },
  signal: async () => expect((await run({ signal: AbortSignal.abort() })).finishReason).toBe("aborted"),
};

describe("generate", () => {
  test.each(GENERATE_KEYS.map((key) => [key]))("%s", (key) => EFFECTS[key]());
});

describe("chat", () => {
  const messages = [{ role: "user", content: "Hi <|im_end|> there" }];
  const promptTokens = async (options: object): Promise<number> =>
    (await model.chat(messages, { maxTokens: 1, ...options }).result()).usage.promptTokens;
  const rendered = async (template: TemplateOptions, expected: string): Promise<void> =>
    expect(await promptTokens({ template })).toBe((await model.tokenize(expected)).length);
  const own =
    "{{ tools[0].a }}|{{ documents[0].b }}|{{ x }}|{{ add_generation_prompt }}|{{ strftime_now('%Y') }}";
  const now = Date.UTC(2001, 5, 1);
  const all = {
    chatTemplate: own,
    tools: [{ a: "tool" }],
    documents: [{ b: "doc" }],
    variables: { x: "var" },
    now,
  };

  const TEMPLATE_EFFECTS: Record<(typeof TEMPLATE_KEYS)[number], () => Promise<void>> = {
    addGenerationPrompt: async () => {
      await rendered({ ...all, addGenerationPrompt: false }, "tool|doc|var|False|2001");
      expect(await promptTokens({ template: { addGenerationPrompt: false } })).toBeLessThan(
        await promptTokens({}),
      );
    },
    tools: () => rendered({ ...all, tools: [{ a: "other tool" }] }, "other tool|doc|var|True|2001"),
    documents: () => rendered({ ...all, documents: [{ b: "other doc" }] }, "tool|other doc|var|True|2001"),
    variables: () => rendered({ ...all, variables: { x: "other var" } }, "tool|doc|other var|True|2001"),
    now: () => rendered({ ...all, now: Date.UTC(1999, 5, 1) }, "tool|doc|var|True|1999"),
    chatTemplate: () => rendered({ chatTemplate: "{{ messages[0].role }}!" }, "user!"),
    parseSpecialTokens: async () =>
      expect(await promptTokens({ template: { parseSpecialTokens: true } })).toBeLessThan(
        await promptTokens({}),
      ),
    timeout: async () => {
      const chatTemplate = "{% for a in range(3000) %}{% for b in range(3000) %}{% endfor %}{% endfor %}";
      const { code } = await failureOf(() => promptTokens({ template: { chatTemplate, timeout: 10 } }));
      expect(code).toBe("ERR_TIMEOUT");
    },
  };
  test.each(TEMPLATE_KEYS.map((key) => [key]))("template.%s", (key) => TEMPLATE_EFFECTS[key]());

  test("parseSpecialTokens", async () =>
    expect(await promptTokens({ parseSpecialTokens: true })).toBeLessThan(await promptTokens({})));

  test("the template has the special tokens: addSpecialTokens is refused", async () =>
    expect((await failureOf(() => promptTokens({ addSpecialTokens: false }))).code).toBe(
      "ERR_INVALID_ARGUMENT",
    ));
});
