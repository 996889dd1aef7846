/**
 * Adapters with one key of the configuration or one tensor changed, against PEFT: test/golden/make_adapter_variations.py. The engine
 * gives PEFT's logits or refuses the adapter; nothing in its files is silently unused.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { WITHOUT_EFFECT } from "#lib/adapters/peft-config.js";
import { LowrankError, loadModel, type Model } from "#lib/index.js";
import { safetensors } from "../generate/tiny-models.js";
import { DATA, DEVICE, TINY_TOLERANCE, maxDifference, readGolden, type Place } from "./golden.js";
import { readTensors, type FileTensor } from "./tensor-file.js";

type Result = Place | "error";

interface KeyChange {
  key: string;
  /** Absent: the key is dropped. */
  value?: unknown;
  result: Result;
}

type TensorChange =
  | { take: string; as: string; rows?: number[] }
  | { shift: string; row: number; by: number }
  | { drop: string };

interface TensorCase {
  name: string;
  adapter: string;
  base: string;
  outcome: "loads" | "refused";
  tensors: TensorChange[];
  config?: Record<string, unknown>;
  tokens: number[];
  result: Result;
}

interface Manifest {
  keys: Record<string, { base: string; tokens: number[]; unchanged: Place; changes: KeyChange[] }>;
  cases: TensorCase[];
}

const golden = readGolden<Manifest>(join("adapter-variations", "adapter-variations"));
const { keys, cases } = golden.manifest;
const fileOf = (adapter: string, name: string): string => join(DATA, "tiny-adapters", adapter, name);
const configOf = (adapter: string): Record<string, unknown> =>
  JSON.parse(readFileSync(fileOf(adapter, "adapter_config.json"), "utf8")) as Record<string, unknown>;

/** What the engine accepts where PEFT ends with an error of its own that says nothing about the adapter. */
const PEFT_ERRORS: Readonly<Record<string, string>> = {
  auto_mapping: "PEFT looks up the class of the base model by it",
  corda_config: "PEFT checks the options of an initialisation that is over",
  eva_config: "PEFT checks the options of an initialisation that is over",
  loftq_config: "PEFT checks the options of an initialisation that is over",
  lora_dropout: "PEFT makes a layer that drops nothing outside training",
  lora_ga_config: "PEFT checks the options of an initialisation that is over",
  megatron_config: "PEFT looks for a library of the training",
  megatron_core: "PEFT looks for a library of the training",
  runtime_config: "PEFT never writes it",
  task_type: "PEFT wraps the base in a class for another task",
  velora_config: "PEFT checks the options of training",
  init_lora_weights: "PEFT begins a training",
};

type Outcome = { logits: Float32Array } | { refused: LowrankError };

async function outcomeOf(
  model: Model,
  config: object,
  weights: Uint8Array,
  tokens: number[],
): Promise<Outcome> {
  try {
    await model.adapters.load("changed", { config, weights });
  } catch (error) {
    if (!LowrankError.isInstance(error)) throw error;
    expect(error.code).toMatch(/^ERR_ADAPTER_(FORMAT|UNSUPPORTED|SHAPE)$/);
    expect(error.message).toMatch(/^Expected /);
    return { refused: error };
  }
  try {
    const last = tokens.length - 1;
    return { logits: (await model.logits(tokens, { adapter: "changed", from: last })).logits };
  } finally {
    await model.adapters.unload("changed");
  }
}

const models = new Map<string, Model>();
beforeAll(async () => {
  for (const base of new Set([...cases, ...Object.values(keys)].map((one) => one.base)))
    for (const precision of ["float32", "int8"] as const)
      models.set(
        `${base} ${precision}`,
        await loadModel(join(DATA, "tiny-models", base), { precision, threads: 1, device: DEVICE }),
      );
}, 120_000);
afterAll(async () => {
  for (const model of models.values()) await model.dispose();
});

const largest = (values: Float32Array): number =>
  values.reduce((most, value) => Math.max(most, Math.abs(value)), 0);

