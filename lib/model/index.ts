export { loadModel } from "./load-model.js";
export { Model, type ModelDevice, type ModelMemory } from "./model.js";
export { LOAD } from "./options.js";
export type { DeviceName, LoadModelOptions, LoadProgress } from "./options.js";
export {
  cacheDirectories,
  cachedModels,
  hubEndpoint,
  hubOffline,
  MODEL_ALIASES,
  packedDirectory,
  removeCachedModel,
  resolveModel,
  SOURCE,
  type CachedModel,
  type ModelAlias,
  type ResolvedModel,
  type ResolveModelOptions,
} from "./sources/index.js";
