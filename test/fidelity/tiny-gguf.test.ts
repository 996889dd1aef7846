/** GGUF models and adapters by llama.cpp's conventions against transformers and PEFT: test/golden/make_tiny_gguf.py. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { loadModel } from "#lib/index.js";
import { DATA, TINY_TOLERANCE, maxDifference, readGolden, type Place } from "./golden.js";

interface GgufCase {
  model: string;
  tokens: number[];
  maxAbs: number;
  /** Of the engine, where the model depends on it. */
  contextLength?: number;
  adapters?: { file: string; scale: number }[];
  /** How far the adapter moves the logits. */
  effect?: number;
  /** float32 [tokens, vocabulary], of the weights as the file holds them. */
  logits: Place;
}

const golden = readGolden<{ cases: GgufCase[] }>(join("tiny-gguf", "tiny-gguf"));
const { cases } = golden.manifest;
const pathOf = (file: string): string => join(DATA, "tiny-gguf", file);
type Model = Awaited<ReturnType<typeof loadModel>>;

test("the goldens hold adapters of every kind, activated LoRA (an extension of llama.cpp) among them", () => {
  const files = new Set(cases.flatMap(({ adapters }) => adapters ?? []).map(({ file }) => file));
  expect(files).toEqual(
    new Set([
      "plain-f32.gguf",
      "embedding-f16.gguf",
      "activated-f16.gguf",
      "granite-f32.gguf",
      "phi3-f32.gguf",
    ]),
  );
});

describe.each([...new Set(cases.map(({ model }) => model))])("%s", (file) => {
  let model: Model;
  beforeAll(async () => {
    model = await loadModel(pathOf(file), { precision: "float32" });
  });
  afterAll(() => model?.dispose());

  const members = cases.filter((item) => item.model === file);

  for (const item of members.filter(({ adapters }) => adapters === undefined)) {
    const { contextLength } = item;
    test(`logits${contextLength === undefined ? "" : ` in a context of ${contextLength}`}`, async () => {
      const own =
        contextLength === undefined
          ? undefined
          : await loadModel(pathOf(file), { precision: "float32", contextLength });
      try {
        const { logits } = await (own ?? model).logits(item.tokens);
        expect(maxDifference(logits, golden.floats(item.logits))).toBeLessThanOrEqual(
          TINY_TOLERANCE * item.maxAbs,
        );
      } finally {
        await own?.dispose();
      }
    });
  }

  for (const item of members) {
    const [adapter] = item.adapters ?? [];
    if (adapter === undefined) continue;
    test.each(["path", "bytes"])(`logits with ${adapter.file} x ${adapter.scale} from %s`, async (source) => {
      const path = pathOf(adapter.file);
      await model.adapters.load("gguf", source === "path" ? path : new Uint8Array(readFileSync(path)));
      try {
        const expected = golden.floats(item.logits);
        const { logits } = await model.logits(item.tokens, {
          adapter: { name: "gguf", scale: adapter.scale },
        });
        expect(maxDifference(logits, expected)).toBeLessThanOrEqual(TINY_TOLERANCE * item.maxAbs);
        const { logits: off } = await model.logits(item.tokens);
        const effect = maxDifference(off, expected);
        expect(effect).toBeGreaterThan(100 * TINY_TOLERANCE * item.maxAbs);
        expect(Math.abs(effect - item.effect!)).toBeLessThanOrEqual(4 * TINY_TOLERANCE * item.maxAbs);
      } finally {
        await model.adapters.unload("gguf");
      }
    });
  }
});