describe("one key of adapter_config.json", () => {
  test.each(Object.entries(keys))(
    "%s",
    async (adapter, { base, tokens, unchanged, changes }) => {
      const model = models.get(`${base} float32`)!;
      const config = configOf(adapter);
      const weights = readFileSync(fileOf(adapter, "adapter_model.safetensors"));
      const plain = golden.floats(unchanged);
      const loaded = new Set<string>();
      const wrong: string[] = [];
      for (const change of changes) {
        const changed = Object.fromEntries(Object.entries(config).filter(([key]) => key !== change.key));
        if ("value" in change) changed[change.key] = change.value;
        const outcome = await outcomeOf(model, changed, weights, tokens);
        if ("refused" in outcome) continue;
        loaded.add(change.key);
        const told = `${change.key}: ${"value" in change ? JSON.stringify(change.value) : "dropped"}`;
        if (change.result === "error") {
          // Then the key had no effect here.
          const same = maxDifference(outcome.logits, plain) <= TINY_TOLERANCE * largest(plain);
          if (!(change.key in PEFT_ERRORS) || !same) wrong.push(`${told}: PEFT raises an error`);
          continue;
        }
        const expected = golden.floats(change.result);
        const difference = maxDifference(outcome.logits, expected) / largest(expected);
        if (!(difference <= TINY_TOLERANCE)) wrong.push(`${told}: differs by ${difference}`);
      }
      expect(wrong).toEqual([]);
      // It is no use to refuse everything.
      expect(loaded.size).toBeGreaterThan(Object.keys(WITHOUT_EFFECT).length);
    },
    120_000,
  );

  test("what is said to have no effect has none in PEFT", () => {
    for (const [adapter, { unchanged, changes }] of Object.entries(keys))
      for (const { key, value, result } of changes) {
        // Which the engine requires of an activated adapter.
        if (key === "task_type" && configOf(adapter)["alora_invocation_tokens"] !== null) continue;
        if (key in WITHOUT_EFFECT && result !== "error")
          expect(result, `${key}: ${JSON.stringify(value)}`).toEqual(unchanged);
      }
    const known = new Set(Object.values(keys).flatMap(({ changes }) => changes.map(({ key }) => key)));
    for (const key of Object.keys(WITHOUT_EFFECT)) expect(known).toContain(key);
  });
});

/** The file's tensors after the changes: test/golden/adapter_variations.py. */
function changedWeights({ adapter, base, tensors: changes }: TensorCase): Uint8Array {
  const tensors = readTensors(fileOf(adapter, "adapter_model.safetensors"));
  const weights = readTensors(join(DATA, "tiny-models", base, "model.safetensors"));
  for (const change of changes) {
    if ("take" in change) {
      const found: FileTensor = change.take.startsWith("base:")
        ? weights.get(change.take.slice("base:".length))!
        : tensors.get(change.take)!;
      const width = found.shape.at(-1)!;
      const rows = change.rows?.map((row) => [...found.values.subarray(row * width, (row + 1) * width)]);
      tensors.set(change.as, {
        shape: rows ? [rows.length, width] : found.shape,
        values: rows ? Float32Array.from(rows.flat()) : found.values.slice(),
      });
    } else if ("shift" in change) {
      const { shape, values } = tensors.get(change.shift)!;
      const width = shape[1]!;
      for (let i = 0; i < width; i++) values[change.row * width + i]! += i % 2 === 0 ? change.by : -change.by;
    } else tensors.delete(change.drop);
  }
  return safetensors(Object.fromEntries(tensors));
}

describe("tensors", () => {
  test("the goldens hold every case", () => {
    expect(cases.length).toBeGreaterThanOrEqual(35);
  });

  test.each(cases.map((item) => [item.name, item] as const))("%s", async (_, item) => {
    const config = { ...configOf(item.adapter), ...item.config };
    const weights = changedWeights(item);
    const outcome = await outcomeOf(models.get(`${item.base} float32`)!, config, weights, item.tokens);
    const quantised = await outcomeOf(models.get(`${item.base} int8`)!, config, weights, item.tokens);
    expect("refused" in outcome ? "refused" : "loads").toBe(item.outcome);
    expect("refused" in quantised ? "refused" : "loads").toBe(item.outcome);
    if ("refused" in outcome || "refused" in quantised) return;
    const expected = golden.floats(item.result as Place);
    expect(maxDifference(outcome.logits, expected)).toBeLessThanOrEqual(TINY_TOLERANCE * largest(expected));
    // int8 of these small models is off by about a twentieth; a table in another format would be off by as much as there is.
    const rms = (values: Float32Array): number => Math.sqrt(values.reduce((sum, x) => sum + x * x, 0));
    const off = quantised.logits.map((value, i) => value - expected[i]!);
    expect(rms(off) / rms(expected)).toBeLessThan(0.2);
  });
});
