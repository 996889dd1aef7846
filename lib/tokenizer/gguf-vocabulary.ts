import { type AddedToken, buildAddedTokenTables } from "./added-tokens.js";
import type { BytePairModel } from "./byte-pair-encoder.js";
import type { NormalizerStep } from "./normalizer.js";
import type { PreTokenizerStep } from "./pre-tokenizer.js";
import type { DecoderRule } from "./token-decoder.js";
import {
  checkTokenId,
  collectEosTokenIds,
  MAX_ADDED_TOKENS,
  nameTemplates,
  type TokenizerDefinition,
} from "./tokenizer-definition.js";
import { damaged } from "./tokenizer-errors.js";
import { type PackedStrings, packStrings, Vocabulary } from "./vocabulary.js";

/**
 * The key-values of a GGUF file that make its tokenizer (`tokenizer.ggml.*`, `tokenizer.chat_template*`); other keys are ignored.
 * `tokens` and `merges`: lists of strings, or packed strings, which are quicker to hand over. `token_type`, `scores`: lists or typed
 * arrays as long as `tokens`.
 */
export type GgufMetadata = Readonly<Record<string, unknown>>;

/** Values of tokenizer.ggml.token_type. */
export const TokenType = { NORMAL: 1, UNKNOWN: 2, CONTROL: 3, USER_DEFINED: 4, UNUSED: 5, BYTE: 6 } as const;

/** The checked lists of a GGUF vocabulary. */
export class GgufVocabulary {
  readonly strings: PackedStrings;
  readonly size: number;
  /** Control tokens, and those that the file names as bos, eos, unk, … */
  readonly specialIds: ReadonlySet<number>;
  readonly #types: Float64Array | null;

  constructor(private readonly metadata: GgufMetadata) {
    if (typeof metadata !== "object" || metadata === null)
      throw damaged("the key-values of a GGUF file", "metadata", metadata);
    this.strings = packStrings(
      (this.get("tokens") ?? []) as PackedStrings | unknown[],
      "tokenizer.ggml.tokens",
    );
    this.size = this.strings.offsets.length - 1;
    if (this.size === 0) throw damaged("at least one token", "tokenizer.ggml.tokens", undefined);
    this.#types = this.numbers("token_type");
    const special = new Set<number>();
    for (let id = 0; id < this.size; ++id)
      if (this.type(id) === TokenType.CONTROL || this.type(id) === TokenType.UNKNOWN) special.add(id);
    const named = [this.id("bos_token_id"), this.id("eos_token_id")];
    for (const id of [...named, this.idIfThere("eot_token_id"), this.idIfThere("eom_token_id")])
      if (id !== null) special.add(id);
    this.specialIds = special;
  }

  get(key: string): unknown {
    const name = `tokenizer.ggml.${key}`;
    return Object.hasOwn(this.metadata, name) ? (this.metadata[name] ?? undefined) : undefined;
  }

  flag(key: string, otherwise: boolean): boolean {
    const value = this.get(key) ?? otherwise;
    if (typeof value !== "boolean") throw damaged("true or false", `tokenizer.ggml.${key}`, value);
    return value;
  }

  id(key: string): number | null {
    const value = this.get(key);
    return value === undefined ? null : checkTokenId(value, this.size, `tokenizer.ggml.${key}`);
  }

  /** As `id`, for what nothing depends on; null also for one past the vocabulary: converters write 4294967295 for none. */
  idIfThere(key: string): number | null {
    const value = this.get(key);
    const id = typeof value === "bigint" ? Number(value) : value;
    return typeof id === "number" && id >= this.size ? null : this.id(key);
  }

  type(id: number): number {
    return this.#types === null ? TokenType.NORMAL : this.#types[id]!;
  }

  tokens(): string[] {
    const buffer = Buffer.from(
      this.strings.bytes.buffer,
      this.strings.bytes.byteOffset,
      this.strings.bytes.length,
    );
    return Array.from({ length: this.size }, (_, id) =>
      buffer.toString("utf8", this.strings.offsets[id], this.strings.offsets[id + 1]),
    );
  }

  /** A list of one finite number for each token, in an array of its own, or null where the file has none. */
  numbers(key: string): Float64Array | null {
    const list = this.get(key);
    if (list === undefined) return null;
    if (
      (!Array.isArray(list) && !ArrayBuffer.isView(list)) ||
      (list as ArrayLike<number>).length !== this.size
    )
      throw damaged(
        `${this.size} numbers`,
        `tokenizer.ggml.${key}`,
        (list as ArrayLike<number>).length ?? list,
      );
    const numbers = Float64Array.from(list as ArrayLike<number>);
    const bad = numbers.findIndex((number) => !Number.isFinite(number));
    if (bad >= 0)
      throw damaged("a number", `tokenizer.ggml.${key}[${bad}]`, (list as ArrayLike<unknown>)[bad]);
    return numbers;
  }

  define(
    vocabulary: Vocabulary,
    model: BytePairModel,
    decoder: DecoderRule,
    normalizer: readonly NormalizerStep[],
    preTokenizer: readonly PreTokenizerStep[],
    addBos: boolean,
  ): TokenizerDefinition {
    const addedTokens: AddedToken[] = [];
    for (let id = 0; id < this.size; ++id) {
      const special = this.specialIds.has(id);
      if (!special && this.type(id) !== TokenType.USER_DEFINED) continue;
      const content = vocabulary.tokenOf(id);
      addedTokens.push({
        id,
        content,
        special,
        normalized: null,
        singleWord: false,
        lstrip: false,
        rstrip: false,
      });
    }
    if (addedTokens.length > MAX_ADDED_TOKENS)
      throw damaged(
        `at most ${MAX_ADDED_TOKENS} control and user-defined tokens`,
        "tokenizer.ggml.token_type",
        addedTokens.length,
      );
    const bos = this.id("bos_token_id");
    const eos = this.id("eos_token_id");
    const roles = {
      bos_token: bos,
      eos_token: eos,
      unk_token: this.idIfThere("unknown_token_id"),
      pad_token: this.idIfThere("padding_token_id"),
    };
    return {
      vocabulary: vocabulary.tables,
      model,
      addedTokens,
      addedTokenTables: buildAddedTokenTables(addedTokens),
      normalizer,
      preTokenizer,
      decoder,
      prefix: bos !== null && this.flag("add_bos_token", addBos) ? [bos] : [],
      suffix: eos !== null && this.flag("add_eos_token", false) ? [eos] : [],
      bosTokenId: bos,
      eosTokenIds: collectEosTokenIds(
        [eos, this.idIfThere("eot_token_id"), this.idIfThere("eom_token_id")],
        addedTokens,
      ),
      specialTokens: Object.fromEntries(
        Object.entries(roles).flatMap(([role, id]) => (id === null ? [] : [[role, vocabulary.tokenOf(id)]])),
      ),
      ...this.#templates(),
    };
  }

  /** `tokenizer.chat_template` is the default one, `tokenizer.chat_template.NAME` the others, which `tokenizer.chat_templates` lists. */
  #templates(): Pick<TokenizerDefinition, "chatTemplate" | "chatTemplates"> {
    const key = "tokenizer.chat_template";
    const names = Object.keys(this.metadata).filter((one) => one.startsWith(`${key}.`));
    const named = names.map((one) => [one.slice(key.length + 1), this.metadata[one]] as const);
    const template = this.metadata[key];
    const standard = typeof template === "string" && template !== "" ? [["default", template] as const] : [];
    return nameTemplates([...named, ...standard], key);
  }
}
