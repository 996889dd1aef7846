// Seconds of an op on a GPU, from what it asks for and what the GPU can do. A model: nothing here was measured.

/**
 * What is assumed beside the data sheets.
 *   bandwidth, tensor, cores   shares of the published peaks that a kernel of this kind reaches
 *   launch                     seconds from the end of a kernel to the work of the next one in a CUDA graph: its launch, and the time
 *                              in which the first blocks fill the GPU and the last ones leave it
 *   step                       seconds of a step beside its kernels: descriptors to the GPU, the graph's launch, results back, the
 *                              sampler, the scheduler
 */
export const ASSUMPTIONS = { bandwidth: 0.85, tensor: 0.6, cores: 0.5, launch: 1.5e-6, step: 40e-6 };

/**
 * The time of one kind of op, all of its calls together. Of operations, the multiprocessor with the most blocks decides: 140
 * blocks take 132 multiprocessors as long as 264. Memory is slower only where few multiprocessors ask for it.
 */
export function timeOf(op, gpu, assumed = ASSUMPTIONS) {
  const blocks = Math.max(...op.launches.map((launch) => launch.blocks));
  const share = blocks / (Math.ceil(blocks / gpu.multiprocessors) * gpu.multiprocessors);
  const asking = Math.min(blocks, gpu.multiprocessors) * gpu.loadOfOne;
  const memory = (op.read + op.written) / Math.min(gpu.bandwidth * assumed.bandwidth, asking);
  const tensor = gpu.mmaShare * assumed.tensor;
  const compute = {
    "int8 tensor cores": op.int8_mma / (gpu.int8 * tensor),
    "bfloat16 tensor cores": op.bf16_mma / (gpu.bf16 * tensor),
    dp4a: op.dp4a / (gpu.dp4a * assumed.cores),
    "CUDA cores": op.float32 / (gpu.float32 * assumed.cores),
  };
  // Tensor cores share an issue port, and beside them the CUDA cores compute the epilogues.
  const products = compute["int8 tensor cores"] + compute["bfloat16 tensor cores"];
  const scalar = compute.dp4a + compute["CUDA cores"];
  const busy = Math.max(memory, products / share, scalar / share);
  const launch = op.count * op.launches.length * assumed.launch;
  const bound =
    launch > busy
      ? "launch"
      : memory >= busy
        ? "memory"
        : Object.entries(compute).sort(([, a], [, b]) => b - a)[0][0];
  return { seconds: launch + busy, launch, busy, bound };
}

/** A step's seconds, and those of its ops. */
export function timeOfStep(step, gpu, assumed = ASSUMPTIONS) {
  const ops = step.ops.map((op) => ({ ...op, time: timeOf(op, gpu, assumed) }));
  const seconds = assumed.step + ops.reduce((sum, { time }) => sum + time.seconds, 0);
  return { seconds, tokens: (step.sequences * step.rows) / seconds, ops };
}
