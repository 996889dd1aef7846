/** adapter_config.json: what is malformed, not supported, or meant to harm is refused with its code, quickly, and nothing is kept. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { loadModel, type Model } from "#lib/index.js";
import { failureOf, safetensors, tinyModel } from "../generate/tiny-models.js";
import {
  moduleName,
  pairAdapter,
  pairConfig,
  pairTensors,
  someValues,
  type PeftAdapter,
} from "./forcing-adapter.js";

let model: Model;
let good: PeftAdapter;
beforeAll(async () => {
  model = await loadModel(tinyModel("llama"), { threads: 1 });
  good = pairAdapter(model.facts, 4, 1);
});
afterAll(async () => {
  expect(model.adapters.list()).toEqual([]);
  expect(model.memory().adapterBytes).toBe(0);
  // The very adapter that all cases alter: what was refused was the alteration.
  await model.adapters.load("good", good);
  await model.dispose();
});

const loadWith = (changes: Record<string, unknown> | unknown): (() => Promise<unknown>) => {
  const isPatch = typeof changes === "object" && changes !== null && !Array.isArray(changes);
  const config = (isPatch ? { ...good.config, ...changes } : changes) as object;
  return () => model.adapters.load("bad", { config, weights: good.weights });
};

describe("malformed", () => {
  test.each<[string, unknown]>([
    ["no peft_type", { peft_type: undefined }],
    ["a peft_type of another type", { peft_type: 5 }],
    ["no r", { r: undefined }],
    ...[0, -1, 1.5, "4", 1e9, null, [4], {}].map((r): [string, unknown] => [`r ${JSON.stringify(r)}`, { r }]),
    ...[0, -1, "8", 1e7, {}].map((lora_alpha): [string, unknown] => [
      `alpha ${String(lora_alpha)}`,
      { lora_alpha },
    ]),
    ["use_rslora 1", { use_rslora: 1 }],
    ["bias some", { bias: "some" }],
    ["target_modules 5", { target_modules: 5 }],
    ["target_modules of numbers", { target_modules: [5] }],
    ["target_modules with an empty name", { target_modules: [""] }],
    ["target_modules that end in a bracket", { target_modules: ".*(q_proj" }],
    ["a pattern that is too long", { target_modules: "q".repeat(5000) }],
    ["rank_pattern with a rank of 0", { rank_pattern: { q_proj: 0 } }],
    ["rank_pattern as a list", { rank_pattern: [4] }],
    ["rank_pattern that is no pattern", { rank_pattern: { "(q": 4 } }],
    ["alpha_pattern with text", { alpha_pattern: { q_proj: "8" } }],
    ["layers_to_transform below 0", { layers_to_transform: [-1] }],
    ["modules_to_save 5", { modules_to_save: 5 }],
    ["alora_invocation_tokens, none", { alora_invocation_tokens: [] }],
    ["alora_invocation_tokens below 0", { alora_invocation_tokens: [-1] }],
    ["an array", []],
    ["a string", "config"],
    ["a BigInt", { r: 4n }],
  ])("%s", async (_, changes) => {
    const error = await failureOf(loadWith(changes));
    expect(["ERR_ADAPTER_FORMAT", "ERR_INVALID_ARGUMENT"]).toContain(error.code);
    expect(error.message).toMatch(/^Expected /);
  });

  test("a cycle, and nesting without end", async () => {
    const cyclic: Record<string, unknown> = { ...good.config };
    cyclic["self"] = cyclic;
    let deep: unknown = 1;
    for (let i = 0; i < 100_000; i++) deep = [deep];
    for (const config of [cyclic, { ...good.config, runtime_config: deep }]) {
      const error = await failureOf(() => model.adapters.load("bad", { config, weights: good.weights }));
      expect(error.code).toBe("ERR_ADAPTER_FORMAT");
    }
  });
});

describe("not supported, said so by its key", () => {
  test.each<[string, Record<string, unknown>, string]>([
    ...["LOHA", "LOKR", "IA3", "ADALORA", "PREFIX_TUNING", "BOFT", "lora"].map(
      (type): [string, Record<string, unknown>, string] => [type, { peft_type: type }, type],
    ),
    ...["pissa", "pissa_niter_16", "olora", "corda", "loftq", "lora_ga", "PiSSA"].map(
      (start): [string, Record<string, unknown>, string] => [
        start,
        { init_lora_weights: start },
        "init_lora_weights",
      ],
    ),
    ["use_qalora", { use_qalora: true }, "use_qalora"],
    ["layer_replication", { layer_replication: [[0, 2]] }, "layer_replication"],
    ["trained rows of lm_head", { trainable_token_indices: { lm_head: [1] } }, "trainable_token_indices"],
    ["target_parameters", { target_parameters: ["x"] }, "target_parameters"],
    ["a key of the future", { future_option: 3 }, "future_option"],
    ["a module of another architecture", { target_modules: ["query_key_value"] }, "query_key_value"],
    ["DoRA with a bias in B", { use_dora: true, lora_bias: true }, "lora_bias"],
  ])("%s", async (_, changes, named) => {
    const error = await failureOf(loadWith(changes));
    expect(error.code).toBe("ERR_ADAPTER_UNSUPPORTED");
    expect(error.message).toContain(named);
  });

  test("what such keys have when they are not set does no harm", async () => {
    const unset = { use_qalora: false, layer_replication: null, future_option: null, another: {}, third: [] };
    await loadWith({ ...unset, init_lora_weights: "gaussian", lora_dropout: 0.1, task_type: "CAUSAL_LM" })();
    await model.adapters.unload("bad");
  });
});

describe("configuration and tensors do not agree", () => {
  test.each<[string, Record<string, unknown>, string]>([
    ["another rank", { r: 8 }, "ERR_ADAPTER_SHAPE"],
    ["another rank for one module", { rank_pattern: { v_proj: 2 } }, "ERR_ADAPTER_SHAPE"],
    ["a target without tensors", { target_modules: ["q_proj", "v_proj", "k_proj"] }, "ERR_ADAPTER_FORMAT"],
    ["tensors without a target", { target_modules: ["q_proj"] }, "ERR_ADAPTER_FORMAT"],
    ["tensors of an excluded module", { exclude_modules: ["v_proj"] }, "ERR_ADAPTER_FORMAT"],
    ["tensors of a layer that is left out", { layers_to_transform: [0] }, "ERR_ADAPTER_FORMAT"],
    ["no target at all", { target_modules: null }, "ERR_ADAPTER_FORMAT"],
    ["trained rows that are missing", { trainable_token_indices: [1] }, "ERR_ADAPTER_FORMAT"],
    ["DoRA without magnitudes", { use_dora: true }, "ERR_ADAPTER_FORMAT"],
    ["a bias of B that is missing", { lora_bias: true }, "ERR_ADAPTER_FORMAT"],
    ["a saved module that is missing", { modules_to_save: ["lm_head"] }, "ERR_ADAPTER_FORMAT"],
    ["saved norms that are missing", { modules_to_save: ["norm"] }, "ERR_ADAPTER_FORMAT"],
  ])("%s", async (_, changes, code) => {
    expect((await failureOf(loadWith(changes))).code).toBe(code);
  });
});

describe("meant to harm", () => {
  // Python itself would backtrack for ages; none of them matches a module.
  test.each<[string, Record<string, unknown>, string]>([
    ["target_modules", { target_modules: "(([a-z_.0-9])+)+!" }, "ERR_ADAPTER_UNSUPPORTED"], // nothing is chosen
    ["exclude_modules", { exclude_modules: "(.*)*(.*)*(.*)*!" }, "loaded"],
    ["rank_pattern", { rank_pattern: { "((a|[a-z_.0-9])+)+!": 4 } }, "loaded"],
    ["alpha_pattern", { alpha_pattern: { "(([a-z_.0-9]+)*)*!": 4 } }, "loaded"],
  ])("a pattern in %s that would backtrack without end is decided quickly", async (key, changes, outcome) => {
    const start = performance.now();
    const [result] = await Promise.allSettled([loadWith(changes)()]);
    if (result.status === "fulfilled") await model.adapters.unload("bad");
    expect(performance.now() - start).toBeLessThan(3000);
    if (outcome === "loaded") return expect(result.status).toBe("fulfilled");
    expect(result).toMatchObject({ reason: { code: outcome, message: expect.stringContaining(key) } });
  });

  test("patterns that take too many steps together are refused", async () => {
    const bombs = Array.from({ length: 1000 }, (_, i) => [
      `(?:(?:[a-z_.0-9]{1,${(i % 50) + 2}}){1,9})+!${i}`,
      4,
    ]);
    const start = performance.now();
    const error = await failureOf(loadWith({ rank_pattern: Object.fromEntries(bombs) as object }));
    expect(error.code).toBe("ERR_ADAPTER_FORMAT");
    expect(error.message).toContain("rank_pattern");
    expect(performance.now() - start).toBeLessThan(3000);
  });

  test.each<[string, string, string]>([
    ["(?i)Q_PROJ", "ERR_ADAPTER_FORMAT", "flags that do not stand at the start"], // in front of it PEFT puts a group
    ["(q_proj)\\1", "ERR_ADAPTER_UNSUPPORTED", "a back-reference at character 9"],
    ["(?P<n>q)_proj(?P=n)", "ERR_ADAPTER_UNSUPPORTED", "a back-reference at character 14"],
    ["(a)?(?(1)q_proj|v_proj)", "ERR_ADAPTER_UNSUPPORTED", "a conditional at character 5"],
    ["q_proj**", "ERR_ADAPTER_FORMAT", "a second quantifier at character 8"],
    ["[z-a]", "ERR_ADAPTER_FORMAT", "a range that is none at character 2"],
  ])("%s as a key of rank_pattern is refused by name", async (pattern, code, what) => {
    const error = await failureOf(loadWith({ rank_pattern: { [pattern]: 4 } }));
    expect(error.code).toBe(code);
    expect(error.message).toContain(`for rank_pattern, received ${JSON.stringify(pattern)} with ${what}`);
  });

  test.each(["__proto__", "constructor", "prototype"])("the key %s pollutes nothing", async (key) => {
    for (const text of [
      `{"${key}": {"polluted": true}}`,
      `{"rank_pattern": {"${key}": 4}}`,
      `{"rank_pattern": {"${key}": {"polluted": true}}}`,
      `{"alpha_pattern": {"${key}": 4}, "eva_config": {"${key}": {"polluted": true}}}`,
    ]) {
      const merged = JSON.stringify(good.config).slice(0, -1) + "," + text.slice(1);
      const config = JSON.parse(merged) as object;
      const [outcome] = await Promise.allSettled([
        model.adapters.load("bad", { config, weights: good.weights }),
      ]);
      if (outcome.status === "rejected") expect(outcome.reason).toHaveProperty("code");
      else await model.adapters.unload("bad");
      expect({}).not.toHaveProperty("polluted");
      expect(Object.keys(Object.prototype)).toEqual([]);
    }
  });

  test("very many patterns", async () => {
    const many = Object.fromEntries(Array.from({ length: 20_000 }, (_, i) => [`x${i}`, 4]));
    expect((await failureOf(loadWith({ rank_pattern: many }))).code).toBe("ERR_ADAPTER_FORMAT");
  });
});

test("each supported key of a good configuration has an effect or is checked", async () => {
  const { facts } = model;
  const tokens = [1, 2, 3, 4];
  const logitsOf = async (config: object, weights: Uint8Array): Promise<string> => {
    await model.adapters.load("case", { config, weights });
    const { logits } = await model.logits(tokens, { adapter: "case" });
    await model.adapters.unload("case");
    return Buffer.from(logits.buffer).toString("base64");
  };
  const plain = await logitsOf(good.config, good.weights);
  const changed = [{ lora_alpha: 9 }, { use_rslora: true }, { alpha_pattern: { v_proj: 1 } }];
  for (const changes of changed)
    expect(await logitsOf({ ...good.config, ...changes }, good.weights)).not.toBe(plain);
  // Tells how the base was stored while training; A and B are the same.
  expect(await logitsOf({ ...good.config, fan_in_fan_out: true }, good.weights)).toBe(plain);
  const mixed = pairTensors(facts, 4, 1);
  const odd = moduleName(1, "v_proj");
  mixed[`${odd}.lora_A.weight`] = {
    shape: [3, facts.hiddenSize],
    values: someValues(3 * facts.hiddenSize, 5),
  };
  mixed[`${odd}.lora_B.weight`] = {
    shape: [facts.kvHeads * facts.headDim, 3],
    values: someValues(3 * facts.kvHeads * facts.headDim, 6),
  };
  const config = { ...pairConfig(4), rank_pattern: { "layers.1.self_attn.v_proj": 3 } };
  expect(await logitsOf(config, safetensors(mixed))).not.toBe(plain);
});
