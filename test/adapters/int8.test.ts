/** A and B in int8: the option, its facts, and what it changes of the answers, with SmolLM2 and its demo adapters and with tiny models. */
import { readFileSync } from "node:fs";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { loadModel, type AdapterSelection, type Model } from "#lib/index.js";
import {
  failureOf,
  sameBits,
  someTokens,
  tinyAdapter,
  tinyModel,
  untilIdle,
} from "../generate/tiny-models.js";
import { pairAdapter } from "./forcing-adapter.js";

const unloadAll = async (model: Model): Promise<void> => {
  await untilIdle(model);
  for (const { name } of model.adapters.list()) await model.adapters.unload(name);
  expect(model.memory().adapterBytes).toBe(0);
};

describe("the option", () => {
  const folder = tinyModel("llama");
  const tokens = someTokens(20, 1);
  let model: Model;
  beforeAll(async () => {
    model = await loadModel(folder, { threads: 1 });
  });
  afterAll(() => model?.dispose());
  afterEach(() => unloadAll(model));
  const logits = async (adapter: AdapterSelection): Promise<Float32Array> =>
    (await model.logits(tokens, { adapter })).logits;

  test("says what A and B are kept in, and their bytes", async () => {
    const { adapters } = model;
    const bfloat16 = await adapters.load("bfloat16", tinyAdapter("plain"));
    const int8 = await adapters.load("int8", tinyAdapter("plain"), { precision: "int8" });
    expect([bfloat16.precision, int8.precision]).toEqual(["bfloat16", "int8"]);
    // Half, and a float32 for each rank of each module.
    expect(int8.bytes).toBeGreaterThan(0.5 * bfloat16.bytes);
    expect(int8.bytes).toBeLessThan(0.6 * bfloat16.bytes);
    expect(model.memory().adapterBytes).toBe(bfloat16.bytes + int8.bytes);
    expect(int8.contentHash).toBe(bfloat16.contentHash);
    expect(await adapters.load("named", tinyAdapter("plain"), { precision: "bfloat16" })).toMatchObject({
      precision: "bfloat16",
      bytes: bfloat16.bytes,
    });
  });

  test("has a default for the model", async () => {
    await using int8 = await loadModel(folder, { threads: 1, adapterPrecision: "int8" });
    const facts = await int8.adapters.load("a", tinyAdapter("plain"));
    expect(facts.precision).toBe("int8");
    expect(int8.adapters.list()).toEqual([facts]);
    await int8.adapters.load("b", tinyAdapter("plain"), { precision: "bfloat16" });
    expect(int8.adapters.get("b").precision).toBe("bfloat16");
    expect((await int8.adapters.swap("b", tinyAdapter("plain"))).precision).toBe("int8");
  });

  test("is refused where it means nothing", async () => {
    for (const precision of ["float32", "w8-float32"] as const) {
      const failure = await failureOf(() => loadModel(folder, { precision, adapterPrecision: "int8" }));
      expect(failure).toMatchObject({ code: "ERR_INVALID_ARGUMENT" });
      await using reference = await loadModel(folder, { precision, threads: 1 });
      expect(
        await failureOf(() => reference.adapters.load("a", tinyAdapter("plain"), { precision: "int8" })),
      ).toMatchObject({ code: "ERR_INVALID_ARGUMENT" });
      expect((await reference.adapters.load("a", tinyAdapter("plain"))).precision).toBe("float32");
    }
    const { adapters } = model;
    for (const value of ["int4", "float32", 8, null]) {
      const options = { precision: value as "int8" };
      expect(await failureOf(() => adapters.load("a", tinyAdapter("plain"), options))).toMatchObject({
        code: "ERR_INVALID_ARGUMENT",
        message: expect.stringContaining("precision") as string,
      });
    }
    await adapters.load("a", tinyAdapter("plain"));
    await adapters.load("b", tinyAdapter("plain"));
    expect(await failureOf(() => adapters.swap("a", { name: "b" }, { precision: "int8" }))).toMatchObject({
      code: "ERR_INVALID_ARGUMENT",
    });
    expect(adapters.get("a")).toMatchObject({ generation: 1, precision: "bfloat16" });
  });

  test("changes the numbers a little, and a swap between both changes them at once", async () => {
    const { adapters } = model;
    const base = await logits([]);
    await adapters.load("a", tinyAdapter("plain"));
    const bfloat16 = await logits("a");
    expect(await adapters.swap("a", tinyAdapter("plain"), { precision: "int8" })).toMatchObject({
      generation: 2,
      precision: "int8",
    });
    const int8 = await logits("a");
    expect(sameBits(int8, bfloat16)).toBe(false);
    const distance = (a: Float32Array, b: Float32Array): number =>
      Math.sqrt(a.reduce((sum, value, i) => sum + (value - b[i]!) ** 2, 0));
    expect(distance(int8, bfloat16)).toBeLessThan(0.1 * distance(bfloat16, base));
    await adapters.swap("a", tinyAdapter("plain"), { precision: "bfloat16" });
    expect(sameBits(await logits("a"), bfloat16)).toBe(true);
  });

  test("goes with a version: through generations, by content hash, and back from disk", async () => {
    await using small = await loadModel(folder, { threads: 1, adapterMemory: 40_000 });
    const { adapters } = small;
    const { contentHash } = await adapters.load("a", tinyAdapter("plain"));
    const wanted = { version: contentHash };
    expect((await failureOf(() => adapters.swap("a", wanted, { precision: "int8" }))).code).toBe(
      "ERR_ADAPTER_NOT_FOUND",
    );
    await adapters.swap("a", tinyAdapter("plain"), { precision: "int8" });
    expect(await adapters.rollback("a")).toMatchObject({ generation: 3, precision: "bfloat16" });
    expect(adapters.history("a").map(({ precision }) => precision)).toEqual(["bfloat16", "int8", "bfloat16"]);
    expect((await adapters.swap("a", wanted, { precision: "int8" })).precision).toBe("int8");
    const logitsOf = async (): Promise<Float32Array> => (await small.logits(tokens, { adapter: "a" })).logits;
    const before = await logitsOf();
    for (let i = 0; adapters.get("a").state === "resident"; i++)
      await adapters.load(`filler ${i}`, pairAdapter(small.facts, 8, i));
    expect(adapters.get("a")).toMatchObject({ state: "evicted", precision: "int8" });
    expect(sameBits(await logitsOf(), before)).toBe(true);
    expect(adapters.get("a")).toMatchObject({ state: "resident", precision: "int8" });
  });

  test("tells what the prefix cache keeps of one file in both formats apart", async () => {
    await model.adapters.load("bfloat16", tinyAdapter("plain"));
    await model.adapters.load("int8", tinyAdapter("plain"), { precision: "int8" });
    const prompt = { tokens: someTokens(100, 2) };
    const cachedWith = async (adapter: string): Promise<number> =>
      (await model.generate(prompt, { adapter, maxTokens: 1 }).result()).usage.cachedTokens;
    expect(await cachedWith("bfloat16")).toBe(0);
    expect(await cachedWith("int8")).toBe(0);
    expect(await cachedWith("bfloat16")).toBeGreaterThan(0);
    expect(await cachedWith("int8")).toBeGreaterThan(0);
  });

  test("holds for every kind of adapter: DoRA, patterns, biases, tables", async () => {
    for (const name of ["dora", "patterns", "activated", "saved-head-of-tied"]) {
      await model.adapters.load("bfloat16", tinyAdapter(name));
      await model.adapters.load("int8", tinyAdapter(name), { precision: "int8" });
      const [a, b] = [await logits("bfloat16"), await logits("int8")];
      const largest = Math.max(...a.map(Math.abs));
      expect(Math.max(...a.map((value, i) => Math.abs(value - b[i]!)))).toBeLessThan(0.05 * largest);
      await unloadAll(model);
    }
  });

  test("requests in both formats, mixed and without, run in one batch to the same bits as alone", async () => {
    await model.adapters.load("bfloat16", tinyAdapter("plain"));
    await model.adapters.load("int8", tinyAdapter("plain"), { precision: "int8" });
    await model.adapters.load("rank 17", tinyAdapter("patterns"), { precision: "int8" });
    const selections: AdapterSelection[] = [
      [],
      "int8",
      "bfloat16",
      ["int8", { name: "rank 17", scale: -0.5 }],
      [{ name: "bfloat16", scale: 0.25 }, "int8"],
    ];
    const alone = [];
    for (const adapter of selections) alone.push(await logits(adapter));
    const together = await Promise.all(selections.map(logits));
    for (const [i, one] of alone.entries()) expect(sameBits(together[i]!, one)).toBe(true);
  });
});

