/** Swapping and unloading while requests run: the version of a request is the one it began with. */
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { loadModel, type Generation, type GenerationPart, type Model } from "#lib/index.js";
import {
  failureOf,
  sameBits,
  someTokens,
  tinyAdapter,
  tinyModel,
  untilIdle,
} from "../generate/tiny-models.js";
import { forcingAdapter, pairAdapter } from "./forcing-adapter.js";

const prompt = { tokens: [1, 2, 3] };
const endless = { maxTokens: 2 ** 31 - 1 };
let model: Model;
beforeAll(async () => {
  model = await loadModel(tinyModel("llama"), { threads: 1, contextLength: 2 ** 20 });
});
afterAll(() => model?.dispose());
afterEach(async () => {
  await untilIdle(model);
  for (const { name } of model.adapters.list()) await model.adapters.unload(name);
  expect(model.memory().adapterBytes).toBe(0);
});

const load = (name: string, token: number): Promise<unknown> =>
  model.adapters.load(name, forcingAdapter(model.facts, token));
const swap = (name: string, token: number): Promise<unknown> =>
  model.adapters.swap(name, forcingAdapter(model.facts, token));
const tokensWith = async (adapter: string): Promise<number[]> => [
  ...(await model.generate(prompt, { adapter, maxTokens: 3 }).result()).tokens,
];

