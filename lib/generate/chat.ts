import type { EngineClient } from "../client/index.js";
import type { ChatMessage } from "../tokenizer/index.js";
import { checkChatOptions, type ChatOptions } from "./chat-options.js";
import { Generation } from "./generation.js";

/** See `Model.chat`. */
export function chat(
  client: EngineClient,
  messages: readonly ChatMessage[],
  options: ChatOptions,
): Generation {
  client.requireAlive();
  const { template, ...checked } = checkChatOptions(options, client.facts.vocabularySize);
  void client.prompts.text;
  return new Generation(client, checked, (request) => client.prompts.chatTokens(messages, template, request));
}
