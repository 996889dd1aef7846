import type { EngineClient, Prompt } from "../client/index.js";
import type { ChatMessage } from "../tokenizer/index.js";
import { checkChatOptions, type ChatOptions } from "./chat-options.js";
import { Generation } from "./generation.js";
import { checkGenerateOptions, type CheckedAnswerOptions, type GenerateOptions } from "./options.js";
import type { Tokenise } from "./start-generation.js";

function begin(client: EngineClient, options: CheckedAnswerOptions, tokenise: Tokenise): Generation {
  if (options.choices) void client.prompts.text;
  return new Generation(client, options, tokenise);
}

/** See `Model.generate`. */
export function generate(client: EngineClient, prompt: Prompt, options: GenerateOptions): Generation {
  client.requireAlive();
  const checked = checkGenerateOptions(options, client.facts.vocabularySize);
  const given = client.prompts.check(prompt);
  return begin(client, checked, (request) => client.prompts.tokens(given, checked, request));
}

/** See `Model.chat`. */
export function chat(
  client: EngineClient,
  messages: readonly ChatMessage[],
  options: ChatOptions,
): Generation {
  client.requireAlive();
  const { template, ...checked } = checkChatOptions(options, client.facts.vocabularySize);
  void client.prompts.text;
  return begin(client, checked, (request) => client.prompts.chatTokens(messages, template, request));
}
