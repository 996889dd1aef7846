/** Every tensor of a model's file is used, a copy of one that is, or named in an error. transformers' results: test/golden/make_model_files.py. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, describe, expect, test, vi } from "vitest";
import { loadModel, type LowrankError, type Model } from "#lib/index.js";
import { DATA, DEVICE, TINY_TOLERANCE, maxDifference } from "../fidelity/golden.js";
import { failureOf, sameBits, tinyGguf, tinyModel } from "../generate/tiny-models.js";
import { AlteredModel, type RawTensor } from "./altered-model.js";
import { ggufOf } from "./gguf-conversion.js";
import { ggufEntry, readGguf, splitGguf, writeGguf, type GgufContent } from "./gguf-file.js";

interface Golden {
  tensors: { model: string; change: string; keys: Record<string, unknown>; result: number[] | "same" }[];
  config: { model: string; tokens: number[]; base: number[] }[];
}
const golden = JSON.parse(
  readFileSync(join(DATA, "model-files", "model-files.golden.json"), "utf8"),
) as Golden;

const scratch = mkdtempSync(join(tmpdir(), "lowrank-tensors-"));
afterAll(() => rmSync(scratch, { recursive: true }));

const load = (path: string): Promise<Model> =>
  loadModel(path, { precision: "float32", device: DEVICE, threads: 1 });
const failure = (path: string): Promise<LowrankError> => failureOf(async () => (await load(path)).dispose());

async function allLogits(path: string, tokens: number[]): Promise<Float32Array> {
  const model = await load(path);
  try {
    return (await model.logits(tokens)).logits;
  } finally {
    await model.dispose();
  }
}

const TABLE = "model.embed_tokens.weight";
const HEAD = "lm_head.weight";

function flippedRows({ dtype, shape, bytes }: RawTensor): RawTensor {
  const row = bytes.length / shape[0]!;
  const flipped = new Uint8Array(bytes.length);
  for (let i = 0; i < shape[0]!; i++)
    flipped.set(bytes.subarray(i * row, (i + 1) * row), bytes.length - (i + 1) * row);
  return { dtype, shape, bytes: flipped };
}

/** bfloat16 as float32, which holds the same values. */
function widened({ shape, bytes }: RawTensor): RawTensor {
  const wide = new Uint8Array(2 * bytes.length);
  for (let i = 0; i < bytes.length; i += 2) wide.set(bytes.subarray(i, i + 2), 2 * i + 2);
  return { dtype: "F32", shape, bytes: wide };
}

function withoutPrefix(tensors: Map<string, RawTensor>): void {
  for (const [name, tensor] of [...tensors]) {
    tensors.delete(name);
    tensors.set(name.replace(/^model\./, ""), tensor);
  }
}

const CHANGES: Record<string, (tensors: Map<string, RawTensor>) => void> = {
  other_head: (tensors) => void tensors.set(HEAD, flippedRows(tensors.get(TABLE)!)),
  same_head: (tensors) => void tensors.set(HEAD, tensors.get(TABLE)!),
  head_of_other_dtype: (tensors) => void tensors.set(HEAD, widened(tensors.get(TABLE)!)),
  bare: withoutPrefix,
  bare_with_head: (tensors) => {
    CHANGES["other_head"]!(tensors);
    withoutPrefix(tensors);
  },
  none: () => undefined,
};

