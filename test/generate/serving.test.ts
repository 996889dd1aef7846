/** How requests are served among each other: priority, deadlines, the bounded queue, the prefix cache, the accounts. */
import { afterEach, describe, expect, test } from "vitest";
import { loadModel, type GenerationResult, type LoadModelOptions, type Model } from "#lib/index.js";
import { failureOf, sameBits, someTokens, tinyAdapter, tinyModel, untilIdle } from "./tiny-models.js";

let model: Model | undefined;
const load = async (options: LoadModelOptions = {}): Promise<Model> =>
  (model = await loadModel(tinyModel("llama"), { threads: 1, contextLength: 512, ...options }));
afterEach(async () => {
  await model?.dispose();
  model = undefined;
});

const endless = { maxTokens: 60_000, ignoreEndOfText: true } as const;

/** A request that runs until it is ended, with its first token drawn. */
async function occupy(target: Model, options = {}): Promise<{ end: () => Promise<GenerationResult> }> {
  const generation = target.generate({ tokens: [1, 2, 3] }, { ...endless, ...options });
  const parts = generation[Symbol.asyncIterator]();
  await parts.next();
  return {
    end: async () => {
      generation.abort();
      return generation.result();
    },
  };
}

describe("bad options", () => {
  test.each([
    { priority: 1.5 },
    { priority: 101 },
    { timeoutMs: 0 },
    { timeoutMs: NaN },
    { cacheSalt: 3 },
    { cacheSalt: "x".repeat(257) },
    { prefixCache: "yes" },
  ])("%j", async (options) => {
    const target = await load();
    for (const call of [
      () => target.generate({ tokens: [1] }, options as object),
      () => target.logits([1, 2], options as object),
      () => target.score({ tokens: [1] }, { tokens: [2] }, options as object),
    ])
      expect((await failureOf(call)).code).toBe("ERR_INVALID_ARGUMENT");
  });

  test.each([{ kvCacheMemory: 0 }, { maxQueue: -1 }, { maxStepTokens: 0 }])(
    "of loading: %j",
    async (options) => {
      expect((await failureOf(() => load(options))).code).toBe("ERR_INVALID_ARGUMENT");
    },
  );

  test("a KV cache that is too small for one context", async () => {
    const failure = await failureOf(() => load({ kvCacheMemory: 1000 }));
    expect(failure.code).toBe("ERR_OUT_OF_MEMORY");
    expect(failure.message).toContain("contextLength");
  });
});

describe("the queue", () => {
  test("refuses requests beyond its bound, and takes them again later", async () => {
    const target = await load({ maxSequences: 2, maxQueue: 3, contextLength: 1 << 16 });
    const running = [await occupy(target), await occupy(target)];
    const waiting = [1, 2, 3].map((seed) => target.generate({ tokens: [seed] }, { maxTokens: 2 }).result());
    await expect.poll(() => target.statistics().waiting).toBe(3);
    const refused = await failureOf(() => target.generate({ tokens: [9] }, { maxTokens: 2 }).result());
    expect(refused.code).toBe("ERR_QUEUE_FULL");
    expect((await failureOf(() => target.logits([1, 2]))).code).toBe("ERR_QUEUE_FULL");
    for (const one of running) expect((await one.end()).finishReason).toBe("aborted");
    for (const result of await Promise.all(waiting)) expect(result.finishReason).toBe("length");
    expect((await target.generate({ tokens: [9] }, { maxTokens: 2 }).result()).finishReason).toBe("length");
  });

  test("higher priority first, then by arrival", async () => {
    const target = await load({ maxSequences: 1, contextLength: 1 << 16 });
    const running = await occupy(target, { priority: 10 });
    const ended: string[] = [];
    const waiting = Object.entries({ low: -1, first: 0, second: 0, high: 5 }).map(([name, priority]) =>
      target
        .generate({ tokens: [5, 6] }, { maxTokens: 3, priority })
        .result()
        .finally(() => ended.push(name)),
    );
    await expect.poll(() => target.statistics().waiting).toBe(4);
    await running.end();
    await Promise.all(waiting);
    expect(ended).toEqual(["high", "first", "second", "low"]);
  });

  test("a running request of less priority gives way, goes on later and gets the same text", async () => {
    const target = await load({ maxSequences: 1, contextLength: 1 << 16 });
    const request = (maxTokens: number, priority: number): Promise<GenerationResult> =>
      target.generate({ tokens: [5, 6] }, { maxTokens, priority, ignoreEndOfText: true }).result();
    const low = request(2500, -1);
    await expect.poll(() => target.statistics().active).toBe(1);
    await request(3, 0);
    expect(target.activeRequests).toBe(1);
    expect(target.statistics().preemptions).toBe(1);
    const { tokens } = await low;
    expect(tokens).toEqual((await request(2500, 0)).tokens);
  });
});

describe("deadlines", () => {
  test("a request that takes too long fails; the others go on", async () => {
    const target = await load({ maxSequences: 2, contextLength: 1 << 16 });
    const other = await occupy(target);
    const seen: number[] = [];
    const failure = await failureOf(async () => {
      for await (const part of target.generate({ tokens: [1] }, { ...endless, timeoutMs: 30 }))
        seen.push(...part.tokens);
    });
    expect(failure.code).toBe("ERR_TIMEOUT");
    expect(seen.length).toBeGreaterThan(0);
    expect((await other.end()).finishReason).toBe("aborted");
    await untilIdle(target);
    expect(target.statistics().kvCache.usedBytes).toBe(0);
  });

  test("of a request that waits, too", async () => {
    const target = await load({ maxSequences: 1, contextLength: 1 << 16 });
    const running = await occupy(target);
    expect((await failureOf(() => target.logits([1, 2], { timeoutMs: 10 }))).code).toBe("ERR_TIMEOUT");
    await running.end();
  });
});

