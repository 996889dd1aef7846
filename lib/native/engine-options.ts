import { integer } from "../schema/index.js";

/** Options of `loadModel` that the engine takes as they are; see `LoadOptions`. */
export const ENGINE = {
  /** Threads that compute. 1 … 256; default: physical cores within the process's affinity mask and cgroup quota. */
  threads: integer({
    description: "Threads that compute.",
    min: 1,
    max: 256,
    default: { says: "physical cores within the process's affinity mask and cgroup quota", value: 0 },
  }),
  /** Tokens that one sequence may hold, prompt and answer. 1 … 2^24; default: what the model was trained for, at most 8192. */
  contextLength: integer({
    description: "Tokens that one sequence may hold, prompt and answer.",
    unit: "tokens",
    min: 1,
    max: 2 ** 24,
    default: { says: "what the model was trained for, at most 8192", value: 0 },
  }),
  /** Requests that are computed at once, in one batch; more wait their turn. 1 … 1024, default 8. */
  maxSequences: integer({
    description: "Requests that are computed at once; more wait their turn.",
    unit: "requests",
    min: 1,
    max: 1024,
    default: 8,
  }),
  /** Requests beyond those that may wait; more are refused with ERR_QUEUE_FULL. 0 … 2^20, default 1024. */
  maxQueue: integer({
    description: "Requests that may wait; more are refused.",
    unit: "requests",
    min: 0,
    max: 2 ** 20,
    default: 1024,
  }),
  /**
   * Tokens that one step computes at most, prompts and answers of all requests together. More are faster for long prompts, fewer keep
   * the steps short. 1 … 16384, default 512. Beside running answers a step takes fewer, so that these keep their pace.
   */
  maxStepTokens: integer({
    description: "Tokens that one step computes at most, of all requests together.",
    unit: "tokens",
    min: 1,
    max: 2 ** 14,
    default: 512,
  }),
  /**
   * Bytes of keys and values at most, taken as they are needed. When they are used up, texts that no request uses are forgotten, then
   * the newest request of least priority gives way and goes on later. One context at least. 1 … 10^15; default: `maxSequences` contexts,
   * but at most a quarter of the machine's memory, or half of what a CUDA device has free beside the weights, where all of it is taken at
   * once.
   */
  kvCacheMemory: integer({
    description: "Keys and values at most.",
    unit: "bytes",
    min: 1,
    max: 1e15,
    default: {
      says: "`maxSequences` contexts, but at most a quarter of the machine's memory",
      value: 0,
    },
  }),
};