describe("as transformers", () => {
  test.each(golden.tensors)("$model, $change, $keys", async ({ model, change, keys, result }) => {
    const { tokens, base } = golden.config.find((entry) => entry.model === model)!;
    const copy = new AlteredModel(tinyModel(model));
    const warn = vi.spyOn(process, "emitWarning").mockImplementation(() => undefined);
    try {
      copy.editTensors(CHANGES[change]!);
      copy.editConfig((config) => Object.assign(config, keys));
      const logits = await allLogits(copy.folder, tokens);
      const last = logits.subarray(logits.length - logits.length / tokens.length);
      const probes = base.map((_, i) => last[Math.floor((i * (last.length - 1)) / (base.length - 1))]!);
      const expected = result === "same" ? base : result;
      const bar = TINY_TOLERANCE * Math.max(...base.map(Math.abs));
      expect(maxDifference(probes, expected)).toBeLessThanOrEqual(bar);
      if (result !== "same") expect(maxDifference(probes, base)).toBeGreaterThan(100 * bar);
      // Biases that the configuration switches off are left out, and that is said.
      expect(warn).toHaveBeenCalledTimes(change === "none" ? 1 : 0);
      if (change === "none") expect(warn.mock.lastCall![0]).toMatch(/layers\.0\..*_proj\.bias/);
    } finally {
      warn.mockRestore();
      copy.remove();
    }
  });

  test("an untied head is kept and found again among the packed weights", async () => {
    const copy = new AlteredModel(tinyModel("llama"));
    copy.editTensors(CHANGES["other_head"]!);
    const { tokens } = golden.config.find((entry) => entry.model === "llama")!;
    const results: Float32Array[] = [];
    for (const state of ["written", "restored"]) {
      const model = await loadModel(copy.folder, { packedDirectory: join(scratch, "packed"), threads: 1 });
      expect(model.facts).toMatchObject({ packedWeights: state, tiedEmbeddings: false });
      results.push((await model.logits(tokens)).logits);
      await model.dispose();
    }
    expect(sameBits(results[0]!, results[1]!)).toBe(true);
    copy.remove();
  });
});