describe("SmolLM2 with its demo adapters", () => {
  const folder = (name: string): string =>
    new URL(`../../examples/adapters/${name}`, import.meta.url).pathname;
  const { prompts } = JSON.parse(readFileSync(folder("demo-prompts.json"), "utf8")) as {
    prompts: { message: string }[];
  };
  const NAMES = ["order-json", "maintenance-report"];
  let model: Model;
  beforeAll(async () => {
    model = await loadModel("smollm2-135m-instruct");
    for (const name of NAMES) {
      await model.adapters.load(name, folder(name));
      await model.adapters.load(`${name} int8`, folder(name), { precision: "int8" });
    }
  });
  afterAll(() => model?.dispose());

  /** Of all positions: the mean of KL(a || b) in nats, and the share of equal most likely tokens. */
  async function compare(a: AdapterSelection, b: AdapterSelection): Promise<{ kl: number; agree: number }> {
    let [divergence, agreed, positions] = [0, 0, 0];
    for (const { message } of prompts) {
      const tokens = [...(await model.tokenize(message))];
      const [p, q] = [await model.logits(tokens, { adapter: a }), await model.logits(tokens, { adapter: b })];
      const size = p.vocabularySize;
      for (let row = 0; row < tokens.length; row++) {
        const [x, y] = [p, q].map(({ logits }) => logits.subarray(row * size, (row + 1) * size));
        const [maxX, maxY] = [x!, y!].map((logits) => logits.reduce((max, value) => Math.max(max, value)));
        let [sumX, sumY, cross] = [0, 0, 0];
        for (let i = 0; i < size; i++) {
          const weight = Math.exp(x![i]! - maxX!);
          sumX += weight;
          sumY += Math.exp(y![i]! - maxY!);
          cross += weight * (x![i]! - maxX! - (y![i]! - maxY!));
        }
        divergence += cross / sumX - Math.log(sumX) + Math.log(sumY);
        if (x!.indexOf(maxX!) === y!.indexOf(maxY!)) agreed++;
        positions++;
      }
    }
    return { kl: divergence / positions, agree: agreed / positions };
  }

  test.each(NAMES)("%s: int8 stays close to bfloat16", { timeout: 120_000 }, async (name) => {
    const { kl, agree } = await compare(name, `${name} int8`);
    expect(kl).toBeLessThan(0.004);
    expect(agree).toBeGreaterThan(0.96);
  });

  test("a composition of both formats stays close to one of bfloat16", { timeout: 120_000 }, async () => {
    const [first, second] = [
      { name: "order-json", scale: 0.5 },
      { name: "maintenance-report", scale: 0.5 },
    ];
    const { kl, agree } = await compare(
      [first, second],
      [first, { ...second, name: "maintenance-report int8" }],
    );
    expect(kl).toBeLessThan(0.004);
    expect(agree).toBeGreaterThan(0.96);
  });

  test("answers the demo prompts as bfloat16 does", { timeout: 120_000 }, async () => {
    const answer = async (message: string, adapter: string): Promise<string> =>
      (await model.chat([{ role: "user", content: message }], { adapter, maxTokens: 80 }).result()).text;
    const equal = await Promise.all(
      prompts.flatMap(({ message }) =>
        NAMES.map(async (name) => {
          const [a, b] = await Promise.all([answer(message, name), answer(message, `${name} int8`)]);
          return a === b;
        }),
      ),
    );
    // A near-tie may fall either way.
    expect(equal.filter(Boolean).length).toBeGreaterThanOrEqual(0.8 * equal.length);
  });
});
