import { LowrankError } from "../errors/index.js";
import type { AddedToken } from "./added-tokens.js";
import type { BytePairModel } from "./byte-pair-encoder.js";
import { MAX_MERGES, MergeTableBuilder, type MergeTables } from "./merge-table.js";
import { compileNormalizer, type Normalizer } from "./normalizer.js";
import { compilePostProcessor } from "./post-processor.js";
import { compilePreTokenizer } from "./pre-tokenizer.js";
import { compileDecoder } from "./token-decoder.js";
import {
  checkTemplate,
  checkTokenId,
  collectEosTokenIds,
  MAX_ADDED_TOKENS,
  type TokenizerDefinition,
  type WordLevelModel,
} from "./tokenizer-definition.js";
import type { UnigramModel } from "./unigram-encoder.js";
import { MAX_TOKEN_BYTES, MAX_VOCABULARY, packStrings, Vocabulary } from "./vocabulary.js";
import { joinedBeforeSpace } from "./word-cuts.js";

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
  /** chat_template.jinja; goes before the template of tokenizer_config.json */
  readonly chatTemplate?: string | undefined;
}

/** Largest JSON file, in bytes or UTF-16 units (Gemma 3's tokenizer.json has 33 MB). */
const MAX_JSON = 1 << 28;

type Json = Readonly<Record<string, unknown>>;

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
  if (!isObject(model)) throw invalid("an object", "tokenizer.json: model", model);
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
  for (const role of ["bos_token", "eos_token", "unk_token", "pad_token"]) {
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
    chatTemplate: readTemplate(files.chatTemplate, own(config, "chat_template")),
  };
}

function parseJson(file: JsonFile, name: string): Json {
  let value: unknown = file;
  if (typeof file === "string" || file instanceof Uint8Array) {
    if (file.length > MAX_JSON) throw invalid(`at most ${MAX_JSON} bytes`, name, file.length);
    try {
      value = JSON.parse(
        typeof file === "string"
          ? file
          : Buffer.from(file.buffer, file.byteOffset, file.byteLength).toString("utf8"),
      );
    } catch (cause) {
      throw new LowrankError(
        "ERR_TOKENIZER",
        `Expected JSON for ${name}, received something else. Fetch the file again.`,
        { cause },
      );
    }
  }
  if (!isObject(value)) throw invalid("a JSON object", name, value);
  return value;
}

const isObject = (value: unknown): value is Json =>
  typeof value === "object" && value !== null && !Array.isArray(value);
/** Own properties only: a file must not reach Object.prototype. */
const own = (object: Json, key: string): unknown => (Object.hasOwn(object, key) ? object[key] : undefined);
const tokenText = (token: unknown): string | null =>
  typeof token === "string"
    ? token
    : isObject(token) && typeof own(token, "content") === "string"
      ? (own(token, "content") as string)
      : null;

function invalid(what: string, name: string, received: unknown): LowrankError {
  const shown =
    typeof received === "object" || received === undefined
      ? typeof received
      : JSON.stringify(received)?.slice(0, 80);
  return new LowrankError(
    "ERR_TOKENIZER",
    `Expected ${what} for ${name}, received ${shown}. Fetch the model's tokenizer files again.`,
  );
}

/** Tokens by id; holes stay undefined. BPE and WordLevel map tokens to ids, Unigram lists [token, score]. */
function readVocabulary(model: Json): (string | undefined)[] {
  const vocab = own(model, "vocab");
  const tokens: (string | undefined)[] = [];
  const put = (token: unknown, id: unknown): void => {
    if (typeof id !== "number" || !Number.isInteger(id) || id < 0 || id >= MAX_VOCABULARY)
      throw invalid(`an id of 0 to ${MAX_VOCABULARY - 1}`, "tokenizer.json: model.vocab", id);
    if (tokens[id] !== undefined) throw invalid("one token an id", "tokenizer.json: model.vocab", id);
    if (typeof token !== "string" || token.length > MAX_TOKEN_BYTES)
      throw invalid(`a string of at most ${MAX_TOKEN_BYTES} bytes`, "tokenizer.json: model.vocab", token);
    tokens[id] = token;
  };
  if (Array.isArray(vocab)) {
    if (vocab.length > MAX_VOCABULARY)
      throw invalid(`at most ${MAX_VOCABULARY} tokens`, "tokenizer.json: model.vocab", vocab.length);
    vocab.forEach((entry: unknown, id) => put(Array.isArray(entry) ? entry[0] : entry, id));
  } else if (isObject(vocab)) {
    for (const token of Object.keys(vocab)) put(token, vocab[token]);
  } else {
    throw invalid("an object or a list", "tokenizer.json: model.vocab", vocab);
  }
  return tokens;
}

