import type { AddedToken } from "./added-tokens.js";
import { isObject, type JsonObject, own, ownFlag } from "./json.js";
import type { Normalizer } from "./normalizer.js";
import { MAX_AUTOMATON_UNITS } from "./token-automaton.js";
import { MAX_ADDED_TOKENS } from "./tokenizer-definition.js";
import { damaged } from "./tokenizer-errors.js";
import { MAX_TOKEN_BYTES, MAX_VOCABULARY } from "./vocabulary.js";

/** An added token as a file has it. */
interface Entry {
  readonly content: string;
  readonly special: boolean;
  readonly normalized: boolean;
  readonly singleWord: boolean;
  readonly lstrip: boolean;
  readonly rstrip: boolean;
}

/** A token that tokenizer_config.json names; its flags count where it is no added token already. */
export type NamedToken = Entry;

const NAME = "tokenizer.json: added_tokens";
/** An added token may become this many times longer when it is normalised. */
const MAX_GROWTH = 64;
const MAX_EXTRA = 1 << 12;

function checkContent(content: unknown, name: string): string {
  if (typeof content !== "string" || content.length > MAX_TOKEN_BYTES)
    throw damaged(`a string of at most ${MAX_TOKEN_BYTES} characters`, `${name}.content`, content);
  return content;
}

function readEntry(entry: unknown, name: string, otherwiseSpecial = false): Entry {
  if (!isObject(entry)) throw damaged("an object", name, entry);
  const special = ownFlag(entry, "special", otherwiseSpecial, name) || otherwiseSpecial;
  return {
    content: checkContent(own(entry, "content"), name),
    special,
    normalized: ownFlag(entry, "normalized", !special, name),
    singleWord: ownFlag(entry, "single_word", false, name),
    lstrip: ownFlag(entry, "lstrip", false, name),
    rstrip: ownFlag(entry, "rstrip", false, name),
  };
}

/** A string, or an added token as an object; null for null. */
function readNamed(token: unknown, name: string): NamedToken | null {
  if (token === undefined || token === null) return null;
  return readEntry(typeof token === "string" ? { content: token } : token, name, true);
}

/** Keys of tokenizer_config.json whose names end like those of tokens. */
const NO_TOKENS = ["add_bos_token", "add_eos_token"];
const ROLES = ["bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"];

/**
 * The special tokens by their role: of tokenizer_config.json, else of special_tokens_map.json. Any other key that ends in _token and is
 * a string is a role, too, as in transformers.
 */
export function readRoles(config: JsonObject, map: JsonObject): Map<string, NamedToken> {
  const roles = new Map<string, NamedToken>();
  const more = Object.keys(config).filter(
    (key) => key.endsWith("_token") && typeof config[key] === "string" && !NO_TOKENS.includes(key),
  );
  for (const role of new Set([...ROLES, ...more])) {
    const token =
      readNamed(own(config, role), `tokenizer_config.json: ${role}`) ??
      readNamed(own(map, role), `special_tokens_map.json: ${role}`);
    if (token !== null) roles.set(role, token);
  }
  return roles;
}

/** Further special tokens: a list, or an object by name. The older name of the key counts where the newer one is missing. */
export function readExtraSpecialTokens(config: JsonObject): NamedToken[] {
  const key =
    own(config, "extra_special_tokens") === undefined ? "additional_special_tokens" : "extra_special_tokens";
  const extra = own(config, key) ?? [];
  const list: unknown[] = Array.isArray(extra) ? extra : isObject(extra) ? Object.values(extra) : [extra];
  if (list.length > MAX_EXTRA || (!Array.isArray(extra) && !isObject(extra)))
    throw damaged(`a list of at most ${MAX_EXTRA} tokens`, `tokenizer_config.json: ${key}`, extra);
  return list.flatMap((token) => readNamed(token, `tokenizer_config.json: ${key}`) ?? []);
}

/**
 * Reads `added_tokens`, what tokenizer_config.json adds or changes, and what it names, and puts those that the model lacks into its
 * vocabulary. Source: `add_tokens` of Hugging Face's added_vocabulary.rs, `__init__` of transformers' tokenization_utils_tokenizers.py.
 * @param tokens the model's by id; grows
 */
