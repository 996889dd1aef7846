import type { AddedToken } from "./added-tokens.js";
import { isObject, type JsonObject, own } from "./json.js";
import { readModel, readVocabulary } from "./model-json.js";
import { compileNormalizer, type Normalizer } from "./normalizer.js";
import { compilePostProcessor } from "./post-processor.js";
import { compilePreTokenizer } from "./pre-tokenizer.js";
import { compileDecoder } from "./token-decoder.js";
import {
  checkTokenId,
  collectEosTokenIds,
  MAX_ADDED_TOKENS,
  nameTemplates,
  type TokenizerDefinition,
} from "./tokenizer-definition.js";
import { damaged } from "./tokenizer-errors.js";
import { MAX_TOKEN_BYTES, MAX_VOCABULARY, packStrings, Vocabulary } from "./vocabulary.js";

/** A file of a model folder: its text, its bytes, or what JSON.parse made of it. */
export type JsonFile = string | Uint8Array | Readonly<Record<string, unknown>>;

export interface TokenizerFiles {
  /** tokenizer.json */
  readonly tokenizerJson: JsonFile;
  /** tokenizer_config.json: roles of the special tokens, chat template */
  readonly tokenizerConfig?: JsonFile | undefined;
  /** special_tokens_map.json: the roles, where tokenizer_config.json lacks them */
  readonly specialTokensMap?: JsonFile | undefined;
  /** generation_config.json (or config.json): further ids that end a generation */
  readonly generationConfig?: JsonFile | undefined;
  /** chat_template.jinja: the template "default" */
  readonly chatTemplate?: string | undefined;
  /** additional_chat_templates/NAME.jinja by NAME. With these or chat_template.jinja, those of tokenizer_config.json do not count. */
  readonly additionalChatTemplates?: Readonly<Record<string, string>> | undefined;
}

/** Special tokens that chat templates see under these names. */
const ROLES = ["bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"];
/** Largest JSON file, in bytes or UTF-16 units (Gemma 3's tokenizer.json has 33 MB). */
const MAX_JSON = 1 << 28;

/** Makes a tokenizer from the files of a model folder. Throws ERR_TOKENIZER for what is no such file, inconsistent or of another kind. */
export function definitionFromFiles(files: TokenizerFiles): TokenizerDefinition {
  const json = parseJson(files.tokenizerJson, "tokenizer.json");
  const config =
    files.tokenizerConfig === undefined ? {} : parseJson(files.tokenizerConfig, "tokenizer_config.json");
  const roles =
    files.specialTokensMap === undefined ? {} : parseJson(files.specialTokensMap, "special_tokens_map.json");
  const generation =
    files.generationConfig === undefined ? {} : parseJson(files.generationConfig, "generation_config.json");

  const model = own(json, "model");
  if (!isObject(model)) throw damaged("an object", "tokenizer.json: model", model);
  const tokens = readVocabulary(model);
  const addedTokens = readAddedTokens(
    own(json, "added_tokens"),
    own(config, "added_tokens_decoder"),
    tokens,
    compileNormalizer(own(json, "normalizer")),
  );
  const strings = packStrings(
    Array.from(tokens, (token) => token ?? ""),
    "tokenizer.json: vocabulary",
  );
  const hidden = new Set(addedTokens.filter((token) => token.special).map((token) => token.id));
  const vocabulary = Vocabulary.build(strings, hidden);
  const find = (token: string): number =>
    addedTokens.find((added) => added.content === token)?.id ?? vocabulary.idOf(token);

  const specialTokens: Record<string, string> = {};
  for (const role of ROLES) {
    const token = tokenText(own(config, role)) ?? tokenText(own(roles, role));
    if (token !== null) specialTokens[role] = token;
  }
  const idOfRole = (role: string): number | null => {
    const id = specialTokens[role] === undefined ? -1 : find(specialTokens[role]);
    return id < 0 ? null : id;
  };
  const eosNamed = [own(generation, "eos_token_id")].flat().filter((id) => id !== undefined && id !== null);
  const bosNamed = own(generation, "bos_token_id");
  const { prefix, suffix } = compilePostProcessor(own(json, "post_processor"), vocabulary.size);
  const preTokenizer = own(json, "pre_tokenizer") ?? null;
  return {
    vocabulary: vocabulary.tables,
    model: readModel(model, vocabulary, find, hidden, compilePreTokenizer(preTokenizer).byteLevel),
    addedTokens,
    normalizer: own(json, "normalizer") ?? null,
    preTokenizer,
    decoder: compileDecoder(own(json, "decoder")),
    prefix,
    suffix,
    bosTokenId:
      idOfRole("bos_token") ??
      (typeof bosNamed === "number" ? checkTokenId(bosNamed, vocabulary.size, "bos_token_id") : null),
    eosTokenIds: collectEosTokenIds(
      [
        idOfRole("eos_token"),
        ...eosNamed.map((id) => checkTokenId(id, vocabulary.size, "generation_config.json: eos_token_id")),
      ],
      addedTokens,
    ),
    specialTokens,
    ...readTemplates(files, own(config, "chat_template")),
  };
}

