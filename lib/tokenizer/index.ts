export type { AddedToken } from "./added-tokens.js";
export {
  ChatTemplate,
  type ChatMessage,
  type ChatTemplateOptions,
  type RenderedChat,
  type TemplateLimits,
} from "../templates/index.js";
export type { GgufMetadata } from "./gguf-vocabulary.js";
export type { JsonFile, TokenizerFiles } from "./from-tokenizer-json.js";
export { StopStringMatcher, type StopResult } from "./stop-string-matcher.js";
export { StreamingDetokenizer } from "./streaming-detokenizer.js";
export type { TokenizerSource } from "./text-jobs.js";
export {
  TextProcessor,
  type ApplyChatTemplateOptions,
  type CreateOptions,
  type TextJobOptions,
} from "./text-processor.js";
export { DECODING, ENCODING, type DecodeOptions, type EncodeOptions } from "./text-options.js";
export { Tokenizer } from "./tokenizer.js";
export { chooseTemplate, type TokenizerDefinition } from "./tokenizer-definition.js";
export type { PackedStrings } from "./vocabulary.js";