export function readAddedTokens(
  list: unknown,
  decoder: unknown,
  named: readonly NamedToken[],
  tokens: (string | undefined)[],
  normalizer: Normalizer | null,
): AddedToken[] {
  const added = new AddedTokenList(tokens);
  for (const entry of listOf(list)) added.add(readEntry(entry, NAME), own(entry, "id"));
  if (decoder !== undefined && !isObject(decoder))
    throw damaged("an object", "tokenizer_config.json: added_tokens_decoder", decoder);
  for (const id of Object.keys(decoder ?? {}).sort((a, b) => Number(a) - Number(b)))
    added.add(readEntry(own(decoder, id), "tokenizer_config.json: added_tokens_decoder"), Number(id));
  for (const token of named) added.name(token);
  return added.build(normalizer);
}

function listOf(list: unknown): unknown[] {
  if (list === undefined || list === null) return [];
  if (!Array.isArray(list)) throw damaged("a list", NAME, list);
  if (list.length > MAX_ADDED_TOKENS) throw damaged(`at most ${MAX_ADDED_TOKENS} tokens`, NAME, list.length);
  return list;
}

class AddedTokenList {
  readonly #tokens: (string | undefined)[];
  readonly #ids = new Map<string, number>();
  readonly #added = new Map<string, { id: number; entry: Entry }>();
  /** The id of the next token that the model lacks. */
  #next: number;

  constructor(tokens: (string | undefined)[]) {
    this.#tokens = tokens;
    tokens.forEach((token, id) => this.#ids.set(token!, id));
    this.#next = this.#ids.size;
  }

  /** A token with all its flags; it replaces one of the same content, but a control token remains one. */
  add(entry: Entry, named: unknown): void {
    const { content } = entry;
    if (content === "") return;
    if (!Number.isSafeInteger(named) || (named as number) < 0 || (named as number) >= MAX_VOCABULARY)
      throw damaged(`an id of 0 to ${MAX_VOCABULARY - 1}`, `${NAME}.id`, named);
    const other = this.#tokens[named as number];
    if (!this.#ids.has(content) && other !== undefined && !this.#added.has(other))
      throw damaged("one token an id", `${NAME}.id`, named);
    // As in the library, which goes by the model's vocabulary, then by the order, and not by the id that the file has.
    const id = this.#idOf(content);
    this.#put(id, { ...entry, special: entry.special || this.#added.get(content)?.entry.special === true });
  }

  /** A token that is to be special. */
  name(entry: NamedToken): void {
    if (entry.content === "") return;
    const before = this.#added.get(entry.content);
    this.#put(this.#idOf(entry.content), before === undefined ? entry : { ...before.entry, special: true });
  }

  #idOf(content: string): number {
    return this.#ids.get(content) ?? this.#next;
  }

  #put(id: number, entry: Entry): void {
    const { content } = entry;
    if (id >= MAX_VOCABULARY || (this.#tokens[id] ?? content) !== content)
      throw damaged("a free id", `${NAME}.id`, id);
    this.#tokens[id] = content;
    this.#ids.set(content, id);
    this.#added.set(content, { id, entry });
    if (this.#added.size > MAX_ADDED_TOKENS)
      throw damaged(`at most ${MAX_ADDED_TOKENS} tokens`, NAME, this.#added.size);
    this.#next = Math.max(this.#next, id + 1);
  }

  build(normalizer: Normalizer | null): AddedToken[] {
    let units = 0;
    return [...this.#added.values()].map(({ id, entry }) => {
      const { content, special, normalized, singleWord, lstrip, rstrip } = entry;
      const inText =
        normalized && normalizer !== null ? normalizer.apply(content, content.length * MAX_GROWTH) : content;
      units += inText?.length ?? 0;
      if (inText === null || units > MAX_AUTOMATON_UNITS)
        throw damaged(
          `added tokens of at most ${MAX_AUTOMATON_UNITS} characters together, none ${MAX_GROWTH} times longer when it is normalised,`,
          "tokenizer.json",
          content,
        );
      return {
        id,
        content,
        special,
        normalized: normalized ? inText : null,
        singleWord,
        lstrip,
        rstrip,
      };
    });
  }
}