describe("the prefix cache", () => {
  const prompt = someTokens(200, 3);
  const cached = async (target: Model, options = {}, tokens = prompt): Promise<number> =>
    (await target.generate({ tokens }, { maxTokens: 2, ...options }).result()).usage.cachedTokens;

  test("serves the whole prompt but its last token, and a talk that goes on", async () => {
    const target = await load();
    expect(await cached(target)).toBe(0);
    expect(await cached(target)).toBe(199);
    const first = await target
      .generate({ tokens: prompt }, { maxTokens: 20, ignoreEndOfText: true })
      .result();
    const talk = [...prompt, ...first.tokens, 9, 8, 7];
    expect(await cached(target, {}, talk)).toBe(200 + 19);
    expect(target.statistics()).toMatchObject({ promptTokens: 3 * 200 + 223, cachedTokens: 199 + 199 + 219 });
  });

  test("salts, and requests that want none, share nothing", async () => {
    const target = await load();
    expect(await cached(target, { cacheSalt: "a" })).toBe(0);
    expect(await cached(target, { cacheSalt: "b" })).toBe(0);
    expect(await cached(target)).toBe(0);
    expect(await cached(target, { prefixCache: false })).toBe(0);
    expect(await cached(target, { cacheSalt: "a" })).toBe(199);
  });

  test("is never stale: after a swap, under another scale, and back", async () => {
    const target = await load();
    await using fresh = await loadModel(tinyModel("llama"), { threads: 1, contextLength: 512 });
    const right = async (adapter: { name: string; scale?: number }, path: string): Promise<number> => {
      const { logits } = await target.logits(prompt, { adapter, from: 150 });
      await fresh.adapters.load(adapter.name, tinyAdapter(path));
      const alone = await fresh.logits(prompt, { adapter, from: 150, prefixCache: false });
      await fresh.adapters.unload(adapter.name);
      expect(sameBits(logits, alone.logits)).toBe(true);
      return target.statistics().cachedTokens;
    };
    await target.adapters.load("a", tinyAdapter("plain"));
    expect(await right({ name: "a" }, "plain")).toBe(0);
    expect(await right({ name: "a" }, "plain")).toBe(150);
    await target.adapters.swap("a", tinyAdapter("rslora"));
    expect(await right({ name: "a" }, "rslora")).toBe(150);
    expect(await right({ name: "a", scale: 0.5 }, "rslora")).toBe(150);
    // The same content under another name, loaded again, is known.
    await target.adapters.unload("a");
    await target.adapters.load("b", tinyAdapter("plain"));
    expect(await right({ name: "b" }, "plain")).toBe(300);
  });

  test("an activated adapter goes on from what the base computed", async () => {
    const target = await load();
    await target.adapters.load("activated", tinyAdapter("activated"));
    const wakes = target.adapters.get("activated").invocationTokens!;
    const tokens = [...someTokens(150, 4), ...wakes, 1, 2, 3];
    expect(await cached(target, {}, someTokens(170, 4))).toBe(0);
    expect(await cached(target, { adapter: "activated" }, tokens)).toBe(150);
    expect(await cached(target, { adapter: "activated" }, tokens)).toBeGreaterThanOrEqual(150);
    const { logits } = await target.logits(tokens, { adapter: "activated", from: 152 });
    const without = await target.logits(tokens, { adapter: "activated", from: 152, prefixCache: false });
    expect(sameBits(logits, without.logits)).toBe(true);
  });

  test("gives up what nobody uses when memory is wanted, and the accounts add up", async () => {
    const target = await load({ contextLength: 256, kvCacheMemory: 256 * 256 * 4 });
    const page = 32 * target.facts.kvBytesPerToken;
    for (let round = 0; round < 12; round++) {
      await cached(target, {}, someTokens(200, round));
      await untilIdle(target);
      const { budgetBytes, usedBytes, idleBytes } = target.statistics().kvCache;
      expect(usedBytes).toBe(0);
      expect(idleBytes % page).toBe(0);
      expect(idleBytes).toBeLessThanOrEqual(budgetBytes);
      expect(target.memory().kvCacheBytes).toBeGreaterThanOrEqual(idleBytes);
    }
    expect(await cached(target, {}, someTokens(200, 11))).toBe(199);
    expect(await cached(target, {}, someTokens(200, 0))).toBe(0);
  });
});

describe("preemption", () => {
  test("many long answers in little memory: all get what they get alone", async () => {
    const target = await load({ contextLength: 256, maxSequences: 8, kvCacheMemory: 256 * 256 * 2 });
    const request = (seed: number): Promise<GenerationResult> =>
      target
        .generate(
          { tokens: someTokens(40, seed) },
          { maxTokens: 200, temperature: 1, seed, ignoreEndOfText: true },
        )
        .result();
    const together = await Promise.all([0, 1, 2, 3, 4, 5, 6, 7].map(request));
    expect(target.statistics().preemptions).toBeGreaterThan(0);
    for (const [seed, result] of together.entries()) {
      expect(result.finishReason).toBe("length");
      expect(result.tokens).toEqual((await request(seed)).tokens);
    }
  });
});
