export { Generation } from "./generation.js";
export { chat, generate } from "./generate.js";
export { logits } from "./logits.js";
export { score } from "./score.js";
export { CHAT, checkChatOptions, type ChatOptions } from "./chat-options.js";
export { checkGenerateOptions, GENERATE, GENERATE_KEYS, type GenerateOptions } from "./options.js";
export {
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
