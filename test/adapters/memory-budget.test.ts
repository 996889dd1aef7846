/** Adapters under a memory limit: eviction, loading again, waiting, pins, and what is on disk meanwhile. */
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { loadModel, type Generation, type Model } from "#lib/index.js";
import { addon } from "#lib/native/addon.js";
import type { NativeEngine } from "#lib/native/types.js";
import { failureOf, tinyModel, untilIdle } from "../generate/tiny-models.js";
import { forcingAdapter, pairAdapter, writeAdapter } from "./forcing-adapter.js";

const prompt = { tokens: [1, 2, 3] };
const ROOM = 3;
let folder: string;
/** Of a forcing adapter. */
let size: number;
let model: Model;
let builds = 0;

/** Counts the adapters that the engine builds, and can hold them up. */
let gate: Promise<void> | undefined;
const nativeLoad = addon().loadEngine;
function watchEngines(): void {
  addon().loadEngine = (...given) => {
    const load = nativeLoad(...given);
    const promise = load.promise.then((engine: NativeEngine) => {
      const loadAdapter: NativeEngine["loadAdapter"] = async (...adapter) => {
        builds++;
        await gate;
        return engine.loadAdapter(...adapter);
      };
      return new Proxy(engine, {
        get(target, key) {
          if (key === "loadAdapter") return loadAdapter;
          const value: unknown = Reflect.get(target, key, target);
          return typeof value === "function" ? (value.bind(target) as unknown) : value;
        },
      });
    });
    return { ...load, promise };
  };
}

const start = (limit: number): Promise<Model> =>
  loadModel(tinyModel("llama"), {
    threads: 1,
    contextLength: 2 ** 16,
    maxSequences: 16,
    adapterMemory: limit,
    adapterDirectory: join(folder, "copies"),
  });

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "lowrank-budget-"));
  watchEngines();
  const first = await loadModel(tinyModel("llama"), { threads: 1 });
  size = (await first.adapters.load("a", forcingAdapter(first.facts, 5))).bytes;
  await first.dispose();
});
afterAll(async () => {
  addon().loadEngine = nativeLoad;
  await rm(folder, { recursive: true, force: true });
});
beforeEach(async () => {
  model = await start(ROOM * size);
  builds = 0;
});
afterEach(async () => {
  gate = undefined;
  await untilIdle(model);
  expect(model.memory().adapterBytes).toBeLessThanOrEqual(ROOM * size);
  expect(model.memory().adapterBytes).toBe(
    [...new Map(model.adapters.list().map((one) => [one.contentHash, one])).values()]
      .filter(({ state }) => state === "resident")
      .reduce((sum, { bytes }) => sum + bytes, 0),
  );
  for (const { name } of model.adapters.list()) await model.adapters.unload(name);
  expect(model.memory()).toMatchObject({ adapterBytes: 0, adapterDiskBytes: 0 });
  await model.dispose();
  expect(await readdir(join(folder, "copies")).catch(() => [])).toEqual([]);
});

const name = (token: number): string => `force${token}`;
const load = (token: number): Promise<unknown> =>
  model.adapters.load(name(token), forcingAdapter(model.facts, token));
async function loadMany(count: number): Promise<void> {
  for (let token = 1; token <= count; token++) await load(token);
}
const start1 = (token: number, maxTokens = 2): Generation =>
  model.generate(prompt, { adapter: name(token), maxTokens });
const tokensWith = async (token: number): Promise<number[]> => [...(await start1(token).result()).tokens];
const resident = (): string[] =>
  model.adapters.list().flatMap((one) => (one.state === "resident" ? [one.name] : []));
/** A request that holds its adapter until it is aborted. */
async function running(token: number): Promise<Generation> {
  const generation = start1(token, 2 ** 31 - 1);
  await generation[Symbol.asyncIterator]().next();
  return generation;
}

