export { Generation, type GenerationSource } from "./generation.js";
export { RequestRouter } from "./request-router.js";
export { tokenLogprobs } from "./token-logprobs.js";
export {
  checkGenerateOptions,
  type CheckedGenerateOptions,
  type GenerateOptions,
  GENERATE_KEYS,
} from "./options.js";
export {
  checkLogitsOptions,
  checkScoreOptions,
  type LogitsOptions,
  type LogitsResult,
  type ScoreOptions,
  type ScoreResult,
} from "./evaluate.js";
export { checkServing, type ServingOptions } from "./serving.js";
export type {
  FinishReason,
  GenerationPart,
  GenerationResult,
  GenerationTimings,
  TokenLogprob,
  Usage,
} from "./result.js";
