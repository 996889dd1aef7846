/** A head that has the embedding's very bytes is held once, and stays a table of its own to an adapter that replaces or adapts one. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { loadModel, type LoadModelOptions } from "#lib/index.js";
import { someValues, writeAdapter } from "../adapters/forcing-adapter.js";
import { maxDifference, TINY_TOLERANCE } from "../fidelity/golden.js";
import { safetensors, sameBits, tinyGguf, tinyModel, type TensorLike } from "../generate/tiny-models.js";
import { AlteredModel, type RawTensor } from "./altered-model.js";
import { readGguf, writeGguf, type GgufContent } from "./gguf-file.js";

const scratch = mkdtempSync(join(tmpdir(), "lowrank-equal-tables-"));
afterAll(() => rmSync(scratch, { recursive: true }));

const tokens = [5, 6, 7, 8, 9];
const TABLE = "model.embed_tokens.weight";
const HEAD = "lm_head.weight";

async function measured(path: string, options: LoadModelOptions = {}, adapter?: string) {
  await using model = await loadModel(path, { threads: 1, packedDirectory: false, ...options });
  if (adapter) await model.adapters.load("it", adapter);
  const { logits } = await model.logits(tokens, { adapter: adapter && "it" });
  return { logits, facts: model.facts };
}

describe.each(["llama-q8_0.gguf", "llama-f16.gguf"])("%s with an output.weight", (file) => {
  const write = (name: string, change: (content: GgufContent) => void): string => {
    const content = readGguf(readFileSync(tinyGguf(file)));
    change(content);
    const path = join(scratch, `${name}-${file}`);
    writeFileSync(path, writeGguf(content));
    return path;
  };

  test("that equals the embedding gives the bits and the memory of one table, and is not tied", async () => {
    const one = await measured(tinyGguf(file));
    const equal = await measured(
      write("equal", ({ tensors }) => tensors.set("output.weight", tensors.get("token_embd.weight")!)),
    );
    expect(sameBits(equal.logits, one.logits)).toBe(true);
    expect(equal.facts.weightBytes).toBe(one.facts.weightBytes);
    expect(equal.facts.parameters).toBe(one.facts.parameters);
    expect(one.facts.tiedEmbeddings).toBe(true);
    expect(equal.facts.tiedEmbeddings).toBe(false);
  });

  test.each(["first", "last"])("that differs in its %s byte is held beside it", async (place) => {
    const one = await measured(tinyGguf(file));
    const differs = await measured(
      write(place, ({ tensors }) => {
        const { record, data } = tensors.get("token_embd.weight")!;
        const other = Buffer.from(data);
        other[place === "first" ? 0 : other.length - 1]! ^= 1;
        tensors.set("output.weight", { record, data: other });
      }),
    );
    const { hiddenSize, vocabularySize } = one.facts;
    expect(differs.facts.parameters).toBe(one.facts.parameters + hiddenSize * vocabularySize);
    expect(differs.facts.weightBytes).toBeGreaterThan(
      one.facts.weightBytes + hiddenSize * vocabularySize - 1,
    );
    expect(differs.facts.tiedEmbeddings).toBe(false);
  });
});

describe("an adapter of a model whose tables are equal and not tied", () => {
  const options = { precision: "float32" } as const;
  const equal = new AlteredModel(tinyModel("llama"));
  const expected = new AlteredModel(tinyModel("llama"));
  afterAll(() => [equal, expected].forEach((copy) => copy.remove()));
  let shape: [number, number];
  let table: Float32Array;

  /** Tables that are given in place of the file's. */
  function writeModel(copy: AlteredModel, embedding?: Float32Array, head?: Float32Array): void {
    copy.restore();
    copy.editConfig((config) => (config["tie_word_embeddings"] = false));
    copy.editTensors((tensors) => {
      const held = tensors.get(TABLE)!;
      const raw = (values?: Float32Array): RawTensor =>
        values ? { dtype: "F32", shape, bytes: new Uint8Array(values.buffer) } : held;
      tensors.set(TABLE, raw(embedding));
      tensors.set(HEAD, raw(head));
    });
  }

  beforeAll(() => {
    equal.editTensors((tensors) => {
      const { shape: found, bytes } = tensors.get(TABLE)!;
      shape = found as [number, number];
      // bfloat16 is the upper half of float32.
      table = new Float32Array(bytes.length / 2);
      const bits = new Uint16Array(table.buffer);
      for (let i = 0; i < table.length; i++) bits[2 * i + 1] = bytes[2 * i]! | (bytes[2 * i + 1]! << 8);
    });
    writeModel(equal);
  });

  async function expectEqual(adapter: Record<string, TensorLike>, config: object): Promise<void> {
    const folder = join(scratch, "adapter");
    const prefixed = Object.fromEntries(
      Object.entries(adapter).map(([name, tensor]) => [`base_model.model.${name}`, tensor]),
    );
    await writeAdapter(folder, {
      config: { peft_type: "LORA", r: 1, lora_alpha: 1, ...config },
      weights: safetensors(prefixed),
    });
    const base = await measured(equal.folder, options);
    const adapted = await measured(equal.folder, options, folder);
    const { logits } = await measured(expected.folder, options);
    const bar = TINY_TOLERANCE * Math.max(...logits.map(Math.abs));
    expect(maxDifference(adapted.logits, logits)).toBeLessThanOrEqual(bar);
    expect(maxDifference(base.logits, logits)).toBeGreaterThan(100 * bar);
  }

  /** Changes nothing: a configuration has to target something. */
  const still = (rows: number): Record<string, TensorLike> => ({
    "model.layers.0.self_attn.v_proj.lora_A.weight": {
      shape: [1, shape[1]],
      values: new Float32Array(shape[1]),
    },
    "model.layers.0.self_attn.v_proj.lora_B.weight": { shape: [rows, 1], values: new Float32Array(rows) },
  });
  const saves = (name: string): object => ({
    target_modules: ["v_proj"],
    layers_to_transform: [0],
    modules_to_save: [name],
  });

  test("that replaces lm_head leaves the embedding alone", async () => {
    const other = someValues(table.length, 1);
    writeModel(expected, undefined, other);
    await expectEqual({ ...still(32), [HEAD]: { shape, values: other } }, saves("lm_head"));
  });

  test("that replaces the embedding leaves lm_head alone", async () => {
    const other = someValues(table.length, 2);
    writeModel(expected, other);
    await expectEqual({ ...still(32), [TABLE]: { shape, values: other } }, saves("embed_tokens"));
  });

  test("that adapts lm_head leaves the embedding alone", async () => {
    const a = someValues(shape[1], 3);
    const b = someValues(shape[0], 4);
    const merged = table.map((value, i) => value + b[Math.floor(i / shape[1])]! * a[i % shape[1]]!);
    writeModel(expected, undefined, merged);
    await expectEqual(
      {
        "lm_head.lora_A.weight": { shape: [1, shape[1]], values: a },
        "lm_head.lora_B.weight": { shape: [shape[0], 1], values: b },
      },
      { target_modules: ["lm_head"] },
    );
  });

  test("that adapts the embedding leaves lm_head alone", async () => {
    const a = someValues(shape[0], 5);
    const b = someValues(shape[1], 6);
    const merged = table.map((value, i) => value + a[Math.floor(i / shape[1])]! * b[i % shape[1]]!);
    writeModel(expected, merged);
    await expectEqual(
      {
        "model.embed_tokens.lora_embedding_A": { shape: [1, shape[0]], values: a },
        "model.embed_tokens.lora_embedding_B": { shape: [shape[1], 1], values: b },
      },
      { target_modules: ["embed_tokens"] },
    );
  });
});