describe("eviction", () => {
  test("takes the least recently used; a request brings it back", async () => {
    await loadMany(ROOM);
    expect(resident()).toEqual(["force1", "force2", "force3"]);
    expect(await tokensWith(1)).toEqual([1, 1]);
    await load(4);
    expect(resident()).toEqual(["force1", "force3", "force4"]);
    expect(model.adapters.get("force2")).toMatchObject({ state: "evicted", users: 0, bytes: size });
    expect(await tokensWith(2)).toEqual([2, 2]);
    expect(resident()).toEqual(["force1", "force2", "force4"]);
    expect(model.adapters.get("force2").lastUsed).toBeGreaterThan(Date.now() - 10_000);
    expect(model.memory()).toMatchObject({ adapterBytes: ROOM * size, adapterLimitBytes: ROOM * size });
  });

  test("leaves results as they were, for score and logits as well", async () => {
    const source = pairAdapter(model.facts, 4, 1);
    await model.adapters.load("pair", source);
    const logits = [...(await model.logits([1, 2, 3], { adapter: "pair" })).logits];
    const { logprob } = await model.score(prompt, { tokens: [4, 5] }, { adapter: "pair" });
    await loadMany(ROOM);
    expect(model.adapters.get("pair").state).toBe("evicted");
    expect([...(await model.logits([1, 2, 3], { adapter: "pair" })).logits]).toEqual(logits);
    for (const token of [1, 2, 3]) await tokensWith(token);
    expect(model.adapters.get("pair").state).toBe("evicted");
    expect((await model.score(prompt, { tokens: [4, 5] }, { adapter: "pair" })).logprob).toBe(logprob);
  });

  test("16 requests for one that is not in memory load it once", async () => {
    await loadMany(ROOM + 1);
    expect(model.adapters.get("force1").state).toBe("evicted");
    builds = 0;
    const requests = Array.from({ length: 16 }, () => start1(1).result());
    expect(model.adapters.get("force1").users).toBe(16);
    for (const { tokens } of await Promise.all(requests)) expect([...tokens]).toEqual([1, 1]);
    expect(builds).toBe(1);
  });

  test("those in memory do not wait for one that is being loaded", async () => {
    await loadMany(ROOM + 1);
    let open!: () => void;
    gate = new Promise((resolve) => (open = resolve));
    const cold = start1(1).result();
    await sleep(20);
    expect(model.adapters.get("force1").state).toBe("loading");
    expect(await tokensWith(4)).toEqual([4, 4]);
    expect([...(await model.generate(prompt, { maxTokens: 2 }).result()).tokens]).toHaveLength(2);
    open();
    expect([...(await cold).tokens]).toEqual([1, 1]);
  });

  test("under load, with more adapters than room, every request gets its own", async () => {
    const COUNT = 12;
    await loadMany(COUNT);
    let seed = 1;
    const random = (below: number): number => {
      seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
      return Math.floor((seed / 2 ** 32) * below);
    };
    const client = async (): Promise<void> => {
      for (let i = 0; i < 12; i++) {
        const token = 1 + random(COUNT);
        const generation = start1(token, 1 + random(6));
        if (random(5) === 0) generation.abort();
        const { tokens } = await generation.result();
        for (const one of tokens) expect(one).toBe(token);
        expect(model.memory().adapterBytes).toBeLessThanOrEqual(ROOM * size);
      }
    };
    await Promise.all(Array.from({ length: 10 }, client));
  });
});

