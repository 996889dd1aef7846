/** Adapters made in memory: one that forces a token, so that a test sees at once which version a request ran with; and random ones. */
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { ModelFacts } from "#lib/index.js";
import { safetensors, type TensorLike } from "../generate/tiny-models.js";

const PREFIX = "base_model.model.";

export interface PeftAdapter {
  config: Record<string, unknown>;
  weights: Uint8Array;
}

/** A LoRA on lm_head whose bias lifts one token above all others, whatever the prompt. */
export function forcingAdapter(facts: ModelFacts, token: number): PeftAdapter {
  const { hiddenSize, vocabularySize } = facts;
  const bias = new Float32Array(vocabularySize);
  bias[token] = 1e4;
  return {
    config: { peft_type: "LORA", r: 1, lora_alpha: 1, target_modules: ["lm_head"], lora_bias: true },
    weights: safetensors({
      [`${PREFIX}lm_head.lora_A.weight`]: { shape: [1, hiddenSize], values: new Float32Array(hiddenSize) },
      [`${PREFIX}lm_head.lora_B.weight`]: {
        shape: [vocabularySize, 1],
        values: new Float32Array(vocabularySize),
      },
      [`${PREFIX}lm_head.lora_B.bias`]: { shape: [vocabularySize], values: bias },
    }),
  };
}

/** Writes an adapter as PEFT does: a folder with configuration and weights. */
export async function writeAdapter(folder: string, { config, weights }: PeftAdapter): Promise<void> {
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, "adapter_config.json"), JSON.stringify(config));
  await writeFile(join(folder, "adapter_model.safetensors"), weights);
}

/** Deterministic numbers from -0.5 to 0.5. */
export function someValues(count: number, seed: number): Float32Array {
  let state = (seed * 40503 + 1) >>> 0;
  return Float32Array.from({ length: count }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32 - 0.5;
  });
}

export type Tensors = Record<string, TensorLike>;

export const moduleName = (layer: number, module: "q_proj" | "v_proj"): string =>
  `${PREFIX}model.layers.${layer}.self_attn.${module}`;

/** The pairs of q_proj and v_proj of every layer, at one rank. */
export function pairTensors(facts: ModelFacts, rank: number, seed: number): Tensors {
  const tensors: Tensors = {};
  for (let layer = 0; layer < facts.layers; layer++)
    for (const module of ["q_proj", "v_proj"] as const) {
      const rows = facts.headDim * (module === "q_proj" ? facts.heads : facts.kvHeads);
      const name = moduleName(layer, module);
      const each = seed + layer * 2 + (module === "q_proj" ? 0 : 1);
      tensors[`${name}.lora_A.weight`] = {
        shape: [rank, facts.hiddenSize],
        values: someValues(rank * facts.hiddenSize, each),
      };
      tensors[`${name}.lora_B.weight`] = { shape: [rows, rank], values: someValues(rows * rank, each + 100) };
    }
  return tensors;
}

export const pairConfig = (rank: number): Record<string, unknown> => ({
  peft_type: "LORA",
  r: rank,
  lora_alpha: 2 * rank,
  target_modules: ["q_proj", "v_proj"],
});

/** A plain LoRA on q_proj and v_proj of every layer. */
export function pairAdapter(facts: ModelFacts, rank: number, seed: number): PeftAdapter {
  return { config: pairConfig(rank), weights: safetensors(pairTensors(facts, rank, seed)) };
}