/** Reads `added_tokens`, and what only tokenizer_config.json lists, and puts those that the model lacks into its vocabulary. */
function readAddedTokens(
  list: unknown,
  decoder: unknown,
  tokens: (string | undefined)[],
  normalizer: Normalizer | null,
): AddedToken[] {
  const entries: unknown[] = Array.isArray(list) ? [...(list as unknown[])] : [];
  if (list !== undefined && list !== null && !Array.isArray(list))
    throw invalid("a list", "tokenizer.json: added_tokens", list);
  if (isObject(decoder))
    for (const id of Object.keys(decoder))
      if (isObject(decoder[id])) entries.push({ ...decoder[id], id: Number(id) });
  if (entries.length > 2 * MAX_ADDED_TOKENS)
    throw invalid(`at most ${MAX_ADDED_TOKENS} tokens`, "tokenizer.json: added_tokens", entries.length);
  const ids = new Map<string, number>();
  tokens.forEach((token, id) => ids.set(token!, id));
  const added = new Map<string, AddedToken>();
  for (const entry of entries) {
    if (!isObject(entry)) throw invalid("an object", "tokenizer.json: added_tokens", entry);
    const content = own(entry, "content");
    const named = own(entry, "id");
    if (typeof content !== "string" || content.length > MAX_TOKEN_BYTES)
      throw invalid("a string", "tokenizer.json: added_tokens.content", content);
    if (content === "" || added.has(content)) continue;
    if (typeof named !== "number" || !Number.isInteger(named) || named < 0 || named >= MAX_VOCABULARY)
      throw invalid(`an id of 0 to ${MAX_VOCABULARY - 1}`, "tokenizer.json: added_tokens.id", named);
    const id = ids.get(content) ?? named; // the model's own id goes first, as in Hugging Face's library
    if (tokens[id] !== undefined && tokens[id] !== content)
      throw invalid("one token an id", "tokenizer.json: added_tokens.id", id);
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

function readModel(
  model: Json,
  vocabulary: Vocabulary,
  find: (token: string) => number,
  hidden: ReadonlySet<number>,
  byteLevel: boolean,
): BytePairModel | UnigramModel | WordLevelModel {
  const vocab = own(model, "vocab");
  const unknown = own(model, "unk_token");
  const unknownId = typeof unknown === "string" ? find(unknown) : -1;
  const type =
    own(model, "type") ??
    (Array.isArray(vocab) ? "Unigram" : own(model, "merges") !== undefined ? "BPE" : undefined);
  switch (type) {
    case "WordLevel":
      return { type: "WordLevel", unknownId };
    case "Unigram":
      return readUnigram(model, vocab, vocabulary);
    case "BPE": {
      for (const key of ["continuing_subword_prefix", "end_of_word_suffix", "dropout"])
        if (own(model, key))
          throw invalid("nothing (it is not supported)", `tokenizer.json: model.${key}`, own(model, key));
      const merges = readMerges(own(model, "merges"), vocabulary, find, hidden);
      return {
        type: "BPE",
        merges,
        symbols: byteLevel ? "bytes" : "characters",
        byteFallback: own(model, "byte_fallback") === true,
        fuseUnknown: own(model, "fuse_unk") === true,
        ignoreMerges: own(model, "ignore_merges") === true,
        unknownId,
        // ignore_merges looks at whole words, which must then be left whole.
        joinedBeforeSpace:
          byteLevel || own(model, "ignore_merges") === true ? null : joinedBeforeSpace(vocabulary, merges),
      };
    }
    default:
      throw invalid("BPE, Unigram or WordLevel", "tokenizer.json: model.type", type);
  }
}

function readUnigram(model: Json, vocab: unknown, vocabulary: Vocabulary): UnigramModel {
  if (!Array.isArray(vocab)) throw invalid("a list of [token, score]", "tokenizer.json: model.vocab", vocab);
  const scores = new Float64Array(new SharedArrayBuffer(vocabulary.size * 8));
  let longest = 1;
  for (let id = 0; id < vocab.length; ++id) {
    const score: unknown = (vocab[id] as unknown[])[1];
    if (typeof score !== "number" || !Number.isFinite(score))
      throw invalid("a number", `tokenizer.json: score of token ${id}`, score);
    scores[id] = score;
    longest = Math.max(longest, vocabulary.utf8Of(id).length);
  }
  const unknown = own(model, "unk_id");
  return {
    type: "Unigram",
    scores,
    unknownId:
      unknown === undefined || unknown === null
        ? -1
        : checkTokenId(unknown, vocabulary.size, "tokenizer.json: model.unk_id"),
    byteFallback: own(model, "byte_fallback") === true,
    longest,
  };
}

/** Merges are "left right" or [left, right]. One whose parts or union is no token is an error, but for control tokens: left out. */
function readMerges(
  merges: unknown,
  vocabulary: Vocabulary,
  find: (token: string) => number,
  hidden: ReadonlySet<number>,
): MergeTables {
  if (!Array.isArray(merges) || merges.length > MAX_MERGES)
    throw invalid(
      `a list of at most ${MAX_MERGES} pairs`,
      "tokenizer.json: model.merges",
      Array.isArray(merges) ? merges.length : merges,
    );
  const builder = new MergeTableBuilder();
  merges.forEach((entry: unknown, rank) => {
    const pair: unknown[] = typeof entry === "string" ? entry.split(" ") : Array.isArray(entry) ? entry : [];
    const [left, right] = pair;
    if (pair.length !== 2 || typeof left !== "string" || typeof right !== "string")
      throw invalid("a pair of tokens", `tokenizer.json: model.merges[${rank}]`, entry);
    const ids = [left, right, left + right].map((token) => vocabulary.idOf(token));
    if (ids.every((id) => id >= 0)) return builder.add(ids[0]!, ids[1]!, ids[2]!);
    if (![left, right, left + right].some((token) => hidden.has(find(token))))
      throw invalid("tokens of the vocabulary", `tokenizer.json: model.merges[${rank}]`, entry);
  });
  return builder.build();
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
