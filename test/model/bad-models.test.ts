/** Model folders and files that are damaged, nonsensical or not supported: a coded error each, and the process goes on. */
import { mkdirSync, readFileSync, rmSync, symlinkSync, truncateSync, writeFileSync } from "node:fs";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { loadModel, type LowrankError, type Model } from "#lib/index.js";
import { failureOf, tinyGguf, tinyModel } from "../generate/tiny-models.js";
import { AlteredModel, type RawTensor } from "./altered-model.js";

const prompt = { tokens: [1, 2, 3] };
let copy: AlteredModel;
let running: Model;
beforeAll(async () => {
  copy = new AlteredModel();
  running = await loadModel(tinyModel("llama"), { threads: 1 });
});
afterEach(async () => {
  expect((await running.generate(prompt, { maxTokens: 2 }).result()).tokens).toHaveLength(2);
  copy.restore();
});
afterAll(async () => {
  // The unaltered copy loads: what was refused were the alterations.
  const model = await loadModel(copy.folder, { threads: 1 });
  await model.dispose();
  await running.dispose();
  copy.remove();
});

const failure = (path = copy.folder): Promise<LowrankError> =>
  failureOf(async () => (await loadModel(path, { threads: 1 })).dispose());

describe("config.json", () => {
  const format = "ERR_MODEL_FORMAT";
  const unsupported = "ERR_MODEL_UNSUPPORTED";
  const integers = [
    "hidden_size",
    "intermediate_size",
    "num_attention_heads",
    "num_hidden_layers",
    "num_key_value_heads",
    "vocab_size",
    "head_dim",
  ];
  const nonsense = [0, -1, 1.5, "64", 1e12, [64], {}, true];
  const table = integers.flatMap((key) =>
    nonsense.map((value): [string, unknown, string[]] => [key, value, [format]]),
  );
  test.each<[string, unknown, string[]]>([
    ...table,
    ["hidden_size", undefined, [format]],
    ["hidden_size", 128, [format]],
    ["hidden_size", 2 ** 30, [format, unsupported]],
    ["num_attention_heads", 3, [format]],
    ["num_key_value_heads", 3, [format]],
    ["num_hidden_layers", 3, [format]],
    ["num_hidden_layers", 100_000, [format]],
    ["vocab_size", 2 ** 31 - 1, [format]],
    ["head_dim", 15, [format, unsupported]],
    ["model_type", undefined, [format]],
    ["model_type", 5, [format]],
    ["model_type", "mamba", [unsupported]],
    ["model_type", "../llama", [unsupported]],
    ["model_type", "qwen3", [format]],
    ["hidden_act", "relu", [unsupported]],
    ["rms_norm_eps", -1, [format]],
    ["rms_norm_eps", "small", [format]],
    ["max_position_embeddings", 0, [format]],
    ["tie_word_embeddings", "yes", [format]],
    ["tie_word_embeddings", false, [format]],
    ["rope_parameters", { rope_type: "wavy", rope_theta: 10000 }, [unsupported]],
    ["rope_parameters", { rope_type: "default", rope_theta: -1 }, [format]],
    ["rope_parameters", { rope_type: "llama3", rope_theta: 10000 }, [format]],
    ["rope_parameters", { rope_type: "linear", rope_theta: 10000, factor: 0 }, [format]],
    ["rope_parameters", "linear", [format]],
    ["rope_parameters", ["linear"], [format]],
    [
      "rope_parameters",
      { rope_type: "yarn", factor: 4, original_max_position_embeddings: 64 },
      [unsupported],
    ],
    ["rope_scaling", { rope_type: "yarn", factor: 4, original_max_position_embeddings: 64 }, [unsupported]],
    ["rope_scaling", "linear", [format]],
    ["layer_types", ["full_attention", "wavy_attention"], [format]],
    ["layer_types", ["full_attention"], [format]],
    ["layer_types", ["full_attention", "sliding_attention"], [unsupported]],
    ["quantization_config", { bits: 4 }, [unsupported]],
  ])("%s: %j", async (key, value, codes) => {
    copy.editConfig((config) => (config[key] = value));
    const error = await failure();
    expect(codes).toContain(error.code);
    expect(error.message).toMatch(/^Expected /);
  });

  test.each(["", "{", "[]", "5", '"llama"', "[".repeat(100_000), '{"model_type": "llama"}', "\0"])(
    "as %j",
    async (text) => {
      writeFileSync(copy.path("config.json"), text);
      expect((await failure()).code).toBe(format);
    },
  );

  test("that is missing, a folder, or larger than any", async () => {
    rmSync(copy.path("config.json"));
    expect(["ERR_MODEL_NOT_FOUND", "ERR_MODEL_FORMAT", "ERR_IO"]).toContain((await failure()).code);
    mkdirSync(copy.path("config.json"));
    expect(["ERR_MODEL_NOT_FOUND", "ERR_MODEL_FORMAT", "ERR_IO"]).toContain((await failure()).code);
    rmSync(copy.path("config.json"), { recursive: true });
    writeFileSync(copy.path("config.json"), "{}");
    truncateSync(copy.path("config.json"), 2 ** 36);
    expect((await failure()).code).toBe(format);
  });
});

