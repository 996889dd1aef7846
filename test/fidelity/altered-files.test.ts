/**
 * Every key of config.json and of a GGUF header, altered: transformers' logits, a refusal, or a key of the lists below. What transformers
 * makes of each: test/golden/make_model_files.py.
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { loadModel, LowrankError } from "#lib/index.js";
import { AlteredModel } from "../model/altered-model.js";
import { ggufEntry, readGguf, writeGguf, type GgufTypeName } from "../model/gguf-file.js";
import { tinyGguf, tinyModel } from "../generate/tiny-models.js";
import { DATA, DEVICE, TINY_TOLERANCE, maxDifference } from "./golden.js";

/** Logits of the last position at ids spread evenly; of the unaltered model; or transformers has none. */
type Result = number[] | "same" | "error";

interface Golden {
  gguf: { file: string; tokens: number[]; base: number[]; cases: GgufCase[] }[];
  tensors: { model: string; change: string; keys: Record<string, unknown>; result: Result }[];
  config: { model: string; tokens: number[]; base: number[]; forms: Form[] }[];
}
interface Form {
  form: string;
  /** The key, with dots; its value; "" for several keys at once. */
  cases: [string, unknown, Result][];
}
interface GgufCase {
  keys: Record<string, [GgufTypeName, number | string | boolean] | "<absent>">;
  result: Result;
}

const golden = JSON.parse(
  readFileSync(join(DATA, "model-files", "model-files.golden.json"), "utf8"),
) as Golden;
const ABSENT = "<absent>";

/** What the engine makes of a model: the same logits, or the code of its refusal. */
async function outcomeOf(
  path: string,
  tokens: number[],
  count: number,
  options: { contextLength?: number } = {},
): Promise<number[] | string> {
  try {
    const model = await loadModel(path, { precision: "float32", device: DEVICE, threads: 1, ...options });
    try {
      const last = tokens.length - 1;
      const { logits } = await model.logits(tokens, { from: last, to: last + 1 });
      // As torch.linspace(0, last, count).long() has it.
      return Array.from(
        { length: count },
        (_, i) => logits[Math.floor((i * (logits.length - 1)) / (count - 1))]!,
      );
    } finally {
      await model.dispose();
    }
  } catch (error) {
    if (!LowrankError.isInstance(error)) throw error;
    return error.code;
  }
}

// Of biases that an alteration switches off; test/model/model-tensors.test.ts looks at it.
beforeAll(() => void vi.spyOn(process, "emitWarning").mockImplementation(() => undefined));
afterAll(() => void vi.restoreAllMocks());

const largest = (values: number[]): number => Math.max(...values.map(Math.abs));
const agree = (a: number[], b: number[]): boolean =>
  maxDifference(a, b) <= TINY_TOLERANCE * Math.max(largest(a), largest(b));

test("probes", async () => {
  for (const { model, tokens, base } of golden.config) {
    const found = await outcomeOf(tinyModel(model), tokens, base.length);
    expect(found).not.toBeTypeOf("string");
    expect(maxDifference(found as number[], base), model).toBeLessThanOrEqual(TINY_TOLERANCE * largest(base));
  }
});

/** Which of the cases the engine may refuse although transformers computes them: settings that it would ignore, or leave ambiguous. */
type Refusable = (key: string, value: unknown, config: Record<string, unknown>) => boolean;

/** Keys of config.json that no logit depends on: any value will do, also one that transformers' checks of types refuse. */
const MEANINGLESS = new Set([
  // what the file came from
  "_name_or_path",
  "architectures",
  "transformers_version",
  "vocab_size_of_tokenizer", // a key that nothing knows
  // how the weights are stored; they are read as they are
  "dtype",
  "torch_dtype",
  // training
  "attention_dropout",
  "embd_pdrop",
  "resid_pdrop",
  "initializer_range",
  "pretraining_tp",
  // generation
  "bos_token_id",
  "eos_token_id",
  "pad_token_id",
  "use_cache",
]);

/** Integers whose null transformers refuses, and which count as absent here. */
const NULL_IS_ABSENT = new Set([
  "head_dim",
  "max_window_layers",
  "no_rope_layer_interval",
  "rope_parameters.partial_rotary_factor",
  "rope_scaling.partial_rotary_factor",
  "sliding_window_pattern",
  "_sliding_window_pattern",
]);

/** Settings of other architectures: transformers ignores them where the class has none, and they say that the file is something else. */
const FOREIGN = new Set([
  "attention_bias",
  "attention_chunk_size",
  "attention_multiplier",
  "attn_logit_softcapping",
  "attn_output_gate",
  "embedding_multiplier",
  "final_logit_softcapping",
  "hidden_act",
  "hidden_activation",
  "is_encoder_decoder",
  "layer_types",
  "logits_scaling",
  "mlp_bias",
  "no_rope_layer_interval",
  "no_rope_layers",
  "num_experts",
  "num_local_experts",
  "query_pre_attn_scalar",
  "quantization_config",
  "residual_multiplier",
  "rope_local_base_freq",
  "sliding_window",
  "sliding_window_pattern",
  "use_bidirectional_attention",
  "use_sliding_window",
  "_sliding_window_pattern",
]);

/** Of these, what is an architecture's own: it is computed as transformers does. */
const OWN: Record<string, ReadonlySet<string>> = {
  gemma2: new Set(["attn_logit_softcapping", "final_logit_softcapping", "query_pre_attn_scalar"]),
  granite: new Set(["attention_multiplier", "embedding_multiplier", "logits_scaling", "residual_multiplier"]),
  smollm3: new Set(["no_rope_layers", "no_rope_layer_interval"]),
};

