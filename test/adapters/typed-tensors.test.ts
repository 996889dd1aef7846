/** Adapters from typed arrays: the same as the same numbers in a file, and checked by the same rules. */
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { loadModel, type AdapterTensor, type Model } from "#lib/index.js";
import {
  failureOf,
  safetensors,
  sameBits,
  someTokens,
  tinyModel,
  untilIdle,
} from "../generate/tiny-models.js";
import { moduleName, pairConfig, pairTensors, type Tensors } from "./forcing-adapter.js";

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

const tokens = someTokens(20, 3);
const logitsWith = async (adapter: string): Promise<Float32Array> =>
  (await model.logits(tokens, { adapter })).logits;

/** Keeps what both bfloat16 and float16 hold exactly: multiples of 1/64 below 1. */
const rounded = (values: ArrayLike<number>): Float32Array =>
  Float32Array.from(values, (value) => Math.round(value * 64) / 64);

const bits = new Uint32Array(1);
const float = new Float32Array(bits.buffer);
function bf16(value: number): number {
  float[0] = value;
  return bits[0]! >>> 16;
}
/** For zero and normal numbers of float16 whose mantissa fits. */
function f16(value: number): number {
  if (value === 0) return 0;
  float[0] = value;
  const exponent = ((bits[0]! >>> 23) & 255) - 127 + 15;
  return ((bits[0]! >>> 31) << 15) | (exponent << 10) | ((bits[0]! >>> 13) & 1023);
}

function typed(tensors: Tensors, dtype: "f32" | "bf16" | "f16"): Record<string, AdapterTensor> {
  return Object.fromEntries(
    Object.entries(tensors).map(([name, { shape, values }]): [string, AdapterTensor] => {
      if (dtype === "f32") return [name, { shape, data: Float32Array.from(values) }];
      return [name, { shape, dtype, data: Uint16Array.from(values, dtype === "bf16" ? bf16 : f16) }];
    }),
  );
}

const roundTensors = (rank: number): Tensors =>
  Object.fromEntries(
    Object.entries(pairTensors(model.facts, rank, 5)).map(([name, { shape, values }]) => [
      name,
      { shape, values: rounded(values) },
    ]),
  );

describe("what is computed", () => {
  test.each([1, 3, 8])("is what the same numbers in a file give, in every type, at rank %i", async (rank) => {
    const tensors = roundTensors(rank);
    const config = pairConfig(rank);
    const { adapters } = model;
    await adapters.load("file", { config, weights: safetensors(tensors) });
    const wanted = await logitsWith("file");
    const base = (await model.logits(tokens)).logits;
    expect(sameBits(wanted, base)).toBe(false);
    const { parameters, bytes } = adapters.get("file");
    for (const dtype of ["f32", "bf16", "f16"] as const) {
      const facts = await adapters.load(dtype, { config, tensors: typed(tensors, dtype) });
      expect(facts).toMatchObject({ parameters, bytes, origin: "memory", rank });
      expect(sameBits(await logitsWith(dtype), wanted)).toBe(true);
    }
  });

  test("does not depend on the order of the tensors, nor does the content hash", async () => {
    const tensors = typed(roundTensors(2), "f32");
    const reversed = Object.fromEntries(Object.entries(tensors).reverse());
    const first = await model.adapters.load("a", { config: pairConfig(2), tensors });
    const second = await model.adapters.load("b", { config: pairConfig(2), tensors: reversed });
    expect(second.contentHash).toBe(first.contentHash);
    expect(model.memory().adapterBytes).toBe(first.bytes);
  });

  test("is what was given at the call; views into larger buffers are read as views", async () => {
    const tensors = typed(roundTensors(2), "f32");
    for (const tensor of Object.values(tensors)) {
      const room = new Float32Array(tensor.data.length + 3).fill(9);
      room.set(tensor.data, 3);
      tensor.data = room.subarray(3);
    }
    const loading = model.adapters.load("a", { config: pairConfig(2), tensors });
    for (const tensor of Object.values(tensors)) tensor.data.fill(0);
    await loading;
    await model.adapters.load("b", { config: pairConfig(2), weights: safetensors(roundTensors(2)) });
    expect(sameBits(await logitsWith("a"), await logitsWith("b"))).toBe(true);
  });
});