describe("when everything is in use", () => {
  test("a load is refused and leaves everything as it was; a request waits", async () => {
    await loadMany(ROOM);
    await load(4);
    const held = await Promise.all([2, 3, 4].map(running));
    const before = model.adapters.list();
    const error = await failureOf(() => load(5));
    expect(error.code).toBe("ERR_OUT_OF_MEMORY");
    expect(error.details).toMatchObject({ needed: size, limit: ROOM * size });
    for (const call of [
      () => model.adapters.prefetch("force1"),
      () => model.adapters.pin("force1"),
      () => model.adapters.swap("force2", { name: "force1" }),
    ])
      expect((await failureOf(call)).code).toBe("ERR_OUT_OF_MEMORY");
    expect(model.adapters.list()).toEqual(before);
    let done = false;
    const waiting = start1(1).result();
    void waiting.then(() => (done = true));
    await sleep(30);
    expect(done).toBe(false);
    expect(await tokensWith(2)).toEqual([2, 2]); // overtakes: it needs no room
    held[0]!.abort();
    expect([...(await waiting).tokens]).toEqual([1, 1]);
    for (const one of held) one.abort();
  });

  test("a wait ends by a signal, by leaving the loop, by abort(), and by disposal", async () => {
    await loadMany(ROOM + 1);
    const held = await Promise.all([2, 3, 4].map(running));
    const controller = new AbortController();
    const bySignal = model.generate(prompt, { adapter: name(1), signal: controller.signal });
    const scored = model.score(prompt, prompt, { adapter: name(1), signal: controller.signal });
    const byHand = start1(1);
    expect(model.adapters.get("force1").users).toBe(3);
    controller.abort();
    byHand.abort();
    expect((await bySignal.result()).finishReason).toBe("aborted");
    expect((await byHand.result()).finishReason).toBe("aborted");
    expect((await failureOf(() => scored)).code).toBe("ERR_ABORTED");
    expect(model.adapters.get("force1").users).toBe(0);
    const unserved = start1(1);
    const scoring = failureOf(() => model.score(prompt, prompt, { adapter: name(1) }));
    await model.dispose();
    expect((await unserved.result()).finishReason).toBe("aborted");
    expect((await scoring).code).toBe("ERR_DISPOSED");
    for (const one of held) await one.result();
    model = await start(ROOM * size);
  });

  test("a wait ends when the request's time is over", async () => {
    await loadMany(ROOM + 1);
    const held = await Promise.all([2, 3, 4].map(running));
    const adapter = name(1);
    const began = performance.now();
    for (const call of [
      () => model.generate(prompt, { adapter, timeoutMs: 40 }).result(),
      () => model.score(prompt, prompt, { adapter, timeoutMs: 40 }),
    ])
      expect((await failureOf(call)).code).toBe("ERR_TIMEOUT");
    expect(performance.now() - began).toBeGreaterThanOrEqual(78);
    expect(model.adapters.get(adapter).users).toBe(0);
    for (const one of held) one.abort();
    const { tokens } = await model.generate(prompt, { adapter, timeoutMs: 60_000, maxTokens: 1 }).result();
    expect([...tokens]).toEqual([1]);
  });

  test("requests with several adapters claim them at once: none waits for another for ever", async () => {
    await loadMany(6);
    const pairs = [
      [1, 2],
      [3, 4],
      [2, 3],
      [5, 6],
      [4, 1],
      [6, 1],
    ];
    const requests = Array.from({ length: 24 }, (_, i) =>
      model
        .generate(prompt, {
          adapter: pairs[i % 6]!.map((token, k) => ({ name: name(token), scale: k === 0 ? 1 : 0 })),
          maxTokens: 3,
        })
        .result(),
    );
    for (const [i, { tokens }] of (await Promise.all(requests)).entries())
      expect([...tokens]).toEqual(Array.from({ length: 3 }, () => pairs[i % 6]![0]));
  });

  test("a request that waits is not overtaken for ever", async () => {
    await loadMany(ROOM + 1);
    let stop = false;
    // Requests that overlap, so that no adapter is ever idle.
    const busy = [2, 3, 4].flatMap((token) =>
      [0, 1].map(async () => {
        while (!stop) await start1(token, 40).result();
      }),
    );
    await sleep(20);
    const began = performance.now();
    expect(await tokensWith(1)).toEqual([1, 1]);
    expect(performance.now() - began).toBeLessThan(10_000);
    stop = true;
    await Promise.all(busy);
  });

  test("what can never fit is refused", async () => {
    await loadMany(ROOM + 1);
    const adapter = [1, 2, 3, 4].map(name);
    const error = await failureOf(() => model.generate(prompt, { adapter }).result());
    expect(error.code).toBe("ERR_OUT_OF_MEMORY");
    const held = await running(2);
    expect((await failureOf(() => model.logits([1], { adapter }))).code).toBe("ERR_OUT_OF_MEMORY");
    held.abort();
    const large = pairAdapter(model.facts, 64, 1);
    builds = 0;
    expect((await failureOf(() => model.adapters.load("large", large))).code).toBe("ERR_OUT_OF_MEMORY");
    expect(builds).toBe(0);
    expect(model.adapters.has("large")).toBe(false);
  });
});

