import { type AddedToken, buildAddedTokenTables } from "./added-tokens.js";
import { isObject, type JsonObject, own, ownFlag } from "./json.js";
import { readModel, readVocabulary } from "./model-json.js";
import { compileNormalizer, readNormalizer, type Normalizer } from "./normalizer.js";
import { compilePostProcessor } from "./post-processor.js";
import { compilePreTokenizer, readPreTokenizer } from "./pre-tokenizer.js";
import { compileDecoder, decodedContents, TokenDecoder } from "./token-decoder.js";
import { readBosTokenId, readEosTokenIds } from "./named-token-ids.js";
import {
  checkTemplate,
  collectEosTokenIds,
  MAX_ADDED_TOKENS,
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
  /** generation_config.json: further ids that end a generation */
  readonly generationConfig?: JsonFile | undefined;
  /** config.json: the same where generation_config.json says nothing of them, and the size of the model's own vocabulary */
  readonly config?: JsonFile | undefined;
  /** chat_template.jinja; goes before the template of tokenizer_config.json */
  readonly chatTemplate?: string | undefined;
}

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
  const modelConfig = files.config === undefined ? {} : parseJson(files.config, "config.json");

  const model = own(json, "model");
  if (!isObject(model)) throw damaged("an object", "tokenizer.json: model", model);
  const tokens = readVocabulary(model);
  const normalizer = readNormalizer(own(json, "normalizer"));
  const addedTokens = readAddedTokens(
    own(json, "added_tokens"),
    own(config, "added_tokens_decoder"),
    tokens,
    compileNormalizer(normalizer),
  );
  const strings = packStrings(
    Array.from(tokens, (token) => token ?? ""),
    "tokenizer.json: vocabulary",
  );
  const hidden = new Set(addedTokens.filter((token) => token.special).map((token) => token.id));
  const vocabulary = Vocabulary.build(strings, hidden);
  const addedIds = new Map(addedTokens.map(({ content, id }) => [content, id]));
  const find = (token: string): number => addedIds.get(token) ?? vocabulary.idOf(token);

  const specialTokens: Record<string, string> = {};
  for (const role of ["bos_token", "eos_token", "unk_token", "pad_token"]) {
    const token = tokenText(own(config, role)) ?? tokenText(own(roles, role));
    if (token !== null) specialTokens[role] = token;
  }
  const idOfRole = (role: string): number | null => {
    const id = specialTokens[role] === undefined ? -1 : find(specialTokens[role]);
    return id < 0 ? null : id;
  };
  const { prefix, suffix } = compilePostProcessor(own(json, "post_processor"), vocabulary.size);
  const decoder = compileDecoder(own(json, "decoder"));
  new TokenDecoder(vocabulary, decoder, decodedContents(addedTokens)).check();
  const preTokenizer = readPreTokenizer(own(json, "pre_tokenizer"));
  return {
    vocabulary: vocabulary.tables,
    model: readModel(model, vocabulary, find, hidden, compilePreTokenizer(preTokenizer).byteLevel),
    addedTokens,
    addedTokenTables: buildAddedTokenTables(addedTokens),
    normalizer,
    preTokenizer,
    decoder,
    prefix,
    suffix,
    bosTokenId: idOfRole("bos_token") ?? readBosTokenId(generation, modelConfig, vocabulary.size),
    eosTokenIds: collectEosTokenIds(
      [idOfRole("eos_token"), ...readEosTokenIds(generation, modelConfig, vocabulary.size)],
      addedTokens,
    ),
    specialTokens,
    chatTemplate: readTemplate(files.chatTemplate, own(config, "chat_template")),
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

const NAME = "tokenizer.json: added_tokens";

/** An added token may become this many times longer when it is normalised. */
const MAX_GROWTH = 64;

/** Reads `added_tokens`, and what only tokenizer_config.json lists, and puts those that the model lacks into its vocabulary. */
function readAddedTokens(
  list: unknown,
  decoder: unknown,
  tokens: (string | undefined)[],
  normalizer: Normalizer | null,
): AddedToken[] {
  const entries: unknown[] = Array.isArray(list) ? [...(list as unknown[])] : [];
  if (list !== undefined && list !== null && !Array.isArray(list)) throw damaged("a list", NAME, list);
  if (isObject(decoder))
    for (const id of Object.keys(decoder))
      if (isObject(decoder[id])) entries.push({ ...decoder[id], id: Number(id) });
  if (entries.length > 2 * MAX_ADDED_TOKENS)
    throw damaged(`at most ${MAX_ADDED_TOKENS} tokens`, NAME, entries.length);
  const normalizedContent = (content: string): string | null => {
    if (normalizer === null) return null;
    const normalized = normalizer.apply(content, content.length * MAX_GROWTH);
    if (normalized !== null) return normalized;
    throw damaged(
      `at most ${MAX_GROWTH} times as many characters in an added token that is normalised`,
      "tokenizer.json: normalizer",
      content,
    );
  };
  const ids = new Map<string, number>();
  tokens.forEach((token, id) => ids.set(token!, id));
  const added = new Map<string, AddedToken>();
  for (const entry of entries) {
    if (!isObject(entry)) throw damaged("an object", NAME, entry);
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
    const special = ownFlag(entry, "special", false, NAME);
    added.set(content, {
      id,
      content,
      special,
      normalized: ownFlag(entry, "normalized", !special, NAME) ? normalizedContent(content) : null,
      singleWord: ownFlag(entry, "single_word", false, NAME),
      lstrip: ownFlag(entry, "lstrip", false, NAME),
      rstrip: ownFlag(entry, "rstrip", false, NAME),
    });
  }
  return [...added.values()];
}

/** The template "default" of a list of named templates, or the only one. */
function readTemplate(file: string | undefined, config: unknown): string | null {
  if (file !== undefined) return checkTemplate(file, "chat_template.jinja");
  if (config === undefined || config === null) return null;
  if (!Array.isArray(config)) return checkTemplate(config, "tokenizer_config.json: chat_template");
  const named = (config as unknown[]).filter(isObject);
  const chosen = named.find((entry) => own(entry, "name") === "default") ?? named[0];
  return chosen === undefined
    ? null
    : checkTemplate(own(chosen, "template"), "tokenizer_config.json: chat_template");
}
