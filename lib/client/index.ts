export { EngineClient, type EngineParts } from "./engine-client.js";
export { Prompts, type CheckedPrompt, type Prompt, type TextEncoding, type TextRequest } from "./prompts.js";
export { RequestRouter } from "./request-router.js";
export { Slices } from "./slices.js";
export { TEMPLATE, TEMPLATE_KEYS, type TemplateOptions } from "./template-options.js";
