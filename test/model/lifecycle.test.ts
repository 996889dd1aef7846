/** Disposal: after it, while requests run, twice, and while adapters come and go. */
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { loadModel, type Model } from "#lib/index.js";
import { forcingAdapter } from "../adapters/forcing-adapter.js";
import { failureOf, someTokens, tinyAdapter, tinyGguf, tinyModel } from "../generate/tiny-models.js";

const prompt = { tokens: [1, 2, 3] };
const endless = { maxTokens: 2 ** 31 - 1 };
const options = { threads: 1, contextLength: 2 ** 20, maxSequences: 2 };
let model: Model;
beforeEach(async () => {
  model = await loadModel(tinyModel("llama"), options);
});
afterEach(() => model.dispose());

test("every method says that the model was disposed", async () => {
  await model.adapters.load("a", tinyAdapter("plain"));
  await model.dispose();
  const calls: (() => unknown)[] = [
    () => model.generate(prompt),
    () => model.chat([{ role: "user", content: "hi" }]),
    () => model.score(prompt, prompt),
    () => model.logits([1]),
    () => model.tokenize("a"),
    () => model.detokenize([1]),
    () => model.memory(),
    () => model.checksum(),
    () => model.adapters.load("b", tinyAdapter("plain")),
    () => model.adapters.swap("a", tinyAdapter("plain")),
    () => model.adapters.unload("a"),
  ];
  for (const call of calls) {
    const error = await failureOf(call);
    expect(error.code, String(call)).toBe("ERR_DISPOSED");
    expect(error.message).toContain("Load it again");
  }
  expect(model.adapters.list()).toEqual([]);
  expect(model.adapters.has("a")).toBe(false);
  expect(model.activeRequests).toBe(0);
  expect(model.facts.layers).toBe(2);
});

test("twice, at once and by `await using`", async () => {
  const [first, second] = [model.dispose(), model.dispose()];
  expect(second).toBe(first);
  await Promise.all([first, second]);
  await model[Symbol.asyncDispose]();
  let kept: Model;
  {
    await using scoped = await loadModel(tinyModel("llama"), options);
    kept = scoped;
    expect((await scoped.generate(prompt, { maxTokens: 1 }).result()).tokens).toHaveLength(1);
  }
  expect((await failureOf(() => kept.memory())).code).toBe("ERR_DISPOSED");
});

describe("while generating", () => {
  test("running and queued requests end as aborted, with what they have", async () => {
    const generations = Array.from({ length: 5 }, () => model.generate(prompt, endless));
    const seen: number[] = [];
    const reading = (async () => {
      for await (const part of generations[0]!) seen.push(...part.tokens);
    })();
    while (seen.length < 3) await new Promise((resolve) => setImmediate(resolve));
    await model.dispose();
    await reading;
    const results = await Promise.all(generations.map((generation) => generation.result()));
    for (const { finishReason } of results) expect(finishReason).toBe("aborted");
    expect([...results[0]!.tokens]).toEqual(seen);
    expect(results[4]!.usage.completionTokens).toBe(0);
    expect(model.activeRequests).toBe(0);
  });

  test("evaluations reject", async () => {
    const tokens = someTokens(30_000, 1);
    const pending = [
      failureOf(() => model.logits(tokens, { from: 29_999 })),
      failureOf(() => model.score({ tokens }, { tokens: [1] })),
    ];
    await model.dispose();
    for (const error of await Promise.all(pending)) expect(error.code).toBe("ERR_DISPOSED");
  });

  test("requests that are still being tokenised end as aborted, too", async () => {
    await using gguf = await loadModel(tinyGguf("llama-f16.gguf"), options);
    const generations = [gguf.generate("text", endless), gguf.generate("text ".repeat(3000), endless)];
    await gguf.dispose();
    for (const generation of generations) expect((await generation.result()).finishReason).toBe("aborted");
  });

  test("in the same turn as the call", async () => {
    const generation = model.generate(prompt, endless);
    const disposed = model.dispose();
    expect((await generation.result()).finishReason).toBe("aborted");
    await disposed;
  });
});

describe("while adapters come and go", () => {
  test("a load is refused or forgotten, and an unload that waits comes to its end", async () => {
    await model.adapters.load("a", forcingAdapter(model.facts, 5));
    const generation = model.generate(prompt, { ...endless, adapter: "a" });
    await generation[Symbol.asyncIterator]().next();
    const unloading = model.adapters.unload("a");
    const loading = Promise.allSettled([
      model.adapters.load("b", tinyAdapter("plain")),
      model.adapters.load("c", forcingAdapter(model.facts, 6)),
    ]);
    await model.dispose();
    await unloading;
    for (const outcome of await loading)
      if (outcome.status === "rejected") expect(outcome.reason).toMatchObject({ code: "ERR_DISPOSED" });
    expect((await generation.result()).finishReason).toBe("aborted");
    expect(model.adapters.list()).toEqual([]);
  });

  test("and while a checksum is computed", async () => {
    const sum = model.checksum();
    await model.dispose();
    expect(typeof (await sum)).toBe("bigint");
  });
});

test("several models live and die apart from each other", async () => {
  await using other = await loadModel(tinyModel("qwen2"), options);
  const expected = await other.generate(prompt, { maxTokens: 10 }).result();
  const running = model.generate(prompt, endless);
  const again = other.generate(prompt, { maxTokens: 10 });
  await model.dispose();
  expect((await running.result()).finishReason).toBe("aborted");
  expect([...(await again.result()).tokens]).toEqual([...expected.tokens]);
  await using third = await loadModel(tinyModel("llama"), options);
  expect((await third.generate(prompt, { maxTokens: 4 }).result()).tokens).toHaveLength(4);
});
