/** loadModel: its options, progress, abort, and what the loaded model tells of itself. */
import { getEventListeners } from "node:events";
import { describe, expect, test } from "vitest";
import { instructionSets, loadModel, type LoadModelOptions, type LoadProgress } from "#lib/index.js";
import { failureOf, tinyGguf, tinyModel } from "../generate/tiny-models.js";

const folder = tinyModel("llama");
const prompt = { tokens: [1, 2, 3] };

describe("options", () => {
  const NO_INTEGERS = [0, -1, 1.5, NaN, Infinity, "1", null, {}];
  const table: Record<string, unknown[]> = {
    device: ["gpu", 1, null, "CPU", "", "cuda:", "cuda:-1", "cuda:x", "cuda:1.5", "cuda: 1", "cuda:99999"],
    precision: ["int4", "INT8", 8, null],
    threads: [...NO_INTEGERS, 257],
    contextLength: [...NO_INTEGERS, 2 ** 24 + 1],
    maxSequences: [...NO_INTEGERS, 1025],
    deviceAdapterMemory: [0, -1, 1.5, NaN, 2 ** 53, "1", null],
    kvCache: ["float32", "", 8, null, true],
    onProgress: [1, "x", {}, null],
    signal: [1, {}, null, new AbortController()],
    contextlength: [100],
  };
  const cases = Object.entries(table).flatMap(([name, values]) =>
    values.map((value): [string, unknown] => [name, value]),
  );
  test.each(cases)("%s: %o", async (name, value) => {
    const error = await failureOf(() => loadModel(folder, { [name]: value } as LoadModelOptions));
    expect(error.code).toBe("ERR_INVALID_ARGUMENT");
    expect(error.message).toMatch(/^Expected .+ for .+, received .+\./s);
    expect(error.message).toContain(name);
  });

  test.each([[null], [5], ["x"], [[]]])("options %o", async (options) => {
    expect((await failureOf(() => loadModel(folder, options as never))).code).toBe("ERR_INVALID_ARGUMENT");
  });

  test.each([[undefined], [null], [5], [""], [{}]])("name %o", async (name) => {
    expect((await failureOf(() => loadModel(name as never))).code).toBe("ERR_INVALID_ARGUMENT");
  });

  test("a context and a number of sequences beyond all memory is refused, or costs nothing until it is used", async () => {
    try {
      await using model = await loadModel(folder, { contextLength: 2 ** 24, maxSequences: 1024, threads: 1 });
      expect((await model.generate(prompt, { maxTokens: 2 }).result()).tokens).toHaveLength(2);
      expect(model.memory().kvCacheBytes).toBeLessThan(2 ** 20);
    } catch (error) {
      expect(error).toMatchObject({ code: "ERR_OUT_OF_MEMORY" });
    }
  });
});

test("an int8 KV cache is refused in the reference modes, and tells of itself", async () => {
  for (const precision of ["float32", "w8-float32"] as const)
    expect((await failureOf(() => loadModel(folder, { precision, kvCache: "int8" }))).code).toBe(
      "ERR_INVALID_ARGUMENT",
    );
  await using float32 = await loadModel(folder, { precision: "float32" });
  await using bfloat16 = await loadModel(folder);
  await using int8 = await loadModel(folder, { kvCache: "int8" });
  expect([float32, bfloat16, int8].map(({ facts }) => facts.kvCache)).toEqual([
    "float32",
    "bfloat16",
    "int8",
  ]);
  expect(int8.facts.kvBytesPerToken).toBeLessThan(0.7 * bfloat16.facts.kvBytesPerToken);
});

