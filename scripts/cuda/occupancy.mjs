// How many blocks of a kernel a multiprocessor holds at once: the arithmetic of cuda_occupancy.h, with the limits of each
// architecture from the CUDA C++ Programming Guide, "Technical Specifications per Compute Capability".

const KIB = 1024;
const WARP = 32;
/** Alike on all of them: 64 Ki registers, given to warps by 256; warps by four; shared memory by 128 bytes. */
const REGISTERS = 65536;
const REGISTER_UNIT = 256;
const WARP_UNIT = 4;
const SHARED_UNIT = 128;
/** Shared memory that the system keeps of each block. */
const RESERVED = 1024;

export const LIMITS = {
  80: { threads: 2048, blocks: 32, shared: 164 * KIB, sharedOfBlock: 163 * KIB },
  86: { threads: 1536, blocks: 16, shared: 100 * KIB, sharedOfBlock: 99 * KIB },
  89: { threads: 1536, blocks: 24, shared: 100 * KIB, sharedOfBlock: 99 * KIB },
  90: { threads: 2048, blocks: 32, shared: 228 * KIB, sharedOfBlock: 227 * KIB },
  100: { threads: 2048, blocks: 32, shared: 228 * KIB, sharedOfBlock: 227 * KIB },
  120: { threads: 1536, blocks: 24, shared: 100 * KIB, sharedOfBlock: 99 * KIB },
};

const up = (value, unit) => Math.ceil(value / unit) * unit;

/**
 * Blocks at once on one multiprocessor, and the share of its warps that they are, of a kernel with `threads` a block, `registers`
 * a thread and `shared` bytes a block, static and dynamic together. `{ blocks: 0 }` where one block alone does not fit.
 */
export function occupancy(architecture, { threads, registers, shared }) {
  const limits = LIMITS[architecture];
  const warps = Math.ceil(threads / WARP);
  const ofRegisters = up(Math.max(registers, 1) * WARP, REGISTER_UNIT);
  const warpsByRegisters = Math.floor(REGISTERS / ofRegisters / WARP_UNIT) * WARP_UNIT;
  const blocks =
    shared > limits.sharedOfBlock
      ? 0
      : Math.min(
          limits.blocks,
          Math.floor(limits.threads / (warps * WARP)),
          Math.floor(warpsByRegisters / warps),
          Math.floor(limits.shared / (up(shared, SHARED_UNIT) + RESERVED)),
        );
  return { blocks, share: (blocks * warps * WARP) / limits.threads };
}
