import { addon } from "./addon.js";

export { addon } from "./addon.js";
export { findCudaPlugin } from "./cuda-plugin.js";
export { devices, type Device } from "./devices.js";
export type { AdapterPrecision, EngineStatistics, MemoryUse, ModelFacts, Precision } from "./types.js";

/** Instruction sets that this build has kernels for, best first. LOWRANK_ISA forces one by its name. */
export function instructionSets(): { name: string; description: string; available: boolean }[] {
  return addon().instructionSets();
}
