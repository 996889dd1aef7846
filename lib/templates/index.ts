export {
  ChatTemplate,
  type ChatMessage,
  type ChatTemplateOptions,
  type RenderedChat,
} from "./chat-template.js";
export type { TemplateLimits } from "./meter.js";
