/** Names, facts, generations, order and failures of the adapters of a model. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { loadModel, type Model } from "#lib/index.js";
import { failureOf, tinyAdapter, tinyGguf, tinyModel, untilIdle } from "../generate/tiny-models.js";
import { forcingAdapter, pairAdapter, pairTensors } from "./forcing-adapter.js";

const prompt = { tokens: [1, 2, 3] };
let model: Model;
beforeAll(async () => {
  model = await loadModel(tinyModel("llama"), { threads: 1 });
});
afterAll(() => model?.dispose());
afterEach(async () => {
  await untilIdle(model);
  for (const { name } of model.adapters.list()) await model.adapters.unload(name);
  expect(model.memory().adapterBytes).toBe(0);
});

describe("facts", () => {
  test("of a plain LoRA", async () => {
    const adapter = pairAdapter(model.facts, 4, 1);
    const facts = await model.adapters.load("mine", adapter);
    const numbers = Object.values(pairTensors(model.facts, 4, 1)).reduce(
      (sum, { values }) => sum + values.length,
      0,
    );
    expect(facts).toEqual({
      name: "mine",
      aliasOf: null,
      generation: 1,
      state: "resident",
      pinned: false,
      rank: 4,
      targets: ["q_proj", "v_proj"],
      parameters: numbers,
      bytes: model.memory().adapterBytes,
      precision: "bfloat16",
      contentHash: expect.stringMatching(/^[0-9a-f]{64}$/) as string,
      dora: false,
      invocationTokens: null,
      origin: "memory",
      users: 0,
      lastUsed: null,
    });
    // bfloat16, padded by the packing.
    expect(facts.bytes).toBeGreaterThanOrEqual(numbers * 2);
    expect(model.adapters.get("mine")).toEqual(facts);
    expect(model.adapters.has("mine")).toBe(true);
    expect(model.adapters.has("other")).toBe(false);
  });

  test("of other kinds", async () => {
    const { adapters } = model;
    expect(await adapters.load("dora", tinyAdapter("dora"))).toMatchObject({ dora: true, rank: 4 });
    expect(await adapters.load("patterns", tinyAdapter("patterns"))).toMatchObject({ rank: 17 });
    expect(await adapters.load("alora", tinyAdapter("activated"))).toMatchObject({
      invocationTokens: [7, 11, 7],
    });
    const { targets } = await adapters.load("saved", tinyAdapter("saved-head-of-tied"));
    expect(targets).toEqual(["lm_head", "v_proj"]);
    expect(adapters.list().map(({ name }) => name)).toEqual(["alora", "dora", "patterns", "saved"]);
  });

  test("are copies: changing them changes nothing", async () => {
    const facts = await model.adapters.load("alora", tinyAdapter("activated"));
    facts.targets.length = 0;
    facts.invocationTokens![0] = 99;
    expect(model.adapters.get("alora").targets).not.toHaveLength(0);
    expect(model.adapters.get("alora").invocationTokens).toEqual([7, 11, 7]);
  });

  test("the content hash is that of the content, wherever it lies", async () => {
    const folder = tinyAdapter("plain");
    const config = JSON.parse(readFileSync(join(folder, "adapter_config.json"), "utf8")) as object;
    const weights = new Uint8Array(readFileSync(join(folder, "adapter_model.safetensors")));
    const { adapters } = model;
    const { contentHash } = await adapters.load("folder", folder);
    const file = await adapters.load("file", join(folder, "adapter_model.safetensors"));
    expect(file).toMatchObject({ contentHash, origin: join(folder, "adapter_model.safetensors") });
    expect((await adapters.load("memory", { config, weights })).contentHash).toBe(contentHash);
    const reordered = Object.fromEntries(Object.entries(config).reverse());
    expect((await adapters.load("keys", { config: reordered, weights })).contentHash).toBe(contentHash);
    const otherConfig = { ...config, lora_alpha: 9 };
    expect((await adapters.load("alpha", { config: otherConfig, weights })).contentHash).not.toBe(
      contentHash,
    );
    const otherWeights = weights.slice();
    otherWeights[otherWeights.length - 4]! ^= 1;
    expect((await adapters.load("bit", { config, weights: otherWeights })).contentHash).not.toBe(contentHash);
    const gguf = await loadModel(tinyGguf("llama-f16.gguf"), { threads: 1 });
    const path = tinyGguf("plain-f32.gguf");
    const fromPath = await gguf.adapters.load("path", path);
    const fromBytes = await gguf.adapters.load("bytes", new Uint8Array(readFileSync(path)));
    expect(fromBytes.contentHash).toBe(fromPath.contentHash);
    await gguf.dispose();
  });

  test("bytes that are changed after the call do not matter", async () => {
    const adapter = forcingAdapter(model.facts, 7);
    const loading = model.adapters.load("force", adapter);
    adapter.weights.fill(0);
    adapter.config["r"] = 99;
    await loading;
    const { tokens } = await model.generate(prompt, { adapter: "force", maxTokens: 2 }).result();
    expect([...tokens]).toEqual([7, 7]);
  });
});

describe("names", () => {
  test.each([[""], [1], [null], [undefined], ["x".repeat(257)]])("%o is refused", async (name) => {
    for (const call of [
      () => model.adapters.load(name as string, tinyAdapter("plain")),
      () => model.adapters.swap(name as string, tinyAdapter("plain")),
      () => model.adapters.unload(name as string),
    ])
      expect((await failureOf(call)).code).toBe("ERR_INVALID_ARGUMENT");
  });

  test.each(["__proto__", "constructor", "toString", "a/b", "日本語", " "])(
    "%o is one like any other",
    async (name) => {
      await model.adapters.load(name, forcingAdapter(model.facts, 3));
      const { tokens } = await model.generate(prompt, { adapter: name, maxTokens: 2 }).result();
      expect([...tokens]).toEqual([3, 3]);
      expect(model.adapters.list()).toHaveLength(1);
    },
  );

  test("a name that is loaded, and one that is not", async () => {
    await model.adapters.load("a", tinyAdapter("plain"));
    const before = model.adapters.get("a");
    expect((await failureOf(() => model.adapters.load("a", tinyAdapter("dora")))).code).toBe(
      "ERR_ADAPTER_EXISTS",
    );
    for (const call of [
      () => model.adapters.swap("b", tinyAdapter("plain")),
      () => model.adapters.swap("a", { name: "b" }),
      () => model.adapters.unload("b"),
      () => model.adapters.get("b"),
    ])
      expect((await failureOf(call)).code).toBe("ERR_ADAPTER_NOT_FOUND");
    expect(model.adapters.list()).toEqual([before]);
  });

  test.each([
    ["load", () => model.adapters.load("x", tinyAdapter("plain"), { sginal: 1 } as never)],
    ["load", () => model.adapters.load("x", tinyAdapter("plain"), { signal: 1 } as never)],
    ["load", () => model.adapters.load("x", tinyAdapter("plain"), null as never)],
    ["swap", () => model.adapters.swap("x", tinyAdapter("plain"), { expectedGeneration: 0 })],
    ["swap", () => model.adapters.swap("x", tinyAdapter("plain"), { expectedGeneration: "1" } as never)],
    ["unload", () => model.adapters.unload("x", { wait: 0 } as never)],
    ["unload", () => model.adapters.unload("x", { force: true } as never)],
  ])("options of %s are checked", async (_, call) => {
    // As a rejection: a promise is what these functions return.
    const promise = call();
    expect((await failureOf(() => promise)).code).toBe("ERR_INVALID_ARGUMENT");
  });
});

describe("order", () => {
  test("of calls with one name is that in which they were made", async () => {
    const { adapters, facts } = model;
    const calls = [
      adapters.load("a", forcingAdapter(facts, 1)),
      adapters.swap("a", forcingAdapter(facts, 2)),
      adapters.unload("a"),
      adapters.load("a", forcingAdapter(facts, 3)),
      adapters.swap("a", forcingAdapter(facts, 4), { expectedGeneration: 1 }),
    ];
    const generations = (await Promise.all(calls)).map((one) => one?.generation);
    expect(generations).toEqual([1, 2, undefined, 1, 2]);
    const { tokens } = await model.generate(prompt, { adapter: "a", maxTokens: 1 }).result();
    expect([...tokens]).toEqual([4]);
  });

  test("a failure in between does not hold up the next", async () => {
    const { adapters, facts } = model;
    const results = await Promise.allSettled([
      adapters.load("a", forcingAdapter(facts, 1)),
      adapters.swap("a", "/nowhere"),
      adapters.swap("a", forcingAdapter(facts, 2)),
    ]);
    expect(results.map(({ status }) => status)).toEqual(["fulfilled", "rejected", "fulfilled"]);
    expect(adapters.get("a").generation).toBe(2);
  });

  test("of two loads of one name, the second finds it taken", async () => {
    const both = await Promise.allSettled([1, 2].map(() => model.adapters.load("a", tinyAdapter("plain"))));
    expect(both[0]!.status).toBe("fulfilled");
    expect(both[1]).toMatchObject({ status: "rejected", reason: { code: "ERR_ADAPTER_EXISTS" } });
  });
});

describe("AbortSignal", () => {
  test("before and while", async () => {
    const aborted = await failureOf(() =>
      model.adapters.load("a", tinyAdapter("plain"), { signal: AbortSignal.abort() }),
    );
    expect(aborted.code).toBe("ERR_ABORTED");
    const controller = new AbortController();
    const loading = model.adapters.load("a", tinyAdapter("plain"), { signal: controller.signal });
    controller.abort(new Error("why"));
    const error = await failureOf(() => loading);
    expect(error.code).toBe("ERR_ABORTED");
    expect((error.cause as Error).message).toBe("why");
    expect(model.adapters.list()).toEqual([]);
  });
});
