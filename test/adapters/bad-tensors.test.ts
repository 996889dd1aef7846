/** Tensors of an adapter that are missing, misshapen, of another base or no numbers: refused by name, and nothing is kept. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { loadModel, type Model } from "#lib/index.js";
import { failureOf, safetensors, tinyAdapter, tinyModel } from "../generate/tiny-models.js";
import {
  moduleName,
  pairAdapter,
  pairConfig,
  pairTensors,
  someValues,
  type Tensors,
} from "./forcing-adapter.js";

let model: Model;
beforeAll(async () => {
  model = await loadModel(tinyModel("llama"), { threads: 1 });
});
afterAll(async () => {
  expect(model.adapters.list()).toEqual([]);
  expect(model.memory().adapterBytes).toBe(0);
  await model.adapters.load("good", pairAdapter(model.facts, 4, 1));
  await model.dispose();
});

const q0 = moduleName(0, "q_proj");
const A = `${q0}.lora_A.weight`;
const B = `${q0}.lora_B.weight`;

async function codeWith(alter: (tensors: Tensors) => void): Promise<string> {
  const tensors = pairTensors(model.facts, 4, 1);
  alter(tensors);
  const source = { config: pairConfig(4), weights: safetensors(tensors) };
  const error = await failureOf(() => model.adapters.load("bad", source));
  expect(error.message).toMatch(/^Expected /);
  return error.code;
}

const resized = (...shape: number[]): Tensors[string] => ({
  shape,
  values: someValues(
    shape.reduce((product, size) => product * size, 1),
    3,
  ),
});

describe("missing", () => {
  test.each<[string, (tensors: Tensors) => void]>([
    ["lora_A of one module", (tensors) => delete tensors[A]],
    ["lora_B of one module", (tensors) => delete tensors[B]],
    ["both halves of one module", (tensors) => [A, B].forEach((name) => delete tensors[name])],
    ["everything", (tensors) => Object.keys(tensors).forEach((name) => delete tensors[name])],
    [
      "every lora_B",
      (tensors) => Object.keys(tensors).forEach((name) => name.includes("_B") && delete tensors[name]),
    ],
  ])("%s", async (_, alter) => {
    expect(await codeWith(alter)).toBe("ERR_ADAPTER_FORMAT");
  });
});

describe("misshapen", () => {
  // hidden size 64, 4 heads of 16, rank 4
  test.each<[string, string, Tensors[string]]>([
    ["A too wide", A, resized(4, 65)],
    ["A too narrow", A, resized(4, 63)],
    ["A turned", A, resized(64, 4)],
    ["A of another rank than B", A, resized(5, 64)],
    ["A of one axis", A, resized(256)],
    ["A of three axes", A, resized(4, 64, 1)],
    ["A of no axis", A, resized()],
    ["A without rows", A, resized(0, 64)],
    ["B too tall", B, resized(65, 4)],
    ["B too short", B, resized(32, 4)],
    ["B of another rank than A", B, resized(64, 5)],
    ["B turned", B, resized(4, 64)],
    ["B without columns", B, resized(64, 0)],
    ["a rank above all bounds", A, resized(9000, 64)],
  ])("%s", async (_, name, tensor) => {
    expect(await codeWith((tensors) => (tensors[name] = tensor))).toBe("ERR_ADAPTER_SHAPE");
  });

  test("both halves of a rank that the configuration does not have", async () => {
    const code = await codeWith((tensors) => {
      tensors[A] = resized(5, 64);
      tensors[B] = resized(64, 5);
    });
    expect(code).toBe("ERR_ADAPTER_SHAPE");
  });
});

describe("no numbers", () => {
  test.each([NaN, Infinity, -Infinity, 3.4e38])("%d in A or B", async (value) => {
    for (const name of [A, B]) {
      const code = await codeWith((tensors) => {
        const values = Float32Array.from(tensors[name]!.values);
        values[values.length - 1] = value;
        tensors[name] = { ...tensors[name]!, values };
      });
      expect(code).toBe("ERR_ADAPTER_FORMAT");
    }
  });

  test("numbers that overflow later end their request alone, with a code", async () => {
    const tensors = pairTensors(model.facts, 4, 1);
    for (const name of Object.keys(tensors))
      tensors[name] = {
        ...tensors[name]!,
        values: Float32Array.from(tensors[name]!.values, (value) => value * 1e37),
      };
    await model.adapters.load("huge", { config: pairConfig(4), weights: safetensors(tensors) });
    const prompt = { tokens: [1, 2, 3] };
    const [bad, good, score] = await Promise.allSettled([
      model.generate(prompt, { adapter: "huge", maxTokens: 4 }).result(),
      model.generate(prompt, { maxTokens: 4 }).result(),
      model.score(prompt, prompt, { adapter: "huge" }),
    ]);
    expect(bad).toMatchObject({ status: "rejected", reason: { code: "ERR_INTERNAL" } });
    expect(score).toMatchObject({ status: "rejected", reason: { code: "ERR_INTERNAL" } });
    expect(good.status).toBe("fulfilled");
    await model.adapters.unload("huge");
  });
});

describe("names", () => {
  test.each<[string, string]>([
    ["another module", `${q0.replace("q_proj", "w_pack")}.lora_A.weight`],
    ["a layer that the base does not have", `${q0.replace("layers.0", "layers.2")}.lora_A.weight`],
    ["a layer with a sign", `${q0.replace("layers.0", "layers.-1")}.lora_A.weight`],
    ["a layer with zeros in front", `${q0.replace("layers.0", "layers.00")}.lora_A.weight`],
    ["another architecture", "base_model.model.transformer.h.0.attn.c_attn.lora_A.weight"],
    ["the base's own weights", `${q0}.weight`],
    ["another kind of adapter", `${q0}.hada_w1_a`],
    ["an embedding pair elsewhere", `${q0}.lora_embedding_A`],
    ["a norm that the base does not have", "base_model.model.model.layers.0.self_attn.q_norm.weight"],
    ["nothing", ""],
    ["__proto__", "__proto__"],
    ["a long name", "x".repeat(100_000)],
  ])("%s", async (_, name) => {
    const code = await codeWith((tensors) => {
      Object.defineProperty(tensors, name, { value: resized(4, 64), enumerable: true });
    });
    expect(["ERR_ADAPTER_UNSUPPORTED", "ERR_ADAPTER_FORMAT"]).toContain(code);
  });

  test("two names of one tensor", async () => {
    const twin = A.replace("base_model.model.", "");
    expect(await codeWith((tensors) => (tensors[twin] = tensors[A]!))).toBe("ERR_ADAPTER_FORMAT");
  });

  test.each(["lora_magnitude_vector", "lora_B.bias", "bias"])(
    "%s that the configuration does not know",
    async (part) => {
      expect(await codeWith((tensors) => (tensors[`${q0}.${part}`] = resized(64)))).toBe(
        "ERR_ADAPTER_FORMAT",
      );
    },
  );

  test("tolerated prefixes are the same adapter", async () => {
    const { facts } = model;
    const rename = (from: string | RegExp, to: string): Tensors =>
      Object.fromEntries(
        Object.entries(pairTensors(facts, 4, 1)).map(([name, tensor]) => [name.replace(from, to), tensor]),
      );
    const all = [
      rename("", ""),
      rename("base_model.model.", ""),
      rename("base_model.model.model.", "base_model.model."),
      rename(/\.weight$/, ".default.weight"),
      rename("base_model.model.model.", "base_model.model.model.language_model."),
    ];
    const logits: string[] = [];
    for (const tensors of all) {
      await model.adapters.load("case", { config: pairConfig(4), weights: safetensors(tensors) });
      const result = await model.logits([1, 2, 3], { adapter: "case" });
      logits.push(Buffer.from(result.logits.buffer).toString("base64"));
      await model.adapters.unload("case");
    }
    expect(new Set(logits).size).toBe(1);
  });
});

test.each(["qwen2", "qwen3", "gemma3", "head", "saved-modules", "bias-all"])(
  "an adapter of another base: %s",
  async (name) => {
    const error = await failureOf(() => model.adapters.load("bad", tinyAdapter(name)));
    expect(["ERR_ADAPTER_SHAPE", "ERR_ADAPTER_UNSUPPORTED", "ERR_ADAPTER_FORMAT"]).toContain(error.code);
  },
);
