/** Ways to end a generation early, and where its errors go. */
import { getEventListeners } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { loadModel, type Generation, type GenerationPart, type Model } from "#lib/index.js";
import { failureOf, someTokens, tinyModel, untilIdle } from "./tiny-models.js";

const prompt = { tokens: someTokens(10, 1) };
/** Would take hours. */
const endless = { maxTokens: 2 ** 31 - 1 };
let model: Model;
const unhandled: unknown[] = [];
const onUnhandled = (reason: unknown): void => void unhandled.push(reason);

beforeAll(async () => {
  process.on("unhandledRejection", onUnhandled);
  model = await loadModel(tinyModel("llama"), { threads: 1, contextLength: 2 ** 20, maxSequences: 2 });
});
afterAll(async () => {
  await model?.dispose();
  process.off("unhandledRejection", onUnhandled);
});
afterEach(async () => {
  await untilIdle(model);
  await sleep(0);
  expect(unhandled).toEqual([]);
});

async function parts(generation: Generation): Promise<GenerationPart[]> {
  const seen: GenerationPart[] = [];
  for await (const part of generation) seen.push(part);
  return seen;
}

describe("AbortSignal", () => {
  test("aborted before: nothing runs", async () => {
    const signal = AbortSignal.abort(new Error("no need"));
    const generation = model.generate(prompt, { ...endless, signal });
    expect(model.activeRequests).toBe(0);
    const result = await generation.result();
    expect(result).toMatchObject({ finishReason: "aborted", text: "", usage: { completionTokens: 0 } });
    const error = await failureOf(() => parts(generation));
    expect(error.code).toBe("ERR_ABORTED");
    expect((error.cause as Error).message).toBe("no need");
  });

  test("while it runs: the loop throws, result() tells what was generated", async () => {
    const controller = new AbortController();
    const generation = model.generate(prompt, { ...endless, signal: controller.signal });
    const seen: number[] = [];
    const error = await failureOf(async () => {
      for await (const part of generation) {
        seen.push(...part.tokens);
        if (seen.length >= 5) controller.abort();
      }
    });
    expect(error.code).toBe("ERR_ABORTED");
    const result = await generation.result();
    expect(result.finishReason).toBe("aborted");
    expect([...result.tokens]).toEqual(seen);
    expect(getEventListeners(controller.signal, "abort")).toHaveLength(0);
  });

  test("in the same turn as the call, and while others fill the engine", async () => {
    const running = [1, 2].map(() => model.generate(prompt, endless));
    const controller = new AbortController();
    const queued = model.generate(prompt, { ...endless, signal: controller.signal });
    const early = new AbortController();
    const atOnce = model.generate(prompt, { ...endless, signal: early.signal });
    early.abort();
    expect((await atOnce.result()).finishReason).toBe("aborted");
    await sleep(20);
    controller.abort();
    const result = await queued.result();
    expect(result).toMatchObject({ finishReason: "aborted", usage: { completionTokens: 0 } });
    for (const generation of running) generation.abort();
    for (const generation of running) expect((await generation.result()).finishReason).toBe("aborted");
  });

  test("after the end it changes nothing", async () => {
    const controller = new AbortController();
    const generation = model.generate(prompt, { maxTokens: 3, signal: controller.signal });
    await generation.result();
    controller.abort();
    expect((await generation.result()).finishReason).toBe("length");
    expect(await parts(generation)).toHaveLength(3);
  });

  test("score and logits reject", async () => {
    const tokens = someTokens(20_000, 1);
    for (const when of ["before", "while"]) {
      const controller = new AbortController();
      const { signal } = controller;
      if (when === "before") controller.abort();
      const both = [
        failureOf(() => model.logits(tokens, { signal, from: 19_990 })),
        failureOf(() => model.score({ tokens }, { tokens: [1] }, { signal })),
      ];
      if (when === "while") setTimeout(() => controller.abort(), 5);
      for (const error of await Promise.all(both)) expect(error.code).toBe("ERR_ABORTED");
      expect(getEventListeners(signal, "abort")).toHaveLength(0);
    }
  });
});

describe("leaving the loop", () => {
  test("frees the sequence: the engine is idle again, and only the prefix cache keeps pages", async () => {
    for (let round = 0; round < 20; round++) {
      const generation = model.generate({ tokens: someTokens(100, round) }, endless);
      let count = 0;
      for await (const part of generation) if ((count += part.tokens.length) >= 3) break;
      expect((await generation.result()).finishReason).toBe("aborted");
      await untilIdle(model);
      const { usedBytes, idleBytes, budgetBytes } = model.statistics().kvCache;
      expect(usedBytes).toBe(0);
      expect(idleBytes).toBeGreaterThan(0);
      expect(idleBytes).toBeLessThanOrEqual(budgetBytes);
    }
  });

  test("by an exception of its own", async () => {
    const generation = model.generate(prompt, endless);
    const own = (async () => {
      for await (const part of generation) throw new Error(`own ${part.tokens.length}`);
    })();
    await expect(own).rejects.toThrow("own 1");
    expect((await generation.result()).finishReason).toBe("aborted");
  });

  test("abort() ends it without an error in the loop", async () => {
    const generation = model.generate(prompt, endless);
    let count = 0;
    for await (const part of generation) if ((count += part.tokens.length) >= 2) generation.abort();
    expect((await generation.result()).finishReason).toBe("aborted");
  });
});

describe("loop and result()", () => {
  test("in any order", async () => {
    const first = model.generate(prompt, { maxTokens: 5 });
    const result = await first.result();
    const late = await parts(first);
    expect(late.flatMap(({ tokens }) => tokens)).toEqual([...result.tokens]);

    const second = model.generate(prompt, { maxTokens: 5 });
    const [both, seen] = await Promise.all([second.result(), parts(second)]);
    expect(seen.flatMap(({ tokens }) => tokens)).toEqual([...both.tokens]);
    expect([...both.tokens]).toEqual([...result.tokens]);
    expect(second.result()).toBe(second.result());
  });

  test("one loop only", async () => {
    const generation = model.generate(prompt, { maxTokens: 2 });
    await parts(generation);
    expect((await failureOf(() => parts(generation))).code).toBe("ERR_INVALID_ARGUMENT");
  });

  test("an error reaches both, and nobody has to listen", async () => {
    const failing = (): Generation => model.generate(prompt, { adapter: "not-there" });
    failing();
    const result = failing();
    expect((await failureOf(() => result.result())).code).toBe("ERR_ADAPTER_NOT_FOUND");
    const loop = failing();
    expect((await failureOf(() => parts(loop))).code).toBe("ERR_ADAPTER_NOT_FOUND");
    expect((await failureOf(() => loop.result())).code).toBe("ERR_ADAPTER_NOT_FOUND");
    await sleep(20);
  });

  test("an error does not touch the requests beside it", async () => {
    const good = model.generate(prompt, { maxTokens: 20 });
    const bad = model.generate({ tokens: [] }, {});
    expect((await failureOf(() => bad.result())).code).toBe("ERR_INVALID_ARGUMENT");
    expect((await good.result()).tokens).toHaveLength(20);
  });
});
