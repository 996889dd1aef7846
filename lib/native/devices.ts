import { cpus, totalmem } from "node:os";
import { addon } from "./addon.js";
import { findCudaPlugin } from "./cuda-plugin.js";

/** A device that models may run on, or why there is none of its kind. */
export interface Device {
  /** What `loadModel` takes as `device`: "cpu", "cuda:0"; "cuda" where no device was found at all. */
  id: string;
  backend: "cpu" | "cuda";
  /** Of the processor or the graphics card; an emulated one has "EMULATED" in it. "" where it is not known. */
  name: string;
  available: boolean;
  /** Why it is not available; "" where it is. */
  reason: string;
  /** Of the kernels that run there: "avx2", "sm_90". "" where none can. */
  instructionSet: string;
  /** CUDA only, such as "9.0". */
  computeCapability?: string;
  /** Bytes in all; 0 where it is not known. */
  memoryBytes: number;
  /** Computed on the CPU, to prove the kernels of a device that is not there. */
  emulated: boolean;
}

async function cpuDevice(): Promise<Device> {
  const device = {
    id: "cpu",
    backend: "cpu" as const,
    name: cpus()[0]?.model.trim() ?? "",
    memoryBytes: totalmem(),
    emulated: false,
  };
  try {
    const { instructionSet } = await addon().selectDevice("cpu", "");
    return { ...device, available: true, reason: "", instructionSet };
  } catch (error) {
    // LOWRANK_ISA names one that this processor lacks.
    return { ...device, available: false, reason: (error as Error).message, instructionSet: "" };
  }
}

/**
 * The devices of this machine: the CPU, then CUDA devices, or one entry that says why there are none. Asking the driver can take a
 * second the first time. Rejects with ERR_BACKEND_UNAVAILABLE where the native addon cannot be loaded.
 */
export async function devices(): Promise<Device[]> {
  const [cpu, cuda] = await Promise.all([cpuDevice(), addon().cudaDevices(findCudaPlugin())]);
  return [
    cpu,
    ...cuda.map((one): Device => {
      const { name, memoryBytes, emulated, unavailable: reason } = one;
      const known = one.computeMajor > 0;
      return {
        id: one.index < 0 ? "cuda" : `cuda:${one.index}`,
        backend: "cuda",
        name,
        available: reason === "",
        reason,
        instructionSet: known ? `sm_${one.computeMajor}${one.computeMinor}` : "",
        ...(known && { computeCapability: `${one.computeMajor}.${one.computeMinor}` }),
        memoryBytes,
        emulated,
      };
    }),
  ];
}
