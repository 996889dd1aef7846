import { expected, LowrankError } from "../errors/index.js";
import type { TokenizerDefinition } from "./tokenizer-definition.js";

/** Deepest nesting, and values (objects, lists, strings, numbers …) of what is handed to a chat template: as many are cloned in 30 ms. */
const MAX_DEPTH = 32;
const MAX_VALUES = 65_536;

/** What a normaliser may make of a text's length at most: NFC joins three characters to one. */
const SHRINKING = 4;

/** The length in UTF-16 units of the longest text that one token can stand for, or more. */
export function maxUnitsPerToken(definition: TokenizerDefinition): number {
  const { offsets } = definition.vocabulary.strings;
  let longest = 1;
  for (let id = 1; id < offsets.length; ++id) longest = Math.max(longest, offsets[id]! - offsets[id - 1]!);
  return longest * (definition.normalizer === null ? 1 : SHRINKING);
}

/** Throws ERR_CONTEXT_LENGTH for a text that is too long for the context, whatever its tokens are. */
export function checkTextLength(length: number, maxLength: number, name: string): void {
  if (length <= maxLength) return;
  throw new LowrankError(
    "ERR_CONTEXT_LENGTH",
    `Expected at most ${maxLength} UTF-16 units for ${name}, which is more than the context can hold, received ${length} or more. ` +
      "Shorten it or load the model with a larger contextLength.",
    { details: { name, maxLength } },
  );
}

/**
 * Goes once through what a chat template is given. Throws ERR_INVALID_ARGUMENT for what is no JSON or nested too deeply, ERR_CONTEXT_LENGTH
 * where all texts together are longer than `maxLength`, or there are more values than any chat has.
 */
export function checkChatSize(given: Readonly<Record<string, unknown>>, maxLength: number): void {
  let length = 0;
  let values = 0;
  const addText = (text: string): void => {
    length += text.length;
    checkTextLength(length, maxLength, "messages, tools, documents and variables");
  };
  const visit = (value: unknown, name: string, depth: number): void => {
    if (++values > MAX_VALUES)
      throw new LowrankError(
        "ERR_CONTEXT_LENGTH",
        `Expected at most ${MAX_VALUES} values in messages, tools, documents and variables, received more. Shorten the chat.`,
        { details: { name, maxValues: MAX_VALUES } },
      );
    if (typeof value === "string") return addText(value);
    if (value === null || value === undefined || typeof value === "number" || typeof value === "boolean")
      return;
    if (typeof value !== "object") throw expected("JSON values", name, typeof value);
    if (depth === MAX_DEPTH) throw expected(`at most ${MAX_DEPTH} levels of nesting`, name, "more");
    if (Array.isArray(value)) for (const item of value) visit(item, name, depth + 1);
    else
      for (const key in value) {
        addText(key);
        visit((value as Record<string, unknown>)[key], name, depth + 1);
      }
  };
  for (const [name, value] of Object.entries(given)) visit(value, name, 0);
}
