// What GPUs can do, as NVIDIA publishes it: dense, without sparsity. Figures of tensor and CUDA cores are at the boost clock.

const TERA = 1e12;

const PUBLISHED = [
  {
    name: "H100",
    title: "H100 SXM",
    architecture: 90,
    multiprocessors: 132,
    sharedOfBlock: 227 * 1024,
    clock: 1.98e9,
    bandwidth: 3.35 * TERA,
    int8: 1979 * TERA,
    bf16: 989 * TERA,
    float32: 67 * TERA,
    mmaShare: 0.629,
    source: "NVIDIA H100 Tensor Core GPU Datasheet (figures with sparsity halved)",
  },
  {
    name: "A100",
    title: "A100 80 GB SXM",
    architecture: 80,
    multiprocessors: 108,
    sharedOfBlock: 163 * 1024,
    clock: 1.41e9,
    bandwidth: 2.039 * TERA,
    int8: 624 * TERA,
    bf16: 312 * TERA,
    float32: 19.5 * TERA,
    mmaShare: 1,
    source: "NVIDIA A100 Tensor Core GPU Datasheet",
  },
  {
    name: "L4",
    title: "L4",
    architecture: 89,
    multiprocessors: 58,
    sharedOfBlock: 99 * 1024,
    clock: 2.04e9,
    bandwidth: 0.3 * TERA,
    int8: 242.5 * TERA,
    bf16: 121 * TERA,
    float32: 30.3 * TERA,
    mmaShare: 1,
    source: "NVIDIA L4 Tensor Core GPU Datasheet (figures with sparsity halved)",
  },
  {
    name: "RTX4090",
    title: "RTX 4090",
    architecture: 89,
    multiprocessors: 128,
    sharedOfBlock: 99 * 1024,
    clock: 2.52e9,
    bandwidth: 1.008 * TERA,
    int8: 660.6 * TERA,
    bf16: 165.2 * TERA,
    float32: 82.6 * TERA,
    mmaShare: 1,
    source: "NVIDIA Ada GPU Architecture whitepaper, appendix A (dense; bfloat16 with float32 sums)",
  },
];

/**
 * Operations a second (two for a multiply-add) and bytes a second. `mmaShare`: how much of the tensor cores' peak the instruction
 * mma.sync reaches, which these kernels use; on Hopper only wgmma reaches all of it (arXiv 2402.13499, section 4: 62.9 % on
 * average). `dp4a`: 64 a clock and multiprocessor (CUDA C++ Programming Guide, "Arithmetic Instructions"), 8 operations each.
 * `loadOfOne`: bytes a second that one multiprocessor takes from the second-level cache, 64 a clock.
 */
export const GPUS = PUBLISHED.map((gpu) => ({
  ...gpu,
  dp4a: gpu.multiprocessors * 64 * 8 * gpu.clock,
  loadOfOne: 64 * gpu.clock,
}));
