// The addon's table of names, as adapters read it.
import { expect, test } from "vitest";
import { fusedParts, isTarget, modulePaths } from "#lib/adapters/module-path.js";
import { decoderNames } from "#lib/native/addon.js";
import type { ModelFacts } from "#lib/index.js";

const facts = (layerNorms: string[]): ModelFacts => ({ layers: 2, layerNorms }) as unknown as ModelFacts;

test("the table has every module in every dialect", () => {
  const { projections, fused, norms, outer } = decoderNames();
  expect(projections.map(({ name, path, gguf }) => `${name} ${path} ${gguf}`)).toEqual([
    "q_proj self_attn.q_proj attn_q",
    "k_proj self_attn.k_proj attn_k",
    "v_proj self_attn.v_proj attn_v",
    "o_proj self_attn.o_proj attn_output",
    "gate_proj mlp.gate_proj ffn_gate",
    "up_proj mlp.up_proj ffn_up",
    "down_proj mlp.down_proj ffn_down",
  ]);
  expect(fused).toEqual([
    {
      name: "qkv_proj",
      path: "self_attn.qkv_proj",
      gguf: "attn_qkv",
      parts: ["q_proj", "k_proj", "v_proj"],
    },
    { name: "gate_up_proj", path: "mlp.gate_up_proj", gguf: "ffn_up", parts: ["gate_proj", "up_proj"] },
  ]);
  expect(norms.map(({ name, path }) => `${name} ${path}`)).toEqual([
    "input_layernorm input_layernorm",
    "post_attention_layernorm post_attention_layernorm",
    "pre_feedforward_layernorm pre_feedforward_layernorm",
    "post_feedforward_layernorm post_feedforward_layernorm",
    "q_norm self_attn.q_norm",
    "k_norm self_attn.k_norm",
  ]);
  expect(outer.map(({ name, path, gguf }) => `${name} ${path} ${gguf}`)).toEqual([
    "embed_tokens model.embed_tokens token_embd",
    "norm model.norm output_norm",
    "lm_head lm_head output",
  ]);
});

test("a base has the paths of its layers, with the norms that it has alone", () => {
  const paths = modulePaths(facts(["input_layernorm", "k_norm"]));
  expect(paths.size).toBe(3 + 2 * (7 + 2 + 2));
  expect(paths.get("model.layers.1.self_attn.k_norm")).toMatchObject({ module: "k_norm", layer: 1 });
  expect(paths.get("model.layers.1.mlp.gate_up_proj")).toMatchObject({ module: "gate_up_proj", layer: 1 });
  expect(paths.get("model.norm")).toMatchObject({ module: "norm", layer: -1 });
  expect(paths.has("model.layers.0.self_attn.q_norm")).toBe(false);
  expect(paths.has("model.layers.2.self_attn.q_proj")).toBe(false);
});

test("projections and tables hold low-rank pairs, fused ones stand for their parts", () => {
  expect(["q_proj", "down_proj", "lm_head", "embed_tokens"].every(isTarget)).toBe(true);
  expect(["norm", "q_norm", "qkv_proj", "input_layernorm"].some(isTarget)).toBe(false);
  expect(fusedParts("qkv_proj")).toEqual(["q_proj", "k_proj", "v_proj"]);
  expect(fusedParts("q_proj")).toBeUndefined();
});