/** A generation that goes on until it is told to stop, read part by part. */
class Running {
  readonly generation: Generation;
  readonly #parts: AsyncIterator<GenerationPart>;
  constructor(adapter: string) {
    this.generation = model.generate(prompt, { adapter, ...endless });
    this.#parts = this.generation[Symbol.asyncIterator]();
  }
  /** Reads until `count` more tokens have come. */
  async next(count: number): Promise<number[]> {
    const tokens: number[] = [];
    while (tokens.length < count) tokens.push(...((await this.#parts.next()).value as GenerationPart).tokens);
    return tokens;
  }
  async end(): Promise<number[]> {
    this.generation.abort();
    return [...(await this.generation.result()).tokens];
  }
}

describe("swap", () => {
  test("a running request finishes on its version, the next has the new one", async () => {
    await load("a", 5);
    const running = new Running("a");
    expect(await running.next(3)).toEqual([5, 5, 5]);
    expect(model.adapters.get("a")).toMatchObject({ generation: 1, users: 1 });
    await swap("a", 9);
    expect(model.adapters.get("a")).toMatchObject({ generation: 2, users: 0 });
    expect(await tokensWith("a")).toEqual([9, 9, 9]);
    const seen = (await running.next(20)).concat(await running.end());
    expect(new Set(seen)).toEqual(new Set([5]));
  });

  test("a call takes the version of its time, though it is computed later", async () => {
    await load("a", 5);
    await load("b", 9);
    const before = model.generate(prompt, { adapter: "a", maxTokens: 2 });
    const swapped = model.adapters.swap("a", { name: "b" });
    const after = model.generate(prompt, { adapter: "a", maxTokens: 2 });
    await swapped;
    expect([...(await before.result()).tokens]).toEqual([5, 5]);
    expect([...(await after.result()).tokens]).toEqual([9, 9]);
    const score = model.score(prompt, { tokens: [9] }, { adapter: "a" });
    const logits = model.logits([1], { adapter: "a" });
    const unloading = [model.adapters.unload("a"), model.adapters.unload("b")];
    expect((await score).logprob).toBeGreaterThan(-1e-3);
    expect((await logits).logits[9]).toBeGreaterThan(1e3);
    await Promise.all(unloading);
  });

  test("memory of a version lasts as long as a request or a name holds it", async () => {
    await load("a", 5);
    const one = model.memory().adapterBytes;
    const running = new Running("a");
    await running.next(1);
    await swap("a", 9);
    expect(model.memory().adapterBytes).toBe(2 * one);
    await running.end();
    await untilIdle(model);
    expect(model.memory().adapterBytes).toBe(one);
    await load("b", 7);
    await model.adapters.swap("b", { name: "a" });
    expect(model.memory().adapterBytes).toBe(one);
    await model.adapters.unload("a");
    expect(await tokensWith("b")).toEqual([9, 9, 9]);
  });

  test("expectedGeneration finds that somebody was faster, and leaves all as it was", async () => {
    await load("a", 5);
    const options = { expectedGeneration: 1 };
    const source = forcingAdapter(model.facts, 6);
    expect(await model.adapters.swap("a", source, options)).toMatchObject({ generation: 2 });
    const bytes = model.memory().adapterBytes;
    for (const target of [forcingAdapter(model.facts, 8), { name: "a" }]) {
      const error = await failureOf(() => model.adapters.swap("a", target, options));
      expect(error).toMatchObject({ code: "ERR_ADAPTER_CONFLICT", details: { expected: 1, generation: 2 } });
    }
    expect(await tokensWith("a")).toEqual([6, 6, 6]);
    expect(model.memory().adapterBytes).toBe(bytes);
  });

  test("a failed swap leaves all as it was", async () => {
    await load("a", 5);
    const before = model.adapters.list();
    const { weights, config } = forcingAdapter(model.facts, 9);
    for (const source of [
      { weights: weights.subarray(0, weights.length - 1), config },
      "/nowhere",
      null as never,
      5 as never,
      { name: 5 } as never,
      tinyAdapter("qwen2"),
    ])
      await failureOf(() => model.adapters.swap("a", source));
    expect(model.adapters.list()).toEqual(before);
    expect(await tokensWith("a")).toEqual([5, 5, 5]);
  });

  test("1,000 swaps leave the base weights untouched, and of a loaded adapter take no memory", async () => {
    const tokens = someTokens(40, 1);
    const { logits } = await model.logits(tokens);
    const checksum = await model.checksum();
    const sources = [
      pairAdapter(model.facts, 8, 1),
      pairAdapter(model.facts, 4, 2),
      forcingAdapter(model.facts, 4),
    ];
    for (const [i, source] of sources.entries()) await model.adapters.load(`v${i}`, source);
    await load("a", 5);
    await model.adapters.swap("a", { name: "v2" });
    const { adapterBytes } = model.memory();
    for (let i = 0; i < 999; i++) await model.adapters.swap("a", { name: `v${i % 3}` });
    expect(model.memory().adapterBytes).toBe(adapterBytes);
    expect(model.adapters.get("a").generation).toBe(1001);
    for (let i = 0; i < 30; i++) {
      await model.adapters.swap("a", sources[i % 3]!);
      await tokensWith("a");
    }
    expect(await model.checksum()).toBe(checksum);
    expect(sameBits((await model.logits(tokens)).logits, logits)).toBe(true);
  });
});

describe("unload", () => {
  test("waits for the requests that run with it; meanwhile the name is gone", async () => {
    await load("a", 5);
    const running = new Running("a");
    await running.next(1);
    let done = false;
    const unloading = model.adapters.unload("a").then(() => (done = true));
    await sleep(20);
    expect(done).toBe(false);
    expect(model.adapters.has("a")).toBe(false);
    expect((await failureOf(() => tokensWith("a"))).code).toBe("ERR_ADAPTER_NOT_FOUND");
    expect(new Set(await running.next(10))).toEqual(new Set([5]));
    await running.end();
    await unloading;
    expect(model.memory().adapterBytes).toBe(0);
  });

  test("or refuses, as asked", async () => {
    await load("a", 5);
    const running = new Running("a");
    await running.next(1);
    const error = await failureOf(() => model.adapters.unload("a", { wait: false }));
    expect(error.code).toBe("ERR_ADAPTER_IN_USE");
    expect(await tokensWith("a")).toEqual([5, 5, 5]);
    await running.end();
    await untilIdle(model);
    await model.adapters.unload("a", { wait: false });
    expect(model.adapters.list()).toEqual([]);
  });

  test("two at once: the second finds nothing", async () => {
    await load("a", 5);
    const [first, second] = await Promise.allSettled([
      model.adapters.unload("a"),
      model.adapters.unload("a"),
    ]);
    expect(first.status).toBe("fulfilled");
    expect(second).toMatchObject({ reason: { code: "ERR_ADAPTER_NOT_FOUND" } });
  });
});

describe("several adapters", () => {
  test("under a churn of swaps every request has one version from its first token to its last", async () => {
    await load("a", 5);
    let stop = false;
    const churn = (async () => {
      for (let i = 0; !stop; i++) {
        await swap("a", i % 2 === 0 ? 9 : 5);
        await sleep(1);
      }
    })();
    const seen = new Set<number>();
    for (let round = 0; round < 12; round++) {
      const results = await Promise.all(
        Array.from({ length: 6 }, () => model.generate(prompt, { adapter: "a", maxTokens: 12 }).result()),
      );
      for (const { tokens } of results) {
        expect(new Set(tokens).size).toBe(1);
        seen.add(tokens[0]!);
      }
      await sleep(2);
    }
    stop = true;
    await churn;
    expect([...seen].sort()).toEqual([5, 9]);
  });

  test("on one request add up, at their scales; the strongest wins", async () => {
    await load("five", 5);
    await load("nine", 9);
    const choose = async (five: number, nine: number): Promise<number> => {
      const adapter = [
        { name: "five", scale: five },
        { name: "nine", scale: nine },
      ];
      return (await model.generate(prompt, { adapter, maxTokens: 1 }).result()).tokens[0]!;
    };
    expect(await choose(1, 0.9)).toBe(5);
    expect(await choose(0.9, 1)).toBe(9);
    expect(await choose(-1, 0.01)).toBe(9);
    const none = await model.generate(prompt, { maxTokens: 1 }).result();
    expect(await choose(0, 0)).toBe(none.tokens[0]);
    expect(await model.generate(prompt, { adapter: [], maxTokens: 1 }).result()).toMatchObject({
      tokens: none.tokens,
    });
  });

  test("a scale of 0 is the base, bit for bit; twice the same adapter is its double", async () => {
    await model.adapters.load("pair", pairAdapter(model.facts, 4, 3));
    const tokens = someTokens(30, 2);
    const base = await model.logits(tokens);
    const zero = await model.logits(tokens, { adapter: { name: "pair", scale: 0 } });
    expect(sameBits(zero.logits, base.logits)).toBe(true);
    const double = await model.logits(tokens, { adapter: { name: "pair", scale: 2 } });
    const twice = await model.logits(tokens, { adapter: ["pair", "pair"] });
    let difference = 0;
    double.logits.forEach(
      (logit, i) => (difference = Math.max(difference, Math.abs(logit - twice.logits[i]!))),
    );
    expect(difference).toBeLessThan(0.1);
    expect(sameBits(double.logits, base.logits)).toBe(false);
  });
});
