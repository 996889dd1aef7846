import { addon } from "./addon.js";

export { addon } from "./addon.js";
export { findCudaPlugin } from "./cuda-plugin.js";
export { devices, type Device } from "./devices.js";
export { ENGINE } from "./engine-options.js";
export { requireInt8 } from "./precision.js";
export {
  nativeSampling,
  SAMPLING,
  SERVED,
  type ServedRequest,
  type VocabularyContext,
} from "./request-options.js";
export type { AdapterPrecision, EngineStatistics, MemoryUse, ModelFacts, Precision } from "./types.js";

/** Instruction sets that this build has kernels for, best first. LOWRANK_ISA forces one by its name. */
export function instructionSets(): { name: string; description: string; available: boolean }[] {
  return addon().instructionSets();
}
