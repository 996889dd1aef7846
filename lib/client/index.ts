export {
  Prompts,
  TEMPLATE_KEYS,
  type CheckedPrompt,
  type Prompt,
  type TemplateOptions,
  type TextEncoding,
  type TextRequest,
} from "./prompts.js";