describe("facts", () => {
  test("are those of the model and of how it was loaded", async () => {
    await using model = await loadModel(folder, { threads: 2, contextLength: 128, maxSequences: 3 });
    expect(model.name).toBe("llama");
    expect(model.facts).toMatchObject({
      architecture: "llama",
      hiddenSize: 64,
      intermediateSize: 172,
      layers: 2,
      heads: 4,
      kvHeads: 2,
      headDim: 16,
      vocabularySize: 272,
      contextLength: 128,
      trainedContextLength: 1024,
      maxSequences: 3,
      tiedEmbeddings: true,
      layerNorms: ["input_layernorm", "post_attention_layernorm"],
      precision: "int8",
      backend: "cpu",
      threads: 2,
      // Keys and values of 2 layers x 2 heads x 16, in bfloat16.
      kvBytesPerToken: 2 * 2 * 2 * 16 * 2,
    });
    const wanted = process.env["LOWRANK_ISA"] ?? instructionSets().find(({ available }) => available)!.name;
    expect(model.facts.instructionSet).toBe(wanted);
    const memory = model.memory();
    expect(memory.weightBytes).toBe(model.facts.weightBytes);
    expect(memory.weightBytes).toBeGreaterThan(model.facts.parameters);
    expect(memory).toMatchObject({ adapterBytes: 0, kvCacheBytes: 0 });
    expect(memory.scratchBytes).toBeGreaterThan(0);
  });

  test("defaults: the trained context, eight sequences", async () => {
    await using model = await loadModel(folder);
    expect(model.facts).toMatchObject({ contextLength: 1024, maxSequences: 8 });
    expect(model.facts.threads).toBeGreaterThan(0);
  });

  test("two loads of one model are equal, two precisions are not", async () => {
    const sums: bigint[] = [];
    for (const precision of ["int8", "int8", "float32"] as const) {
      await using model = await loadModel(folder, { precision, threads: 1 });
      sums.push(await model.checksum());
    }
    expect(sums[1]).toBe(sums[0]);
    expect(sums[2]).not.toBe(sums[0]);
  });

  test("an unknown instruction set is refused by its name", async () => {
    const before = process.env["LOWRANK_ISA"];
    process.env["LOWRANK_ISA"] = "mmx";
    try {
      const error = await failureOf(() => loadModel(folder));
      expect(error.code).toBe("ERR_BACKEND_UNAVAILABLE");
      expect(error.message).toContain("mmx");
    } finally {
      if (before === undefined) delete process.env["LOWRANK_ISA"];
      else process.env["LOWRANK_ISA"] = before;
    }
  });
});

test.each(["0", "100", "512", "64 ", "x"])("LOWRANK_SCALE_GROUP=%s is refused", async (group) => {
  process.env["LOWRANK_SCALE_GROUP"] = group;
  try {
    const error = await failureOf(() => loadModel(folder));
    expect(error.code).toBe("ERR_INVALID_ARGUMENT");
    expect(error.message).toContain(`Expected 64, 128 or 256 for LOWRANK_SCALE_GROUP, received "${group}".`);
  } finally {
    delete process.env["LOWRANK_SCALE_GROUP"];
  }
});

describe("progress", () => {
  test("goes up to the whole", async () => {
    const seen: LoadProgress[] = [];
    await using model = await loadModel(folder, { onProgress: (progress) => seen.push(progress) });
    const loads = seen.filter((progress) => progress.stage === "load");
    expect(loads.length).toBeGreaterThan(0);
    let last = 0;
    for (const { parameters, totalParameters } of loads) {
      expect(parameters).toBeGreaterThanOrEqual(last);
      expect(totalParameters).toBe(model.facts.parameters);
      last = parameters;
    }
    expect(last).toBe(model.facts.parameters);
  });

  test("what onProgress throws ends the load", async () => {
    const own = new Error("own");
    const load = loadModel(folder, {
      onProgress: ({ stage }) => {
        if (stage === "load") throw own;
      },
    });
    await expect(load).rejects.toBe(own);
  });
});

describe("AbortSignal", () => {
  test("before", async () => {
    const reason = new Error("why");
    const error = await failureOf(() => loadModel(folder, { signal: AbortSignal.abort(reason) }));
    expect(error.code).toBe("ERR_ABORTED");
    expect(error.cause).toBe(reason);
  });

  test.each(["llama", "gguf"])("at any moment of a load (%s)", async (kind) => {
    const path = kind === "gguf" ? tinyGguf("llama-f16.gguf") : folder;
    let aborted = 0;
    for (let delay = 0; delay < 12; delay++) {
      const controller = new AbortController();
      const load = loadModel(path, { signal: controller.signal, threads: 1 });
      if (delay === 0) controller.abort();
      else setTimeout(() => controller.abort(), delay);
      try {
        const model = await load;
        // The signal is for the load alone.
        controller.abort();
        expect((await model.generate(prompt, { maxTokens: 2 }).result()).tokens).toHaveLength(2);
        await model.dispose();
      } catch (error) {
        expect(error).toMatchObject({ code: "ERR_ABORTED" });
        aborted++;
      }
      expect(getEventListeners(controller.signal, "abort")).toHaveLength(0);
    }
    expect(aborted).toBeGreaterThan(0);
  });

  test("when the first weights are there", async () => {
    const controller = new AbortController();
    const load = loadModel(folder, {
      signal: controller.signal,
      onProgress: ({ stage }) => stage === "load" && controller.abort(),
    });
    expect((await failureOf(() => load)).code).toBe("ERR_ABORTED");
  });
});

test("many loads at once", async () => {
  const models = await Promise.all(Array.from({ length: 6 }, () => loadModel(folder, { threads: 1 })));
  const texts = await Promise.all(
    models.map(async (model) => (await model.generate(prompt, { maxTokens: 8 }).result()).tokens.join()),
  );
  expect(new Set(texts).size).toBe(1);
  await Promise.all(models.map((model) => model.dispose()));
});