describe("pins and prefetching", () => {
  test("a pinned adapter stays, through swaps, until it is unpinned", async () => {
    await loadMany(ROOM);
    expect(await model.adapters.pin("force1")).toMatchObject({ pinned: true, state: "resident" });
    await load(4);
    await load(5);
    expect(resident()).toContain("force1");
    await model.adapters.swap("force1", forcingAdapter(model.facts, 9));
    await load(6);
    await load(7);
    expect(model.adapters.get("force1")).toMatchObject({ pinned: true, state: "resident" });
    await model.adapters.pin("force2");
    await model.adapters.pin("force2");
    await model.adapters.pin("force3");
    expect((await failureOf(() => load(8))).code).toBe("ERR_OUT_OF_MEMORY");
    // Nothing will ever make room for it.
    expect((await failureOf(() => tokensWith(4))).code).toBe("ERR_OUT_OF_MEMORY");
    await model.adapters.unpin("force2");
    expect(await tokensWith(4)).toEqual([4, 4]);
    expect(resident()).toEqual(["force1", "force3", "force4"]);
    expect((await failureOf(() => model.adapters.pin("nothing"))).code).toBe("ERR_ADAPTER_NOT_FOUND");
  });

  test("unpinning makes room for who waits", async () => {
    await loadMany(ROOM + 1);
    await model.adapters.pin("force2");
    const held = await Promise.all([3, 4].map(running));
    const waiting = start1(1).result();
    await sleep(10);
    await model.adapters.unpin("force2");
    expect([...(await waiting).tokens]).toEqual([1, 1]);
    for (const one of held) one.abort();
  });

  test("prefetch loads before a request comes", async () => {
    await loadMany(ROOM + 2);
    builds = 0;
    await model.adapters.prefetch(["force1", "force2", "force1"]);
    expect(builds).toBe(2);
    expect(resident()).toEqual(["force1", "force2", "force5"]);
    await model.adapters.prefetch("force1");
    expect(builds).toBe(2);
    expect((await failureOf(() => model.adapters.prefetch("nothing"))).code).toBe("ERR_ADAPTER_NOT_FOUND");
  });
});

describe("on disk", () => {
  const copies = async (): Promise<string[]> => {
    const owners = await readdir(join(folder, "copies"));
    return (await Promise.all(owners.map((owner) => readdir(join(folder, "copies", owner))))).flat();
  };

  test("adapters from memory are named after their content, and go with their last name", async () => {
    await loadMany(2);
    const hashes = model.adapters.list().map(({ contentHash }) => `${contentHash}.adapter`);
    expect((await copies()).sort()).toEqual(hashes.sort());
    await model.adapters.unload("force1");
    await expect.poll(copies).toHaveLength(1);
    expect(model.memory().adapterDiskBytes).toBeGreaterThan(0);
  });

  test("a damaged copy is found and reported; other requests go on", async () => {
    await loadMany(ROOM + 1);
    const [owner] = await readdir(join(folder, "copies"));
    const path = join(folder, "copies", owner!, `${model.adapters.get("force1").contentHash}.adapter`);
    const bytes = await readFile(path);
    bytes[bytes.length - 8]! ^= 1;
    await writeFile(path, bytes);
    const results = await Promise.allSettled(Array.from({ length: 3 }, () => start1(1).result()));
    for (const one of results) expect(one).toMatchObject({ status: "rejected", reason: { code: "ERR_IO" } });
    expect(await tokensWith(4)).toEqual([4, 4]);
    await model.adapters.swap("force1", forcingAdapter(model.facts, 1));
    expect(await tokensWith(1)).toEqual([1, 1]);
  });

  test("adapters from files are read from there again, and kept in memory where the file has changed", async () => {
    const paths = [11, 12].map((token) => join(folder, name(token)));
    await writeAdapter(paths[0]!, forcingAdapter(model.facts, 11));
    await writeAdapter(paths[1]!, forcingAdapter(model.facts, 12));
    await model.adapters.load("force11", paths[0]!);
    await model.adapters.load("force12", paths[1]!);
    expect(model.memory().adapterDiskBytes).toBe(0);
    await writeAdapter(paths[1]!, forcingAdapter(model.facts, 13));
    await loadMany(ROOM);
    expect(resident()).toContain("force12");
    expect(model.adapters.get("force11").state).toBe("evicted");
    expect(await tokensWith(11)).toEqual([11, 11]);
    await model.adapters.prefetch(["force1", "force2"]);
    expect(model.adapters.get("force11").state).toBe("evicted");
    await rm(paths[0]!, { recursive: true });
    expect((await failureOf(() => tokensWith(11))).code).toBe("ERR_ADAPTER_NOT_FOUND");
    await writeAdapter(paths[0]!, forcingAdapter(model.facts, 11));
    expect(await tokensWith(11)).toEqual([11, 11]);
    expect(await tokensWith(12)).toEqual([12, 12]);
  });

  test("without a folder for copies, adapters from memory are not evicted", async () => {
    const bare = await loadModel(tinyModel("llama"), {
      threads: 1,
      adapterMemory: 2 * size,
      adapterDirectory: false,
    });
    for (const token of [1, 2]) await bare.adapters.load(name(token), forcingAdapter(bare.facts, token));
    const error = await failureOf(() => bare.adapters.load("c", forcingAdapter(bare.facts, 3)));
    expect(error.code).toBe("ERR_OUT_OF_MEMORY");
    // A swap needs no room beside what it replaces.
    await bare.adapters.swap(name(1), forcingAdapter(bare.facts, 3));
    expect(bare.memory()).toMatchObject({ adapterBytes: 2 * size, adapterDiskBytes: 0 });
    await bare.dispose();
  });

  test("a folder that cannot be written costs eviction, not the load", async () => {
    await writeFile(join(folder, "a-file"), "");
    const bare = await loadModel(tinyModel("llama"), {
      threads: 1,
      adapterMemory: size,
      adapterDirectory: join(folder, "a-file"),
    });
    await bare.adapters.load("a", forcingAdapter(bare.facts, 3));
    const error = await failureOf(() => bare.adapters.load("b", forcingAdapter(bare.facts, 4)));
    expect(error).toMatchObject({ code: "ERR_OUT_OF_MEMORY", cause: { code: "ENOTDIR" } });
    await bare.dispose();
  });

  test("what a process left that has ended is deleted", async () => {
    await load(1);
    const [owner] = await readdir(join(folder, "copies"));
    // No process has this number on any system that Node runs on.
    const stale = owner!.replace(/-\d+-/, "-4194999-");
    await mkdir(join(folder, "copies", stale));
    await writeFile(join(folder, "copies", stale, "x.adapter"), "x");
    const other = await start(size);
    await expect.poll(() => readdir(join(folder, "copies"))).toEqual([owner]);
    await other.dispose();
    expect(await copies()).toHaveLength(1);
  });
});

