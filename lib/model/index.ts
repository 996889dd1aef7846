export { loadModel } from "./load-model.js";
export { Model, type ChatOptions, type ModelMemory } from "./model.js";
export type { LoadModelOptions, LoadProgress } from "./options.js";
export {
  MODEL_ALIASES,
  resolveModel,
  type ModelAlias,
  type ResolvedModel,
  type ResolveModelOptions,
} from "./sources/index.js";
