import { decoderNames } from "../native/addon.js";
import type { ModelFacts } from "../native/types.js";

/** A place of the base model that an adapter may touch, by its path in Hugging Face's naming. */
export interface ModulePath {
  /** Such as "model.layers.3.self_attn.q_proj". */
  path: string;
  /** A name of DecoderNames. */
  module: string;
  /** -1 where it belongs to no layer. */
  layer: number;
}

/** The projections that a fused one stands for, in the order of its rows. */
export function fusedParts(module: string): readonly string[] | undefined {
  return decoderNames().fused.find(({ name }) => name === module)?.parts;
}

/** Every module path of a base model; fused projections included, since adapters of fused checkpoints name them. */
export function modulePaths(facts: ModelFacts): Map<string, ModulePath> {
  const { projections, fused, norms, outer } = decoderNames();
  const paths = new Map<string, ModulePath>();
  const add = (path: string, module: string, layer: number): void => {
    paths.set(path, { path, module, layer });
  };
  for (const { name, path } of outer) add(path, name, -1);
  for (let layer = 0; layer < facts.layers; layer++)
    for (const { name, path } of [
      ...projections,
      ...fused,
      ...norms.filter((norm) => facts.layerNorms.includes(norm.name)),
    ])
      add(`model.layers.${layer}.${path}`, name, layer);
  return paths;
}

/** True for the tables, of [vocabulary, hidden]. */
export const isTable = (module: string): boolean => module === "lm_head" || module === "embed_tokens";

/** True for places that can hold a low-rank pair, as they are named in an unfused checkpoint. */
export function isTarget(module: string): boolean {
  return isTable(module) || decoderNames().projections.some(({ name }) => name === module);
}
