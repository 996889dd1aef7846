import type { AdapterEntry, LayerNormName, ModelFacts, ProjectionName } from "../native/types.js";

/** A place of the base model that an adapter may touch, by its path in Hugging Face's naming. */
export interface ModulePath {
  /** Such as "model.layers.3.self_attn.q_proj". */
  path: string;
  module: AdapterEntry["module"] | "qkv_proj" | "gate_up_proj";
  /** -1 where it belongs to no layer. */
  layer: number;
}

const ATTENTION: readonly ProjectionName[] = ["q_proj", "k_proj", "v_proj", "o_proj"];
const FEED_FORWARD: readonly ProjectionName[] = ["gate_proj", "up_proj", "down_proj"];
const HEAD_NORMS: readonly LayerNormName[] = ["q_norm", "k_norm"];

export const PROJECTIONS: readonly ProjectionName[] = [...ATTENTION, ...FEED_FORWARD];
const FUSED = { qkv_proj: ["q_proj", "k_proj", "v_proj"], gate_up_proj: ["gate_proj", "up_proj"] } as const;

/** The projections that a fused one stands for, in the order of its rows. */
export function fusedParts(module: string): readonly ProjectionName[] | undefined {
  return module === "qkv_proj" || module === "gate_up_proj" ? FUSED[module] : undefined;
}

/** Output features of a projection. */
export function outFeatures(facts: ModelFacts, projection: ProjectionName): number {
  switch (projection) {
    case "q_proj":
      return facts.heads * facts.headDim;
    case "k_proj":
    case "v_proj":
      return facts.kvHeads * facts.headDim;
    case "gate_proj":
    case "up_proj":
      return facts.intermediateSize;
    default:
      return facts.hiddenSize;
  }
}

/** Every module path of a base model; fused projections included, since adapters of fused checkpoints name them. */
export function modulePaths(facts: ModelFacts): Map<string, ModulePath> {
  const paths = new Map<string, ModulePath>();
  const add = (path: string, module: ModulePath["module"], layer: number): void => {
    paths.set(path, { path, module, layer });
  };
  add("lm_head", "lm_head", -1);
  add("model.embed_tokens", "embed_tokens", -1);
  add("model.norm", "norm", -1);
  for (let layer = 0; layer < facts.layers; layer++) {
    const prefix = `model.layers.${layer}`;
    for (const name of [...ATTENTION, "qkv_proj" as const]) add(`${prefix}.self_attn.${name}`, name, layer);
    for (const name of [...FEED_FORWARD, "gate_up_proj" as const]) add(`${prefix}.mlp.${name}`, name, layer);
    for (const name of facts.layerNorms)
      add(HEAD_NORMS.includes(name) ? `${prefix}.self_attn.${name}` : `${prefix}.${name}`, name, layer);
  }
  return paths;
}

/** True for the tables, of [vocabulary, hidden]. */
export const isTable = (module: string): boolean => module === "lm_head" || module === "embed_tokens";

/** True for places that can hold a low-rank pair, as they are named in an unfused checkpoint. */
export function isTarget(module: string): boolean {
  return isTable(module) || (PROJECTIONS as readonly string[]).includes(module);
}
