import type { EngineClient, Prompt } from "../client/index.js";
import { Generation } from "./generation.js";
import { checkGenerateOptions, type GenerateOptions } from "./options.js";

/** See `Model.generate`. */
export function generate(client: EngineClient, prompt: Prompt, options: GenerateOptions): Generation {
  client.requireAlive();
  const checked = checkGenerateOptions(options, client.facts.vocabularySize);
  const given = client.prompts.check(prompt);
  return new Generation(client, checked, (request) => client.prompts.tokens(given, checked, request));
}