describe("refused", () => {
  const A = `${moduleName(0, "q_proj")}.lora_A.weight`;
  const change = (changes: Record<string, unknown>): (() => Record<string, AdapterTensor>) => {
    return () => {
      const tensors = typed(roundTensors(2), "f32");
      tensors[A] = { ...tensors[A]!, ...changes } as AdapterTensor;
      return tensors;
    };
  };
  const without = (name: string): Record<string, AdapterTensor> => {
    const tensors = typed(roundTensors(2), "f32");
    delete tensors[name];
    return tensors;
  };
  test.each<[string, () => unknown, string]>([
    ["fewer numbers than the shape says", change({ data: new Float32Array(5) }), "ERR_INVALID_ARGUMENT"],
    ["a plain array", change({ data: [1, 2] }), "ERR_INVALID_ARGUMENT"],
    ["float64", change({ data: new Float64Array(128) }), "ERR_INVALID_ARGUMENT"],
    ["uint16 without a dtype", change({ data: new Uint16Array(128) }), "ERR_INVALID_ARGUMENT"],
    ["uint16 as f32", change({ data: new Uint16Array(128), dtype: "f32" }), "ERR_INVALID_ARGUMENT"],
    ["float32 as bf16", change({ dtype: "bf16" }), "ERR_INVALID_ARGUMENT"],
    ["no shape", change({ shape: undefined }), "ERR_INVALID_ARGUMENT"],
    ["a negative size", change({ shape: [-2, -64] }), "ERR_INVALID_ARGUMENT"],
    ["a size that is no whole number", change({ shape: [0.5, 256] }), "ERR_INVALID_ARGUMENT"],
    ["nine dimensions", change({ shape: [1, 1, 1, 1, 1, 1, 1, 2, 64] }), "ERR_INVALID_ARGUMENT"],
    ["sizes that overflow", change({ shape: [2 ** 52, 2 ** 52] }), "ERR_INVALID_ARGUMENT"],
    ["an unknown key", change({ type: "f32" }), "ERR_INVALID_ARGUMENT"],
    ["null for a tensor", () => ({ [A]: null }), "ERR_INVALID_ARGUMENT"],
    [
      "an empty name",
      () => ({ ...without(A), "": { data: new Float32Array(1), shape: [1] } }),
      "ERR_INVALID_ARGUMENT",
    ],
    [
      "a name for the header",
      () => ({ ...without(A), __metadata__: { data: new Float32Array(1), shape: [1] } }),
      "ERR_INVALID_ARGUMENT",
    ],
    ["a transposed matrix", change({ data: new Float32Array(128), shape: [64, 2] }), "ERR_ADAPTER_SHAPE"],
    ["NaN", change({ data: new Float32Array(128).fill(NaN), shape: [2, 64] }), "ERR_ADAPTER_FORMAT"],
    ["a missing half", () => without(A), "ERR_ADAPTER_FORMAT"],
    [
      "a tensor of something else",
      () => ({ ...typed(roundTensors(2), "f32"), "a.b": { data: new Float32Array(1), shape: [1] } }),
      "ERR_ADAPTER_UNSUPPORTED",
    ],
    ["no tensor at all", () => ({}), "ERR_ADAPTER_FORMAT"],
    ["tensors that are none", () => 5, "ERR_INVALID_ARGUMENT"],
  ])("%s", async (_, make, code) => {
    const tensors = make() as Record<string, AdapterTensor>;
    const error = await failureOf(() => model.adapters.load("a", { config: pairConfig(2), tensors }));
    expect(error.code).toBe(code);
    expect(model.adapters.list()).toEqual([]);
  });
});
