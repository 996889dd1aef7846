export { loadModel } from "./load-model.js";
export { Model, type ModelDevice, type ModelMemory } from "./model.js";
export { LOAD } from "./options.js";
export type { DeviceName, LoadModelOptions, LoadProgress } from "./options.js";
export {
  MODEL_ALIASES,
  resolveModel,
  type ModelAlias,
  type ResolvedModel,
  type ResolveModelOptions,
} from "./sources/index.js";
