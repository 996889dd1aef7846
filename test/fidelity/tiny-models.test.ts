/** Every architecture against transformers, on small random models: test/golden/make_tiny_models.py. */
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { loadModel } from "#lib/index.js";
import {
  DATA,
  DEVICE,
  TINY_TOLERANCE,
  alteredModel,
  maxDifference,
  multiplyRopeTheta,
  readGolden,
  type Alterations,
  type LogitsEntry,
  type ReferencePrecision,
} from "./golden.js";

interface TinyManifest {
  vocabularySize: number;
  sequences: number[][];
  logits: LogitsEntry[];
  /** Of the same weights. contextLength: the engine's, where the model depends on it. */
  variants: (LogitsEntry & { config: string; contextLength?: number })[];
  greedy: { precision: ReferencePrecision; prompt: number[]; tokens: number[] }[];
  /** How far transformers' logits of sequence 0 move when a part is switched off. */
  controls: {
    ropeThetaTimes4: number;
    withoutBias?: number;
    withoutWindow?: number;
    /** Keys of config.json that switch a part of the architecture off. */
    switches?: { name: string; keys: Record<string, unknown>; moved: number }[];
  };
}

const MODELS = [
  "llama",
  "llama-bias",
  "llama3-rope",
  "mistral",
  "qwen2",
  "qwen3",
  "gemma3",
  "olmo2",
  "smollm3",
  "granite",
  "phi3",
  "gemma2",
];
type Model = Awaited<ReturnType<typeof loadModel>>;

describe.each(MODELS)("%s", (name) => {
  const folder = join(DATA, "tiny-models", name);
  const golden = readGolden<TinyManifest>(join("tiny-models", name));
  const { manifest } = golden;
  const first = manifest.logits[0]!;

  async function difference(model: Model, entry: LogitsEntry): Promise<number> {
    const { from, to } = entry;
    const result = await model.logits(manifest.sequences[entry.sequence]!, { from, to });
    expect(result.vocabularySize).toBe(manifest.vocabularySize);
    return maxDifference(result.logits, golden.floats(entry.logits));
  }

  /** The difference from transformers' logits of sequence 0, of an altered copy of the model. */
  async function alteredDifference(
    alterations: Alterations,
    entry: LogitsEntry & { contextLength?: number } = first,
  ): Promise<number> {
    const copy = alteredModel(folder, alterations);
    try {
      const { contextLength } = entry;
      const model = await loadModel(copy.folder, {
        precision: "float32",
        device: DEVICE,
        ...(contextLength === undefined ? {} : { contextLength }),
      });
      try {
        return await difference(model, entry);
      } finally {
        await model.dispose();
      }
    } finally {
      copy.remove();
    }
  }

  describe.each<ReferencePrecision>(["float32", "w8-float32"])("%s", (precision) => {
    let model: Model;
    beforeAll(async () => {
      model = await loadModel(folder, { precision, device: DEVICE });
    });
    afterAll(() => model?.dispose());

    const entries = manifest.logits.filter((entry) => entry.precision === precision);
    test("has goldens", () => expect(entries.length).toBeGreaterThan(0));

    test.each(entries)("logits of sequence $sequence, positions $from to $to", async (entry) => {
      expect(await difference(model, entry)).toBeLessThanOrEqual(TINY_TOLERANCE * entry.maxAbs);
    });

    test("greedy text", async () => {
      const { prompt, tokens } = manifest.greedy.find((greedy) => greedy.precision === precision)!;
      const options = { maxTokens: tokens.length, temperature: 0, ignoreEndOfText: true };
      const result = await model.generate({ tokens: prompt }, options).result();
      expect([...result.tokens]).toEqual(tokens);
    });
  });

  test("int8 weights are told apart from float32 weights", async () => {
    const entry = manifest.logits.find((candidate) => candidate.precision === "w8-float32")!;
    expect(await alteredDifference({}, entry)).toBeGreaterThan(10 * TINY_TOLERANCE * entry.maxAbs);
  });

  test("a configuration as transformers 4 wrote it", async () => {
    expect(await alteredDifference({ config: "config-legacy.json" })).toBeLessThanOrEqual(
      TINY_TOLERANCE * first.maxAbs,
    );
  });

  for (const variant of manifest.variants) {
    const context = variant.contextLength === undefined ? "" : ` and a context of ${variant.contextLength}`;
    test(`the same weights under ${variant.config}${context}`, async () => {
      const moved = await alteredDifference({ config: variant.config }, variant);
      expect(moved).toBeLessThanOrEqual(TINY_TOLERANCE * variant.maxAbs);
    });
  }

  describe("the golden fails, by as much as transformers says, when a part is wrong", () => {
    /** An engine that is right moves as far as transformers does, and far beyond the bar. */
    async function expectMoved(alterations: Alterations, asTransformers: number): Promise<void> {
      const moved = await alteredDifference(alterations);
      expect(moved).toBeGreaterThan(100 * TINY_TOLERANCE * first.maxAbs);
      expect(Math.abs(moved - asTransformers)).toBeLessThanOrEqual(4 * TINY_TOLERANCE * first.maxAbs);
    }
    const { controls } = manifest;

    test("RoPE", () =>
      expectMoved({ editConfig: (config) => multiplyRopeTheta(config, 4) }, controls.ropeThetaTimes4));

    if (controls.withoutBias !== undefined) {
      const expected = controls.withoutBias;
      test("biases", () => expectMoved({ zeroTensors: (tensor) => tensor.endsWith(".bias") }, expected));
    }

    for (const { name: part, keys, moved } of controls.switches ?? [])
      test(part, () => expectMoved({ editConfig: (config) => void Object.assign(config, keys) }, moved));

    if (controls.withoutWindow !== undefined) {
      const expected = controls.withoutWindow;
      test("sliding window", () =>
        expectMoved({ editConfig: (config) => void (config["sliding_window"] = 4096) }, expected));
    }
  });
});
