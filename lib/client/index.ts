export { Prompts, type CheckedPrompt, type Prompt, type TextEncoding, type TextRequest } from "./prompts.js";
export { TEMPLATE, TEMPLATE_KEYS, type TemplateOptions } from "./template-options.js";