describe("a tensor that nothing uses, or that is missing", () => {
  const copies = new Map<string, AlteredModel>();
  const copyOf = (name: string): AlteredModel => {
    if (!copies.has(name)) copies.set(name, new AlteredModel(tinyModel(name)));
    return copies.get(name)!;
  };
  afterEach(() => copies.forEach((copy) => copy.restore()));
  afterAll(() => copies.forEach((copy) => copy.remove()));

  const q = "model.layers.0.self_attn.q_proj";
  const vector = (values: number[]): RawTensor => ({
    dtype: "F32",
    shape: [values.length],
    bytes: new Uint8Array(new Float32Array(values).buffer),
  });
  const zeros = (size: number): RawTensor => vector(new Array<number>(size).fill(0));

  test.each<[string, string, Record<string, unknown>, (tensors: Map<string, RawTensor>) => unknown, string]>([
    ["llama", "fewer layers than the file", { num_hidden_layers: 1 }, () => 0, "model.layers.1."],
    [
      "gemma3",
      "fewer layers than the file",
      { num_hidden_layers: 6, layer_types: null },
      () => 0,
      "model.layers.6.",
    ],
    ["qwen3", "called llama", { model_type: "llama", head_dim: 32 }, () => 0, "q_norm"],
    [
      "qwen3",
      "called mistral",
      { model_type: "mistral", head_dim: 32, sliding_window: null },
      () => 0,
      "q_norm",
    ],
    [
      "gemma3",
      "called llama",
      {
        model_type: "llama",
        layer_types: null,
        query_pre_attn_scalar: null,
        sliding_window: null,
        hidden_activation: null,
        rope_parameters: null,
        use_bidirectional_attention: null,
      },
      () => 0,
      "norm",
    ],
    [
      "qwen2",
      "called mistral",
      { model_type: "mistral", use_sliding_window: false, sliding_window: null },
      () => 0,
      "q_proj.bias",
    ],
    ["llama", "called qwen2", { model_type: "qwen2" }, () => 0, `${q}.bias`],
    [
      "qwen2",
      "without its biases",
      {},
      (tensors) =>
        [...tensors.keys()].filter((name) => name.endsWith(".bias")).forEach((name) => tensors.delete(name)),
      `${q}.bias`,
    ],
    [
      "qwen2",
      "without one bias",
      {},
      (tensors) => tensors.delete("model.layers.1.self_attn.k_proj.bias"),
      "model.layers.1.self_attn.k_proj.bias",
    ],
    [
      "qwen2",
      "a bias of o",
      {},
      (tensors) => tensors.set("model.layers.0.self_attn.o_proj.bias", zeros(64)),
      "o_proj.bias",
    ],
    [
      "qwen2",
      "a bias of the feed-forward",
      {},
      (tensors) => tensors.set("model.layers.0.mlp.up_proj.bias", zeros(144)),
      "up_proj.bias",
    ],
    ["llama", "attention_bias without biases", { attention_bias: true }, () => 0, `${q}.bias`],
    ["llama", "mlp_bias without biases", { mlp_bias: true }, () => 0, "gate_proj.bias"],
    ["llama-bias", "one bias missing", {}, (tensors) => tensors.delete(`${q}.bias`), `${q}.bias`],
    ["gemma3", "attention_bias without biases", { attention_bias: true }, () => 0, `${q}.bias`],
    [
      "llama",
      "a bias of another shape, switched off",
      {},
      (tensors) => tensors.set(`${q}.bias`, zeros(63)),
      `${q}.bias`,
    ],
    [
      "llama",
      "a head of another shape",
      {},
      (tensors) => tensors.set(HEAD, { ...tensors.get(TABLE)!, shape: [136, 128] }),
      HEAD,
    ],
    ["llama", "a head with a bias", {}, (tensors) => tensors.set("lm_head.bias", zeros(272)), "lm_head.bias"],
    [
      "llama",
      "a head of a classifier",
      {},
      (tensors) => tensors.set("score.weight", zeros(64)),
      "score.weight",
    ],
    [
      "llama",
      "the table twice",
      {},
      (tensors) => tensors.set("embed_tokens.weight", tensors.get(TABLE)!),
      "embed_tokens.weight",
    ],
    [
      "llama",
      "a weight of an adapter",
      {},
      (tensors) => tensors.set(`${q}.lora_A.weight`, zeros(64)),
      "lora_A",
    ],
    [
      "llama",
      "other RoPE frequencies",
      {},
      (tensors) => tensors.set("model.layers.0.self_attn.rotary_emb.inv_freq", vector(frequencies(500_000))),
      "inv_freq",
    ],
    [
      "llama",
      "RoPE frequencies of another size",
      {},
      (tensors) => tensors.set("model.rotary_emb.inv_freq", zeros(4)),
      "inv_freq",
    ],
  ])("%s: %s", async (model, _, keys, change, named) => {
    const copy = copyOf(model);
    copy.editTensors(change);
    copy.editConfig((config) => Object.assign(config, keys));
    const error = await failure(copy.folder);
    expect(error.code).toBe("ERR_MODEL_FORMAT");
    expect(error.message).toContain(named);
  });

  /** Of a head of 16. */
  function frequencies(theta: number): number[] {
    return Array.from({ length: 8 }, (_, i) => theta ** (-i / 8));
  }

  test("RoPE frequencies as old checkpoints keep them mean nothing", async () => {
    const tokens = [5, 6, 7, 8];
    const expected = await allLogits(tinyModel("llama"), tokens);
    const copy = copyOf("llama");
    copy.editTensors((tensors) => {
      for (const layer of [0, 1])
        tensors.set(`model.layers.${layer}.self_attn.rotary_emb.inv_freq`, vector(frequencies(10_000)));
      tensors.set("model.rotary_emb.inv_freq", vector(frequencies(10_000)));
    });
    expect(sameBits(await allLogits(copy.folder, tokens), expected)).toBe(true);
  });

  test("a name of each tensor with one byte changed", async () => {
    const copy = copyOf("llama-bias");
    const names: string[] = [];
    copy.editTensors((tensors) => names.push(...tensors.keys()));
    for (const [i, name] of names.entries()) {
      copy.restore();
      copy.editTensors((tensors) => {
        const at = (i * 7) % name.length;
        const changed = name.slice(0, at) + String.fromCharCode(name.charCodeAt(at) ^ 1) + name.slice(at + 1);
        tensors.set(changed, tensors.get(name)!);
        tensors.delete(name);
      });
      const error = await failure(copy.folder);
      expect(error.code, name).toBe("ERR_MODEL_FORMAT");
    }
  });
});

