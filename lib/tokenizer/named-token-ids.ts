import { type JsonObject, own } from "./json.js";
import { damaged } from "./tokenizer-errors.js";

/** Most ids that end a generation. */
const MAX_EOS_TOKENS = 1_024;

/** A key of generation_config.json; of config.json where that file, or the key in it, is missing. A model with images keeps it in text_config. */
function namedBy(generation: JsonObject, config: JsonObject, key: string): unknown {
  for (const place of [generation, config, own(config, "text_config")])
    if (own(place, key) !== undefined) return own(place, key);
  return undefined;
}

function checkInteger(id: unknown, name: string): number {
  if (!Number.isSafeInteger(id)) throw damaged("an integer", name, id);
  return id as number;
}

/**
 * The ids by which the files say that a generation ends. One that neither the tokenizer nor the model has can never come, and is left
 * out; one beyond the tokenizer's vocabulary counts where the model's own is larger, as the model may then choose it.
 * Throws ERR_TOKENIZER for what is no id.
 */
export function readEosTokenIds(generation: JsonObject, config: JsonObject, size: number): number[] {
  const named = namedBy(generation, config, "eos_token_id") ?? [];
  const list: unknown[] = Array.isArray(named) ? named : [named];
  if (list.length > MAX_EOS_TOKENS)
    throw damaged(`at most ${MAX_EOS_TOKENS} ids`, "eos_token_id", list.length);
  const modelSize = own(config, "vocab_size") ?? own(own(config, "text_config"), "vocab_size");
  const end = Math.max(size, Number.isSafeInteger(modelSize) ? (modelSize as number) : 0);
  return list.map((id) => checkInteger(id, "eos_token_id")).filter((id) => id >= 0 && id < end);
}

/** The id that begins a text, for tokenizers that name no such token; null where there is none in the vocabulary. */
export function readBosTokenId(generation: JsonObject, config: JsonObject, size: number): number | null {
  const named = namedBy(generation, config, "bos_token_id");
  if (named === undefined || named === null) return null;
  const id = checkInteger(named, "bos_token_id");
  return id >= 0 && id < size ? id : null;
}