const isRefusable: Refusable = (key, value, config) => {
  if (OWN[config["model_type"] as string]?.has(key)) return false;
  const gemma = config["model_type"] === "gemma3_text";
  const text = JSON.stringify(value);
  if (FOREIGN.has(key)) return value !== null && value !== ABSENT;
  // transformers would make up the context; llama.cpp and this engine take it as stated.
  if (key === "max_position_embeddings") return value === ABSENT;
  // Fewer layers than the file has: transformers leaves the rest out.
  if (key === "num_hidden_layers") return typeof value === "number" && value < (config[key] as number);
  // The weights say which architecture they are; what is left of them, or of the configuration, is refused.
  if (key === "model_type") return true;
  if (key === "partial_rotary_factor") return value === 0.5;
  // Kinds of RoPE that are not supported.
  if (/"(?:yarn|dynamic)"/.test(text)) return true;
  // Two bases: the one at the top level, or in rope_parameters beside rope_scaling, differs.
  if (key === "rope_theta" || key.endsWith(".rope_theta")) return typeof value === "number";
  if (key === "rope_scaling")
    return config["rope_parameters"] !== undefined || text.includes("5000") || gemma;
  if (key === "rope_parameters") return gemma || config["rope_theta"] !== undefined;
  // Factors beside a type that has none.
  return key.endsWith(".rope_type") || key.endsWith(".type");
};

describe.each(golden.config)("$model", ({ model, tokens, base, forms }) => {
  const copy = new AlteredModel(tinyModel(model));
  // A tokenizer takes longer to load than the model.
  rmSync(copy.path("tokenizer.json"), { force: true });
  afterAll(() => copy.remove());
  // The frequencies of longrope follow from the context here, from the text in transformers: one length for both.
  const options = model === "phi3" ? { contextLength: tokens.length } : {};

  test.each(forms)("every key of $form", { timeout: 120_000 }, async ({ form, cases }) => {
    const original = JSON.parse(readFileSync(copy.path(form), "utf8")) as Record<string, unknown>;
    let computed = 0;
    for (const [path, value, result] of cases) {
      writeFileSync(copy.path("config.json"), JSON.stringify(altered(original, path, value)));
      const found = await outcomeOf(copy.folder, tokens, base.length, options);
      const title = `${path}: ${JSON.stringify(value)}, transformers: ${JSON.stringify(result)}, here: ${String(found)}`;
      if (typeof found === "string") {
        expect(["ERR_MODEL_FORMAT", "ERR_MODEL_UNSUPPORTED"], title).toContain(found);
        if (result !== "error") expect(isRefusable(path, value, original), title).toBe(true);
      } else if (result === "error") {
        const isMeaningless = MEANINGLESS.has(path) || (NULL_IS_ABSENT.has(path) && value === null);
        expect(isMeaningless && agree(found, base), title).toBe(true);
      } else {
        computed++;
        expect(agree(found, result === "same" ? base : result), title).toBe(true);
      }
    }
    expect(computed).toBeGreaterThan(cases.length / 5);
  });
});

function altered(config: Record<string, unknown>, path: string, value: unknown): Record<string, unknown> {
  const result = structuredClone(config);
  if (path === "") return { ...result, ...(value as Record<string, unknown>) };
  const keys = path.split(".");
  let inner = result;
  for (const key of keys.slice(0, -1)) inner = inner[key] as Record<string, unknown>;
  if (value === ABSENT) delete inner[keys.at(-1)!];
  else inner[keys.at(-1)!] = value;
  return result;
}

describe.each(golden.gguf)("$file", ({ file, tokens, base, cases }) => {
  const folder = mkdtempSync(join(tmpdir(), "lowrank-gguf-"));
  const path = join(folder, "model.gguf");
  const original = readFileSync(tinyGguf(file));
  afterAll(() => rmSync(folder, { recursive: true }));

  const withKeys = (keys: GgufCase["keys"]): Promise<number[] | string> => {
    const content = readGguf(original);
    // A tokenizer takes longer to load than the model.
    for (const key of [...content.keys.keys()]) if (key.startsWith("tokenizer.")) content.keys.delete(key);
    for (const [key, entry] of Object.entries(keys)) {
      if (entry === ABSENT) content.keys.delete(key);
      else content.keys.set(key, ggufEntry(...entry));
    }
    writeFileSync(path, writeGguf(content));
    return outcomeOf(path, tokens, base.length);
  };

  test("is written as it was read", async () => {
    expect(await withKeys({})).toEqual(await outcomeOf(tinyGguf(file), tokens, base.length));
  });

  test.each(cases)("$keys", async ({ keys, result }) => {
    const found = await withKeys(keys);
    if (result === "error") return expect(["ERR_MODEL_FORMAT", "ERR_MODEL_UNSUPPORTED"]).toContain(found);
    expect(found).not.toBeTypeOf("string");
    const expected = result === "same" ? base : result;
    expect(maxDifference(found as number[], expected)).toBeLessThanOrEqual(TINY_TOLERANCE * largest(base));
  });

  const hyperparameters = [...readGguf(original).keys.keys()].filter(
    (key) => !/^(?:tokenizer|general)\./.test(key),
  );
  test.each([...hyperparameters, "general.architecture", "general.type"])(
    "%s of another type",
    async (key) => {
      const { type } = readGguf(original).keys.get(key)!;
      const isText = type === ggufEntry("string", "").type;
      const found = await withKeys({ [key]: isText ? ["uint32", 5] : ["string", "text"] });
      expect(["ERR_MODEL_FORMAT", "ERR_MODEL_UNSUPPORTED"]).toContain(found);
    },
  );
});