describe("GGUF", () => {
  const path = join(scratch, "model.gguf");
  const qwen2 = ((): GgufContent => {
    const copy = new AlteredModel(tinyModel("qwen2"));
    try {
      const config = JSON.parse(readFileSync(copy.path("config.json"), "utf8")) as Record<string, unknown>;
      let content: GgufContent | undefined;
      copy.editTensors((tensors) => (content = ggufOf(tensors, config)));
      return content!;
    } finally {
      copy.remove();
    }
  })();
  const tokens = [5, 6, 7, 8, 9, 10];
  const write = (content: GgufContent, change: (content: GgufContent) => unknown = () => 0): string => {
    const copy = { keys: new Map(content.keys), tensors: new Map(content.tensors) };
    change(copy);
    writeFileSync(path, writeGguf(copy));
    return path;
  };
  const llama = (): GgufContent => readGguf(readFileSync(tinyGguf("llama-f16.gguf")));

  test("Qwen2 gives the logits of its safetensors", async () => {
    const expected = await allLogits(tinyModel("qwen2"), tokens);
    const bar = TINY_TOLERANCE * Math.max(...expected.map(Math.abs));
    expect(maxDifference(await allLogits(write(qwen2), tokens), expected)).toBeLessThanOrEqual(bar);
  });

  const rename =
    (from: string, to: string) =>
    ({ tensors }: GgufContent) => {
      tensors.set(to, tensors.get(from)!);
      tensors.delete(from);
    };
  test.each<[string, (content: GgufContent) => unknown, string]>([
    [
      "one byte of a bias's name changed",
      rename("blk.1.attn_q.bias", "blk.1.attn_p.bias"),
      "blk.1.attn_q.bias",
    ],
    [
      "without biases",
      ({ tensors }) =>
        [...tensors.keys()].filter((name) => /bias/.test(name)).forEach((name) => tensors.delete(name)),
      "blk.0.attn_q.bias",
    ],
    [
      "a bias of o",
      ({ tensors }) => tensors.set("blk.0.attn_output.bias", tensors.get("blk.0.attn_q.bias")!),
      "blk.0.attn_output.bias",
    ],
    [
      "divisors of frequencies",
      ({ tensors }) => tensors.set("rope_freqs.weight", tensors.get("blk.0.attn_k.bias")!),
      "rope_freqs.weight",
    ],
  ])("Qwen2: %s", async (_, change, named) => {
    const error = await failure(write(qwen2, change));
    expect(error.code).toBe("ERR_MODEL_FORMAT");
    expect(error.message).toContain(named);
  });

  test("Llama: a bias in one layer alone, and one that no tensor of the model is", async () => {
    const bias = qwen2.tensors.get("blk.0.attn_q.bias")!; // of 64 values, as Llama's
    const inOne = await failure(write(llama(), ({ tensors }) => tensors.set("blk.0.attn_q.bias", bias)));
    expect(inOne).toMatchObject({ code: "ERR_MODEL_FORMAT" });
    expect(inOne.message).toContain("blk.1.attn_q.bias");
    const other = await failure(
      write(llama(), ({ tensors }) => tensors.set("blk.0.attn_q_norm.weight", bias)),
    );
    expect(other).toMatchObject({ code: "ERR_MODEL_FORMAT" });
    expect(other.message).toContain("blk.0.attn_q_norm.weight");
  });

  test("Llama: output.weight is the head", async () => {
    const expected = await allLogits(tinyGguf("llama-f16.gguf"), tokens);
    const same = write(llama(), ({ tensors }) =>
      tensors.set("output.weight", tensors.get("token_embd.weight")!),
    );
    expect(maxDifference(await allLogits(same, tokens), expected)).toBeLessThan(1e-4);
    const flipped = write(llama(), ({ tensors }) => {
      const { record, data } = tensors.get("token_embd.weight")!;
      tensors.set("output.weight", {
        record,
        data: Buffer.from(flippedRows({ dtype: "F16", shape: [272], bytes: data }).bytes),
      });
    });
    const rows = 272;
    const found = await allLogits(flipped, tokens);
    const mirrored = expected.map((_, i) => expected[Math.floor(i / rows) * rows + rows - 1 - (i % rows)]!);
    expect(maxDifference(found, mirrored)).toBeLessThan(1e-4);
  });

  test("Gemma 3 of 62 layers, the 27B model, scales queries by hidden_size / heads", async () => {
    const layers = 62;
    const repeated = <T>(tensors: Map<string, T>, pattern: RegExp): Map<string, T> => {
      const all = new Map([...tensors].filter(([name]) => !pattern.test(name)));
      for (const [name, tensor] of tensors) {
        const of = Number(pattern.exec(name)?.[1]);
        for (let i = of; i < layers; i += 7)
          all.set(
            name.replace(pattern, (match) => match.replace(/\d+/, String(i))),
            tensor,
          );
      }
      return all;
    };
    const copy = new AlteredModel(tinyModel("gemma3"));
    copy.editTensors((tensors) => {
      const all = repeated(tensors, /layers\.(\d+)\./);
      tensors.clear();
      all.forEach((tensor, name) => tensors.set(name, tensor));
    });
    // 48 / 2, which GGUF does not say.
    copy.editConfig((config) =>
      Object.assign(config, { num_hidden_layers: layers, layer_types: null, query_pre_attn_scalar: 24 }),
    );
    const expected = await allLogits(copy.folder, tokens);
    copy.remove();
    const small = readGguf(readFileSync(tinyGguf("gemma3-bf16.gguf")));
    const { keys } = small;
    keys.set("gemma3.block_count", ggufEntry("uint32", layers));
    const found = await allLogits(write({ keys, tensors: repeated(small.tensors, /blk\.(\d+)\./) }), tokens);
    expect(maxDifference(found, expected)).toBeLessThanOrEqual(
      TINY_TOLERANCE * Math.max(...expected.map(Math.abs)),
    );
  });

  describe("in parts", () => {
    const parts = splitGguf(llama(), 3);
    const partName = (number: number): string => join(scratch, `llama-0000${number}-of-00003.gguf`);
    const writeParts = (change: (parts: GgufContent[]) => void = () => undefined): void => {
      const copies = parts.map(({ keys, tensors }) => ({ keys: new Map(keys), tensors: new Map(tensors) }));
      change(copies);
      copies.forEach((part, i) => writeFileSync(partName(i + 1), writeGguf(part)));
    };

    test("they are the model", async () => {
      writeParts();
      const expected = await allLogits(tinyGguf("llama-f16.gguf"), tokens);
      expect(sameBits(await allLogits(partName(1), tokens), expected)).toBe(true);
      const model = await load(partName(1));
      expect(model.name).toBe("llama");
      expect(model.tokenizer).toBeDefined();
      await model.dispose();
    });

    test("the packed weights are those of all parts", async () => {
      writeParts();
      const packedDirectory = join(scratch, "packed-parts");
      const states: string[] = [];
      for (const change of [false, false, true]) {
        if (change)
          writeParts(([, , last]) => {
            const name = [...last!.tensors.keys()].find((candidate) =>
              candidate.endsWith("ffn_down.weight"),
            )!;
            const { record, data } = last!.tensors.get(name)!;
            last!.tensors.set(name, { record, data: Buffer.concat([data.subarray(2), data.subarray(0, 2)]) });
          });
        const model = await loadModel(partName(1), { packedDirectory, threads: 1 });
        states.push(model.facts.packedWeights);
        await model.dispose();
      }
      expect(states).toEqual(["written", "restored", "written"]);
    });

    test("one that is missing, or not the first, is named", async () => {
      writeParts();
      const second = await failure(partName(2));
      expect(second.code).toBe("ERR_MODEL_FORMAT");
      expect(second.message).toContain("llama-00001-of-00003.gguf");
      rmSync(partName(3));
      const missing = await failure(partName(1));
      expect(missing.code).toBe("ERR_MODEL_FORMAT");
      expect(missing.message).toContain("llama-00003-of-00003.gguf");
    });

    test.each<[string, (parts: GgufContent[]) => void]>([
      ["a part twice", (all) => void (all[2] = all[1]!)],
      [
        "a part of another model",
        (all) => void all[1]!.keys.set("general.name", llama().keys.get("general.type")!),
      ],
      [
        "another number of parts",
        (all) => void all[1]!.keys.set("split.count", splitGguf(llama(), 4)[0]!.keys.get("split.count")!),
      ],
      ["a tensor less", (all) => void all[2]!.tensors.delete([...all[2]!.tensors.keys()][0]!)],
      [
        "a tensor twice",
        (all) => all[0]!.tensors.forEach((tensor, name) => all[1]!.tensors.set(name, tensor)),
      ],
    ])("%s is refused", async (_, change) => {
      writeParts(change);
      expect((await failure(partName(1))).code).toBe("ERR_MODEL_FORMAT");
    });

    test("a first part under another name is refused", async () => {
      writeFileSync(path, writeGguf(parts[0]!));
      const error = await failure(path);
      expect(error.code).toBe("ERR_MODEL_FORMAT");
      expect(error.message).toContain("-00001-of-00003.gguf");
    });
  });
});