describe("tensors", () => {
  const q = "model.layers.0.self_attn.q_proj.weight";
  const edit = (change: (tensors: Map<string, RawTensor>) => void): Promise<LowrankError> => {
    copy.editTensors(change);
    return failure();
  };
  const names = ["model.embed_tokens.weight", "model.norm.weight", q, "model.layers.1.mlp.down_proj.weight"];

  test.each(names)("without %s", async (name) => {
    const error = await edit((tensors) => tensors.delete(name));
    expect(error.code).toBe("ERR_MODEL_FORMAT");
    expect(error.message).toContain(name);
  });

  test.each<[string, number[]]>([
    ["model.embed_tokens.weight", [64, 272]],
    ["model.embed_tokens.weight", [272 * 64]],
    ["model.embed_tokens.weight", [272, 64, 1]],
    ["model.embed_tokens.weight", [0, 64]],
    ["model.norm.weight", [64, 1]],
    ["model.norm.weight", []],
    [q, [32, 128]],
    [q, [0]],
    ["model.layers.1.mlp.down_proj.weight", [172, 64]],
  ])("%s of the shape %j", async (name, shape) => {
    const error = await edit((tensors) => {
      const { dtype, bytes } = tensors.get(name)!;
      const size = 2 * shape.reduce((product, n) => product * n, 1);
      tensors.set(name, { dtype, shape, bytes: bytes.slice(0, size) });
    });
    expect(error.code).toBe("ERR_MODEL_FORMAT");
    expect(error.message).toContain(name);
  });

  test.each(["I64", "U8", "BOOL", "F8_E4M3", "F99"])("dtype %s", async (dtype) => {
    const size = { I64: 8, U8: 1, BOOL: 1, F8_E4M3: 1, F99: 2 }[dtype]!;
    const error = await edit((tensors) => {
      const { shape } = tensors.get(q)!;
      tensors.set(q, { dtype, shape, bytes: new Uint8Array(size * shape[0]! * shape[1]!) });
    });
    expect(["ERR_MODEL_FORMAT", "ERR_MODEL_UNSUPPORTED"]).toContain(error.code);
  });

  test.each([
    ["NaN", 0x7fc0],
    ["infinity", 0x7f80],
  ])("%s among the weights", async (_, bits) => {
    for (const name of names) {
      copy.restore();
      const error = await edit((tensors) => {
        const { bytes } = tensors.get(name)!;
        bytes.set([bits & 255, bits >> 8], bytes.length - 2);
      });
      expect(error.code).toBe("ERR_MODEL_FORMAT");
      expect(error.message).toContain("finite");
    }
  });

  test("a file cut short anywhere", async () => {
    const whole = readFileSync(copy.path("model.safetensors"));
    const cuts = [0, 1, 7, 8, 9, whole.length - 1];
    for (let at = 0; at < whole.length; at += Math.ceil(whole.length / 40)) cuts.push(at);
    for (const at of cuts) {
      writeFileSync(copy.path("model.safetensors"), whole.subarray(0, at));
      expect((await failure()).code, `at ${at}`).toBe("ERR_MODEL_FORMAT");
    }
  });

  test("a file that is missing", async () => {
    rmSync(copy.path("model.safetensors"));
    expect(["ERR_MODEL_NOT_FOUND", "ERR_MODEL_FORMAT", "ERR_IO"]).toContain((await failure()).code);
  });
});