function parseJson(file: JsonFile, name: string): JsonObject {
  let value: unknown = file;
  if (typeof file === "string" || file instanceof Uint8Array) {
    if (file.length > MAX_JSON) throw damaged(`at most ${MAX_JSON} bytes`, name, file.length);
    try {
      value = JSON.parse(
        typeof file === "string"
          ? file
          : Buffer.from(file.buffer, file.byteOffset, file.byteLength).toString("utf8"),
      );
    } catch (cause) {
      throw damaged("JSON", name, String(cause));
    }
  }
  if (!isObject(value)) throw damaged("a JSON object", name, value);
  return value;
}

const tokenText = (token: unknown): string | null =>
  typeof token === "string"
    ? token
    : isObject(token) && typeof own(token, "content") === "string"
      ? (own(token, "content") as string)
      : null;

/** Reads `added_tokens`, and what only tokenizer_config.json lists, and puts those that the model lacks into its vocabulary. */
function readAddedTokens(
  list: unknown,
  decoder: unknown,
  tokens: (string | undefined)[],
  normalizer: Normalizer | null,
): AddedToken[] {
  const entries: unknown[] = Array.isArray(list) ? [...(list as unknown[])] : [];
  if (list !== undefined && list !== null && !Array.isArray(list))
    throw damaged("a list", "tokenizer.json: added_tokens", list);
  if (isObject(decoder))
    for (const id of Object.keys(decoder))
      if (isObject(decoder[id])) entries.push({ ...decoder[id], id: Number(id) });
  if (entries.length > 2 * MAX_ADDED_TOKENS)
    throw damaged(`at most ${MAX_ADDED_TOKENS} tokens`, "tokenizer.json: added_tokens", entries.length);
  const ids = new Map<string, number>();
  tokens.forEach((token, id) => ids.set(token!, id));
  const added = new Map<string, AddedToken>();
  for (const entry of entries) {
    if (!isObject(entry)) throw damaged("an object", "tokenizer.json: added_tokens", entry);
    const content = own(entry, "content");
    const named = own(entry, "id");
    if (typeof content !== "string" || content.length > MAX_TOKEN_BYTES)
      throw damaged("a string", "tokenizer.json: added_tokens.content", content);
    if (content === "" || added.has(content)) continue;
    if (typeof named !== "number" || !Number.isInteger(named) || named < 0 || named >= MAX_VOCABULARY)
      throw damaged(`an id of 0 to ${MAX_VOCABULARY - 1}`, "tokenizer.json: added_tokens.id", named);
    const id = ids.get(content) ?? named; // the model's own id goes first, as in Hugging Face's library
    if (tokens[id] !== undefined && tokens[id] !== content)
      throw damaged("one token an id", "tokenizer.json: added_tokens.id", id);
    tokens[id] = content;
    const special = own(entry, "special") === true;
    added.set(content, {
      id,
      content,
      special,
      normalized:
        normalizer !== null && (own(entry, "normalized") ?? !special) === true
          ? normalizer.apply(content)
          : null,
      singleWord: own(entry, "single_word") === true,
      lstrip: own(entry, "lstrip") === true,
      rstrip: own(entry, "rstrip") === true,
    });
  }
  return [...added.values()];
}

function readTemplates(
  { chatTemplate, additionalChatTemplates = {} }: TokenizerFiles,
  config: unknown,
): Pick<TokenizerDefinition, "chatTemplate" | "chatTemplates"> {
  const files = Object.entries(additionalChatTemplates);
  if (chatTemplate !== undefined) files.unshift(["default", chatTemplate]);
  if (files.length > 0) return nameTemplates(files, "chat_template.jinja");
  const file = "tokenizer_config.json: chat_template";
  if (config === undefined || config === null) return nameTemplates([], file);
  if (!Array.isArray(config)) return nameTemplates([["default", config]], file);
  const named = (config as unknown[]).map((entry) => {
    const name = isObject(entry) ? own(entry, "name") : undefined;
    if (typeof name !== "string") throw damaged("objects with a name and a template", file, entry);
    return [name, own(entry, "template")] as const;
  });
  return nameTemplates(named, file);
}
