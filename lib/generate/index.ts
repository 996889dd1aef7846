export { Generation, type GenerationSource } from "./generation.js";
export { RequestRouter } from "./request-router.js";
export { tokenLogprobs } from "./token-logprobs.js";
export { CHAT, checkChatOptions, type ChatOptions } from "./chat-options.js";
export {
  checkGenerateOptions,
  GENERATE,
  GENERATE_KEYS,
  type CheckedAnswerOptions,
  type GenerateOptions,
} from "./options.js";
export {
  checkLogitsOptions,
  checkScoreOptions,
  LOGITS,
  SCORE,
  type LogitsOptions,
  type LogitsResult,
  type ScoreOptions,
  type ScoreResult,
} from "./evaluate.js";
export { SERVING, type ServingOptions } from "./serving.js";
export type {
  FinishReason,
  GenerationPart,
  GenerationResult,
  GenerationTimings,
  TokenLogprob,
  Usage,
} from "./result.js";