describe("shards", () => {
  let sharded: AlteredModel;
  const INDEX = "model.safetensors.index.json";
  beforeAll(() => {
    sharded = new AlteredModel(tinyModel("mistral"));
  });
  afterEach(() => sharded.restore());
  afterAll(() => sharded.remove());
  const editIndex = (edit: (map: Record<string, string>) => unknown): Promise<LowrankError> => {
    const index = JSON.parse(readFileSync(sharded.path(INDEX), "utf8")) as {
      weight_map: Record<string, string>;
    };
    edit(index.weight_map);
    writeFileSync(sharded.path(INDEX), JSON.stringify(index));
    return failure(sharded.folder);
  };

  test.each<[string, (map: Record<string, string>, first: string) => unknown]>([
    ["names a file that is missing", (map, first) => (map[first] = "model-00009-of-00003.safetensors")],
    ["leads out of the folder", (map, first) => (map[first] = "../model-00001-of-00003.safetensors")],
    ["leads to another place", (map, first) => (map[first] = "/etc/passwd")],
    [
      "leads to a link",
      (map, first) => {
        symlinkSync("/dev/zero", sharded.path("link.safetensors"));
        map[first] = "link.safetensors";
      },
    ],
    [
      "puts a tensor into the wrong file",
      (map, first) => {
        map[first] = Object.values(map).find((file) => file !== map[first])!;
      },
    ],
    ["has a number for a file", (map, first) => (map[first] = 5 as never)],
  ])("an index that %s", async (_, change) => {
    const error = await editIndex((map) => change(map, Object.keys(map)[0]!));
    expect(["ERR_MODEL_FORMAT", "ERR_IO"]).toContain(error.code);
  });

  test("an index that is no index", async () => {
    for (const text of ["", "[]", "{}", '{"weight_map": []}', '{"weight_map": {}}']) {
      writeFileSync(sharded.path(INDEX), text);
      expect((await failure(sharded.folder)).code).toBe("ERR_MODEL_FORMAT");
    }
  });

  test("a shard that is missing", async () => {
    rmSync(sharded.path("model-00002-of-00003.safetensors"));
    expect(["ERR_MODEL_NOT_FOUND", "ERR_MODEL_FORMAT", "ERR_IO"]).toContain(
      (await failure(sharded.folder)).code,
    );
  });
});

describe("GGUF", () => {
  const bytes = readFileSync(tinyGguf("llama-q8_0.gguf"));
  const load = (content: Uint8Array): Promise<LowrankError> => {
    writeFileSync(copy.path("model.gguf"), content);
    return failure(copy.path("model.gguf"));
  };

  test("cut short anywhere", async () => {
    for (let at = 0; at < bytes.length; at += Math.ceil(bytes.length / 40))
      expect((await load(bytes.subarray(0, at))).code, `at ${at}`).toBe("ERR_MODEL_FORMAT");
  });

  test.each([
    ["no GGUF", Buffer.from("not a model")],
    ["an adapter", readFileSync(tinyGguf("plain-f32.gguf"))],
    ["a safetensors file", Buffer.from("{}")],
  ])("%s", async (_, content) => {
    expect(["ERR_MODEL_FORMAT", "ERR_MODEL_UNSUPPORTED"]).toContain((await load(content)).code);
  });

  test("altered bytes of the header give a model or a coded error, never anything else", async () => {
    // All of them in `npm run verify`.
    const count = process.env["LOWRANK_FULL"] === "1" ? 100 : 25;
    for (let i = 0; i < count; i++) {
      const content = Buffer.from(bytes);
      content[(i * 7919) % 12_000] = (i * 31 + 17) & 255;
      writeFileSync(copy.path("model.gguf"), content);
      const [outcome] = await Promise.allSettled([loadModel(copy.path("model.gguf"), { threads: 1 })]);
      if (outcome.status === "fulfilled") await outcome.value.dispose();
      else expect(outcome.reason).toMatchObject({ code: expect.stringMatching(/^ERR_/) as string });
    }
  });
});

describe("tokenizer.json", () => {
  test.each(["", "{", "[]", '{"model":{"type":"BPE"}}'])(
    "%j ends the load, and the engine's with it",
    async (text) => {
      writeFileSync(copy.path("tokenizer.json"), text);
      expect((await failure()).code).toBe("ERR_TOKENIZER");
    },
  );
});
