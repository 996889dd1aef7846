/** Generations of a name, going back, compare-and-swap, aliases, and equal content held once. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { loadModel, type Model } from "#lib/index.js";
import { failureOf, tinyModel, untilIdle } from "../generate/tiny-models.js";
import { forcingAdapter, writeAdapter } from "./forcing-adapter.js";

const prompt = { tokens: [1, 2, 3] };
let model: Model;
let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "lowrank-generations-"));
  model = await loadModel(tinyModel("llama"), { threads: 1, adapterDirectory: join(folder, "copies") });
});
afterAll(async () => {
  await model?.dispose();
  await rm(folder, { recursive: true, force: true });
});
afterEach(async () => {
  await untilIdle(model);
  const { adapters } = model;
  for (const one of adapters.list()) if (one.aliasOf) await adapters.unload(one.name);
  for (const { name } of adapters.list()) await adapters.unload(name);
  expect(model.memory()).toMatchObject({ adapterBytes: 0, adapterDiskBytes: 0 });
});

const force = (token: number): ReturnType<typeof forcingAdapter> => forcingAdapter(model.facts, token);
const tokenWith = async (name: string, generation = 0): Promise<number> =>
  (await model.generate(prompt, { adapter: { name, generation }, maxTokens: 1 }).result()).tokens[0]!;
const codeOf = async (action: () => unknown): Promise<string> => (await failureOf(action)).code;

describe("history", () => {
  test("tells the facts of each generation", async () => {
    const { adapters } = model;
    const before = Date.now();
    const first = await adapters.load("a", force(5));
    const second = await adapters.swap("a", force(6));
    const history = adapters.history("a");
    expect(history).toMatchObject([
      { generation: 1, contentHash: first.contentHash, current: false, state: "evicted", origin: "memory" },
      {
        generation: 2,
        contentHash: second.contentHash,
        current: true,
        state: "resident",
        bytes: second.bytes,
      },
    ]);
    for (const { since } of history) expect(since).toBeGreaterThanOrEqual(before);
    expect(model.memory().adapterBytes).toBe(second.bytes);
    expect(await codeOf(() => adapters.history("b"))).toBe("ERR_ADAPTER_NOT_FOUND");
  });

  test("keeps 32 generations", async () => {
    const { adapters } = model;
    await adapters.load("a", force(5));
    await adapters.load("b", force(6));
    for (let i = 0; i < 40; i++) await adapters.swap("a", { name: "b" });
    const generations = adapters.history("a").map(({ generation }) => generation);
    expect(generations).toEqual(Array.from({ length: 32 }, (_, i) => i + 10));
    expect(await codeOf(() => tokenWith("a", 9))).toBe("ERR_ADAPTER_NOT_FOUND");
    // The first content is remembered by no generation any more: its copy on disk is gone.
    const one = model.memory().adapterDiskBytes;
    await adapters.unload("a");
    expect(model.memory().adapterDiskBytes).toBe(one);
  });
});

describe("rollback", () => {
  test("goes back step by step, as new generations", async () => {
    const { adapters } = model;
    await adapters.load("a", force(5));
    await adapters.swap("a", force(6));
    await adapters.swap("a", force(7));
    expect(await adapters.rollback("a")).toMatchObject({ generation: 4, state: "resident" });
    expect(await tokenWith("a")).toBe(6);
    expect(await adapters.rollback("a", { expectedGeneration: 4 })).toMatchObject({ generation: 5 });
    expect(await tokenWith("a")).toBe(5);
    expect(await codeOf(() => adapters.rollback("a"))).toBe("ERR_ADAPTER_NOT_FOUND");
    expect(await codeOf(() => adapters.rollback("a", { expectedGeneration: 4 }))).toBe(
      "ERR_ADAPTER_CONFLICT",
    );
    await adapters.swap("a", force(8));
    await adapters.rollback("a");
    expect(await tokenWith("a")).toBe(5);
  });

  test("reads files again where they are as they were, and says so where they are not", async () => {
    const { adapters } = model;
    const path = join(folder, "files");
    await writeAdapter(path, force(5));
    await adapters.load("a", path);
    await adapters.swap("a", force(6));
    expect(adapters.history("a")[0]).toMatchObject({ state: "evicted", origin: path });
    await adapters.rollback("a");
    expect(await tokenWith("a")).toBe(5);
    await adapters.swap("a", force(6));
    await writeAdapter(path, force(9));
    const before = adapters.list();
    const error = await failureOf(() => adapters.rollback("a"));
    expect(error).toMatchObject({ code: "ERR_ADAPTER_NOT_FOUND" });
    expect(error.message).toContain("it has changed since it was loaded");
    expect(adapters.list()).toEqual(before);
    expect(await tokenWith("a")).toBe(6);
  });

  test("without a folder, versions from memory are gone when nobody holds them", async () => {
    const bare = await loadModel(tinyModel("llama"), { threads: 1 });
    const { adapters } = bare;
    await adapters.load("a", force(5));
    await adapters.load("b", force(5));
    await adapters.swap("a", force(6));
    expect(adapters.history("a")[0]!.state).toBe("resident");
    await adapters.unload("b");
    expect(adapters.history("a")[0]!.state).toBe("gone");
    const error = await failureOf(() => adapters.rollback("a"));
    expect(error.code).toBe("ERR_ADAPTER_NOT_FOUND");
    expect(error.message).toContain("adapterDirectory");
    await bare.dispose();
  });
});

describe("a request or a swap may name", () => {
  test("a generation", async () => {
    const { adapters } = model;
    for (const [i, token] of [5, 6, 7].entries()) {
      if (i === 0) await adapters.load("a", force(token));
      else await adapters.swap("a", force(token));
    }
    expect(
      await Promise.all([tokenWith("a", 1), tokenWith("a", 2), tokenWith("a", 3), tokenWith("a")]),
    ).toEqual([5, 6, 7, 7]);
    for (const generation of [4, 99])
      expect(await codeOf(() => tokenWith("a", generation))).toBe("ERR_ADAPTER_NOT_FOUND");
    expect(await codeOf(() => tokenWith("a", -1))).toBe("ERR_INVALID_ARGUMENT");
    await untilIdle(model);
    // Earlier generations are held by their requests alone.
    expect(model.memory().adapterBytes).toBe(adapters.get("a").bytes);
    await adapters.swap("a", { name: "a", generation: 1 });
    expect(await tokenWith("a")).toBe(5);
  });

  test("a content hash", async () => {
    const { adapters } = model;
    const { contentHash } = await adapters.load("a", force(5));
    await adapters.swap("a", force(6));
    await adapters.load("b", force(7));
    await adapters.swap("b", { version: contentHash });
    expect(await tokenWith("b")).toBe(5);
    for (const version of ["", "0".repeat(64), 5 as never])
      expect(await codeOf(() => adapters.swap("b", { version }))).toMatch(/NOT_FOUND|INVALID_ARGUMENT/);
    expect(await tokenWith("b")).toBe(5);
  });
});

describe("compare-and-swap", () => {
  test("of swaps that expect the same generation, one succeeds", async () => {
    const { adapters } = model;
    await adapters.load("a", force(5));
    for (let round = 1; round <= 5; round++) {
      const swaps = [6, 7, 8].map((token) => adapters.swap("a", force(token), { expectedGeneration: round }));
      const outcomes = await Promise.allSettled(swaps);
      expect(outcomes.filter(({ status }) => status === "fulfilled")).toHaveLength(1);
      for (const outcome of outcomes)
        if (outcome.status === "rejected")
          expect(outcome.reason).toMatchObject({
            code: "ERR_ADAPTER_CONFLICT",
            details: { name: "a", expected: round, generation: round + 1 },
          });
    }
    expect(adapters.get("a").generation).toBe(6);
  });
});

describe("equal content", () => {
  test("is held once, under however many names, however it is loaded", async () => {
    const { adapters } = model;
    const path = join(folder, "equal");
    await writeAdapter(path, force(5));
    const [one] = await Promise.all([
      adapters.load("a", force(5)),
      adapters.load("b", force(5)),
      adapters.load("c", path),
      adapters.load("d", force(6)),
    ]);
    await adapters.swap("d", force(5));
    expect(model.memory().adapterBytes).toBe(one.bytes);
    expect(adapters.list().map(({ origin }) => origin)).toEqual(["memory", "memory", path, "memory"]);
    for (const name of ["a", "b", "c"]) {
      await adapters.unload(name);
      expect(model.memory().adapterBytes).toBe(one.bytes);
    }
    expect(await tokenWith("d")).toBe(5);
  });

  test("a load that is aborted does not disturb another of the same content", async () => {
    const controller = new AbortController();
    const first = model.adapters.load("a", force(5), { signal: controller.signal });
    const second = model.adapters.load("b", force(5));
    controller.abort();
    expect(await codeOf(() => first)).toBe("ERR_ABORTED");
    await second;
    expect(await tokenWith("b")).toBe(5);
    expect(model.adapters.list()).toHaveLength(1);
  });
});

describe("aliases", () => {
  test("follow the name that they stand for, and are moved in one step", async () => {
    const { adapters } = model;
    await adapters.load("v1", force(5));
    await adapters.load("v2", force(6));
    expect(await adapters.alias("live", "v1")).toMatchObject({ name: "live", aliasOf: "v1", generation: 1 });
    await adapters.alias("also", "live");
    expect(adapters.get("also").aliasOf).toBe("v1");
    await adapters.swap("v1", force(7));
    expect([await tokenWith("live"), await tokenWith("also"), await tokenWith("v1")]).toEqual([7, 7, 7]);
    const before = model.generate(prompt, { adapter: "live", maxTokens: 1 });
    const moved = adapters.alias("live", "v2", { expectedTarget: "v1" });
    const after = model.generate(prompt, { adapter: "live", maxTokens: 1 });
    expect((await before.result()).tokens[0]).toBe(7);
    expect((await after.result()).tokens[0]).toBe(6);
    await moved;
    expect(await codeOf(() => adapters.alias("live", "v1", { expectedTarget: "v1" }))).toBe(
      "ERR_ADAPTER_CONFLICT",
    );
    expect(adapters.list().map(({ name, aliasOf }) => [name, aliasOf])).toEqual([
      ["also", "v1"],
      ["live", "v2"],
      ["v1", null],
      ["v2", null],
    ]);
  });

  test("what cannot be", async () => {
    const { adapters } = model;
    await adapters.load("a", force(5));
    await adapters.alias("b", "a");
    expect(await codeOf(() => adapters.alias("a", "a"))).toBe("ERR_ADAPTER_EXISTS");
    expect(await codeOf(() => adapters.alias("c", "nothing"))).toBe("ERR_ADAPTER_NOT_FOUND");
    expect(await codeOf(() => adapters.alias("", "a"))).toBe("ERR_INVALID_ARGUMENT");
    expect(await codeOf(() => adapters.alias("c", 5 as never))).toBe("ERR_INVALID_ARGUMENT");
    for (const call of [
      () => adapters.load("b", force(6)),
      () => adapters.swap("b", force(6)),
      () => adapters.rollback("b"),
    ])
      expect(await codeOf(call)).toBe("ERR_ADAPTER_CONFLICT");
    expect(await codeOf(() => adapters.unload("a"))).toBe("ERR_ADAPTER_IN_USE");
    await adapters.unload("b");
    expect(adapters.has("b")).toBe(false);
    expect(await tokenWith("a")).toBe(5);
  });
});

describe("unload", () => {
  test("does not hold up a load of the same name while requests finish", async () => {
    const { adapters } = model;
    await adapters.load("a", force(5));
    const running = model.generate(prompt, { adapter: "a", maxTokens: 200, ignoreEndOfText: true });
    await running[Symbol.asyncIterator]().next();
    const again = model.generate(prompt, { adapter: "a", maxTokens: 200 });
    const unloading = adapters.unload("a");
    await adapters.load("a", force(6));
    expect(await tokenWith("a")).toBe(6);
    again.abort();
    await Promise.all([again.result(), unloading]);
  });
});