describe("options", () => {
  test.each([
    { adapterMemory: 0 },
    { adapterMemory: 1.5 },
    { adapterMemory: "1" },
    { adapterDirectory: "" },
    { adapterDirectory: 1 },
  ])("%o is refused", async (options) => {
    expect((await failureOf(() => loadModel(tinyModel("llama"), options as never))).code).toBe(
      "ERR_INVALID_ARGUMENT",
    );
  });
});

describe("unloading", () => {
  test("of one that is evicted, being loaded, or waited for", async () => {
    await loadMany(ROOM + 2);
    await model.adapters.unload("force1");
    let open!: () => void;
    gate = new Promise((resolve) => (open = resolve));
    const cold = start1(2).result();
    await sleep(20);
    const unloading = model.adapters.unload("force2");
    expect(model.adapters.has("force2")).toBe(false);
    open();
    expect([...(await cold).tokens]).toEqual([2, 2]);
    await unloading;
    expect(model.memory().adapterBytes).toBe(2 * size);
  });

  test("of one whose load goes on though its request has ended: it resolves when that is free, too", async () => {
    await loadMany(ROOM + 1);
    const copies = model.memory().adapterDiskBytes;
    let open!: () => void;
    gate = new Promise((resolve) => (open = resolve));
    const cold = start1(1);
    await sleep(20);
    cold.abort();
    expect((await cold.result()).finishReason).toBe("aborted");
    let unloaded = false;
    const unloading = model.adapters.unload("force1").then(() => (unloaded = true));
    await sleep(20);
    expect(unloaded).toBe(false);
    open();
    await unloading;
    expect(model.memory().adapterBytes).toBe(2 * size);
    expect(model.memory().adapterDiskBytes).toBe((copies / (ROOM + 1)) * ROOM);
  });

  test("a swap while the old version is being loaded", async () => {
    await loadMany(ROOM + 1);
    let open!: () => void;
    gate = new Promise((resolve) => (open = resolve));
    const cold = start1(1).result();
    await sleep(20);
    const swapping = model.adapters.swap("force1", forcingAdapter(model.facts, 9));
    open();
    await swapping;
    expect([...(await cold).tokens]).toEqual([1, 1]);
    const { tokens } = await model.generate(prompt, { adapter: "force1", maxTokens: 2 }).result();
    expect([...tokens]).toEqual([9, 9]);
  });
});
