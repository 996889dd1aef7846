import { readAddedTokens, readExtraSpecialTokens, readRoles } from "./added-token-list.js";
import { buildAddedTokenTables } from "./added-tokens.js";
import { isObject, type JsonObject, own } from "./json.js";
import { readModel, readVocabulary } from "./model-json.js";
import { compileNormalizer, type NormalizerStep, readNormalizer } from "./normalizer.js";
import { compilePostProcessor } from "./post-processor.js";
import { compilePreTokenizer, type PreTokenizerStep, readPreTokenizer } from "./pre-tokenizer.js";
import { compileDecoder, decodedContents, TokenDecoder } from "./token-decoder.js";
import { readBosTokenId, readEosTokenIds } from "./named-token-ids.js";
import { collectEosTokenIds, nameTemplates, type TokenizerDefinition } from "./tokenizer-definition.js";
import { damaged, unsupported } from "./tokenizer-errors.js";
import { packStrings, Vocabulary } from "./vocabulary.js";

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
  /** chat_template.jinja: the template "default" */
  readonly chatTemplate?: string | undefined;
  /** additional_chat_templates/NAME.jinja by NAME. With these or chat_template.jinja, those of tokenizer_config.json do not count. */
  readonly additionalChatTemplates?: Readonly<Record<string, string>> | undefined;
}

/** Special tokens that chat templates see under these names. */
const TEMPLATE_ROLES = [
  "bos_token",
  "eos_token",
  "unk_token",
  "sep_token",
  "pad_token",
  "cls_token",
  "mask_token",
];
/** Largest JSON file, in bytes or UTF-16 units (Gemma 3's tokenizer.json has 33 MB). */
const MAX_JSON = 1 << 28;

/** Makes a tokenizer from the files of a model folder. Throws ERR_TOKENIZER for what is no such file, inconsistent or of another kind. */
export function definitionFromFiles(files: TokenizerFiles): TokenizerDefinition {
  const json = parseJson(files.tokenizerJson, "tokenizer.json");
  const config =
    files.tokenizerConfig === undefined ? {} : parseJson(files.tokenizerConfig, "tokenizer_config.json");
  const specialTokensMap =
    files.specialTokensMap === undefined ? {} : parseJson(files.specialTokensMap, "special_tokens_map.json");
  const generation =
    files.generationConfig === undefined ? {} : parseJson(files.generationConfig, "generation_config.json");
  const modelConfig = files.config === undefined ? {} : parseJson(files.config, "config.json");

  const model = own(json, "model");
  if (!isObject(model)) throw damaged("an object", "tokenizer.json: model", model);
  const tokens = readVocabulary(model);
  const normalizer = readNormalizer(own(json, "normalizer"));
  const roles = readRoles(config, specialTokensMap);
  const addedTokens = readAddedTokens(
    own(json, "added_tokens"),
    own(config, "added_tokens_decoder"),
    [...roles.values(), ...readExtraSpecialTokens(config)],
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
  for (const [role, { content }] of roles) if (TEMPLATE_ROLES.includes(role)) specialTokens[role] = content;
  const idOfRole = (role: string): number | null => {
    const id = specialTokens[role] === undefined ? -1 : find(specialTokens[role]);
    return id < 0 ? null : id;
  };
  const { prefix, suffix } = compilePostProcessor(own(json, "post_processor"), vocabulary.size);
  const decoder = compileDecoder(own(json, "decoder"));
  new TokenDecoder(vocabulary, decoder, decodedContents(addedTokens)).check();
  const preTokenizer = readPreTokenizer(own(json, "pre_tokenizer"));
  checkFirst(normalizer, preTokenizer);
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
    ...readTemplates(files, own(config, "chat_template")),
  };
}

/**
 * Metaspace's "first" goes by the place in the raw text, which is lost here where a normalizer takes characters off the beginning.
 * Throws ERR_TOKENIZER.
 */
function checkFirst(normalizer: readonly NormalizerStep[], preTokenizer: readonly PreTokenizerStep[]): void {
  const shortens = normalizer.find(
    (step) => (step.type === "Strip" && step.left) || (step.type === "Replace" && step.content === ""),
  );
  if (shortens && preTokenizer.some((step) => step.type === "Metaspace" && step.scheme === "first"))
    throw unsupported(
      'no prepend_scheme "first"',
      `pre_tokenizer behind a normalizer of type ${shortens.type}`,
      "one",
    );
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
