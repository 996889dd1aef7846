export { LowrankError, type ErrorCode, type LowrankErrorOptions } from "./errors/index.js";
export {
  instructionSets,
  type AdapterPrecision,
  type EngineStatistics,
  type MemoryUse,
  type ModelFacts,
  type Precision,
} from "./native/index.js";
export {
  loadModel,
  Model,
  MODEL_ALIASES,
  type ChatOptions,
  type LoadModelOptions,
  type LoadProgress,
  type ModelAlias,
  type ModelMemory,
} from "./model/index.js";
export {
  Tokenizer,
  type ApplyChatTemplateOptions,
  type ChatMessage,
  type ChatTemplateOptions,
  type DecodeOptions,
  type EncodeOptions,
} from "./tokenizer/index.js";
export {
  AdapterRegistry,
  type AdapterFacts,
  type AdapterGeneration,
  type LoadAdapterOptions,
  type AdapterReference,
  type AdapterSelection,
  type AdapterSource,
  type AdapterState,
  type SwapAdapterOptions,
  type AdapterTensor,
  type AdapterUse,
  type AdapterWatch,
  type AdapterWatchEvent,
  type AdapterWatchOptions,
} from "./adapters/index.js";
export {
  Generation,
  type FinishReason,
  type GenerateOptions,
  type GenerationPart,
  type GenerationResult,
  type GenerationTimings,
  type LogitsOptions,
  type LogitsResult,
  type Prompt,
  type ScoreOptions,
  type ScoreResult,
  type ServingOptions,
  type TokenLogprob,
  type Usage,
} from "./generate/index.js";
