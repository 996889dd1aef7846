import { LowrankError } from "../errors/index.js";
import type { AddedToken } from "./added-tokens.js";
import type { BytePairModel } from "./byte-pair-encoder.js";
import { MAX_MERGES, MergeTableBuilder, type MergeTables } from "./merge-table.js";
import { mergesFromScores } from "./score-merges.js";
import { PATTERNS } from "./split-pattern.js";
import type { DecoderRule } from "./token-decoder.js";
import {
  checkTemplate,
  checkTokenId,
  collectEosTokenIds,
  MAX_ADDED_TOKENS,
  type TokenizerDefinition,
} from "./tokenizer-definition.js";
import { MAX_TOKEN_BYTES, packStrings, Vocabulary, type PackedStrings } from "./vocabulary.js";
import { joinedBeforeSpace } from "./word-cuts.js";

/**
 * The key-values of a GGUF file that make its tokenizer (`tokenizer.ggml.*`, `tokenizer.chat_template`); other keys are ignored.
 * `tokens` and `merges`: lists of strings, or packed strings, which are quicker to hand over. `token_type`, `scores`: lists or typed
 * arrays as long as `tokens`.
 */
export type GgufMetadata = Readonly<Record<string, unknown>>;

/** Values of tokenizer.ggml.token_type. */
const TokenType = { NORMAL: 1, UNKNOWN: 2, CONTROL: 3, USER_DEFINED: 4, UNUSED: 5, BYTE: 6 } as const;

interface BytePreset {
  readonly preTokenizer: unknown;
  readonly normalizer: unknown;
  readonly ignoreMerges: boolean;
  readonly addBos: boolean;
}

const splitThenBytes = (pattern: string): unknown => ({
  type: "Sequence",
  pretokenizers: [
    { type: "Split", pattern: { Regex: pattern }, behavior: "Isolated", invert: false },
    { type: "ByteLevel", add_prefix_space: false, use_regex: false },
  ],
});
const GPT2_BYTES = { type: "ByteLevel", add_prefix_space: false, use_regex: true };
const DIGITS_THEN_GPT2 = {
  type: "Sequence",
  pretokenizers: [{ type: "Digits", individual_digits: true }, GPT2_BYTES],
};

const GPT2: BytePreset = { preTokenizer: GPT2_BYTES, normalizer: null, ignoreMerges: false, addBos: false };
const SMOLLM: BytePreset = { ...GPT2, preTokenizer: DIGITS_THEN_GPT2 };
const LLAMA3: BytePreset = {
  ...GPT2,
  preTokenizer: splitThenBytes(PATTERNS.llama3),
  ignoreMerges: true,
  addBos: true,
};
const QWEN2: BytePreset = {
  ...GPT2,
  preTokenizer: splitThenBytes(PATTERNS.qwen2),
  normalizer: { type: "NFC" },
};
const TEKKEN: BytePreset = {
  ...GPT2,
  preTokenizer: splitThenBytes(PATTERNS.tekken),
  ignoreMerges: true,
  addBos: true,
};

/** tokenizer.ggml.pre -> what the tokenizer.json of that family says. */
const PRESETS: ReadonlyMap<string, BytePreset> = new Map([
  ["default", GPT2],
  ["gpt-2", GPT2],
  ["smollm", SMOLLM],
  ["starcoder", SMOLLM],
  ["refact", SMOLLM],
  ["command-r", SMOLLM],
  ["llama-bpe", LLAMA3],
  ["llama3", LLAMA3],
  ["llama-v3", LLAMA3],
  ["qwen2", QWEN2],
  ["deepseek-r1-qwen", QWEN2],
  ["tekken", TEKKEN],
]);

/** Makes a tokenizer from the key-values of a GGUF file. Throws ERR_TOKENIZER for what is incomplete, inconsistent or of another kind. */
export function definitionFromGguf(metadata: GgufMetadata): TokenizerDefinition {
  const source = new GgufVocabulary(metadata);
  const kind = source.get("model");
  if (kind === "gpt2") return byteLevelDefinition(source);
  if (kind === "llama") return sentencePieceDefinition(source);
  throw new LowrankError(
    "ERR_TOKENIZER",
    `Expected "gpt2" or "llama" for tokenizer.ggml.model, received ${JSON.stringify(kind) ?? "nothing"}. Use a model of the Llama, Qwen, Mistral or Gemma family.`,
  );
}

function byteLevelDefinition(source: GgufVocabulary): TokenizerDefinition {
  const pre = source.get("pre") ?? "default";
  const preset = PRESETS.get(pre as string);
  if (preset === undefined)
    throw new LowrankError(
      "ERR_TOKENIZER",
      `Expected one of ${[...PRESETS.keys()].join(", ")} for tokenizer.ggml.pre, received ${JSON.stringify(pre)}. Use the model's tokenizer.json instead.`,
    );
  const vocabulary = Vocabulary.build(source.strings, source.specialIds);
  const model: BytePairModel = {
    type: "BPE",
    merges: readMerges(source.get("merges"), vocabulary, source.specialIds),
    symbols: "bytes",
    byteFallback: false,
    fuseUnknown: false,
    ignoreMerges: preset.ignoreMerges,
    unknownId: -1, // as in the families' tokenizer.json: a byte without a token is dropped, not made a control token
    joinedBeforeSpace: null,
  };
  const decoder: DecoderRule = {
    byteLevel: true,
    byteFallback: false,
    replacements: [],
    strip: null,
    dropFromFirst: null,
    separator: "",
  };
  return source.define(vocabulary, model, decoder, preset.normalizer, preset.preTokenizer, preset.addBos);
}

/** Reads "left right" pairs in rank order. Pairs that would merge text into a control token are left out. */
function readMerges(merges: unknown, vocabulary: Vocabulary, specialIds: ReadonlySet<number>): MergeTables {
  const packed = packStrings((merges ?? []) as PackedStrings | unknown[], "tokenizer.ggml.merges");
  const count = packed.offsets.length - 1;
  if (count > MAX_MERGES)
    throw new LowrankError(
      "ERR_TOKENIZER",
      `Expected at most ${MAX_MERGES} for tokenizer.ggml.merges, received ${count}.`,
    );
  const special = new Set([...specialIds].map((id) => vocabulary.tokenOf(id)));
  const joined = new Uint8Array(MAX_TOKEN_BYTES);
  const builder = new MergeTableBuilder();
  for (let rank = 0; rank < count; ++rank) {
    const pair = packed.bytes.subarray(packed.offsets[rank]!, packed.offsets[rank + 1]!);
    const blank = pair.indexOf(0x20, 1); // from the second byte on: a left part may begin with a blank
    const left = blank < 0 ? -1 : vocabulary.idOfBytes(pair, 0, blank);
    const right = blank < 0 ? -1 : vocabulary.idOfBytes(pair, blank + 1, pair.length);
    if (left >= 0 && right >= 0) {
      joined.set(pair.subarray(0, blank));
      joined.set(pair.subarray(blank + 1), blank);
      const result = vocabulary.idOfBytes(joined, 0, pair.length - 1);
      if (result >= 0) {
        builder.add(left, right, result);
        continue;
      }
    }
    const text = Buffer.from(pair).toString();
    if (!special.has(text.replace(" ", "")) && !text.split(" ").some((part) => special.has(part)))
      throw new LowrankError(
        "ERR_TOKENIZER",
        `Expected a pair of tokens whose union is a token for tokenizer.ggml.merges[${rank}], received ${JSON.stringify(text.slice(0, 80))}.`,
      );
  }
  return builder.build();
}

const MARK = "\u2581";

function sentencePieceDefinition(source: GgufVocabulary): TokenizerDefinition {
  const scores = source.numbers("scores");
  if (scores === null)
    throw new LowrankError(
      "ERR_TOKENIZER",
      `Expected a score for each token for tokenizer.ggml.scores, received nothing.`,
    );
  const mergeable = new Uint8Array(source.size);
  const tokens = source.tokens();
  for (let id = 0; id < source.size; ++id) {
    const type = source.type(id);
    mergeable[id] = type === TokenType.NORMAL ? 1 : 0;
    // Runs of blanks are user-defined and stand as blanks in GGUF: SentencePiece takes the longest run before any other merge.
    if (type === TokenType.USER_DEFINED && /^ +$/.test(tokens[id]!)) {
      tokens[id] = MARK.repeat(tokens[id]!.length);
      mergeable[id] = tokens[id]!.length > 1 ? 1 : 0;
      scores[id] = Infinity;
    }
  }
  const vocabulary = Vocabulary.build(packStrings(tokens, "tokenizer.ggml.tokens"), source.specialIds);
  const merges = mergesFromScores(vocabulary, scores, mergeable);
  const model: BytePairModel = {
    type: "BPE",
    merges,
    symbols: "characters",
    byteFallback: true,
    fuseUnknown: true,
    ignoreMerges: false,
    unknownId: source.id("unknown_token_id") ?? -1,
    joinedBeforeSpace: joinedBeforeSpace(vocabulary, merges),
  };
  const prefix = source.flag("add_space_prefix", true);
  const spaces = { type: "Replace", pattern: { String: " " }, content: MARK };
  const normalizer = prefix
    ? { type: "Sequence", normalizers: [{ type: "Prepend", prepend: MARK }, spaces] }
    : spaces;
  const decoder: DecoderRule = {
    byteLevel: false,
    byteFallback: true,
    replacements: [{ from: MARK, to: " " }],
    strip: prefix ? { content: " ", count: 1 } : null,
    dropFromFirst: null,
    separator: "",
  };
  return source.define(vocabulary, model, decoder, normalizer, null, true);
}

/** The checked lists of a GGUF vocabulary. */
class GgufVocabulary {
  readonly strings: PackedStrings;
  readonly size: number;
  /** Control tokens, and those that the file names as bos, eos, unk, … */
  readonly specialIds: ReadonlySet<number>;
  readonly #types: Float64Array | null;

  constructor(private readonly metadata: GgufMetadata) {
    if (typeof metadata !== "object" || metadata === null)
      throw new LowrankError(
        "ERR_TOKENIZER",
        `Expected the key-values of a GGUF file for metadata, received ${String(metadata)}.`,
      );
    this.strings = packStrings(
      (this.get("tokens") ?? []) as PackedStrings | unknown[],
      "tokenizer.ggml.tokens",
    );
    this.size = this.strings.offsets.length - 1;
    if (this.size === 0)
      throw new LowrankError(
        "ERR_TOKENIZER",
        "Expected at least one token for tokenizer.ggml.tokens, received none. Use a GGUF file that holds its vocabulary.",
      );
    this.#types = this.numbers("token_type");
    const special = new Set<number>();
    for (let id = 0; id < this.size; ++id)
      if (this.type(id) === TokenType.CONTROL || this.type(id) === TokenType.UNKNOWN) special.add(id);
    for (const key of ["bos_token_id", "eos_token_id", "eot_token_id", "eom_token_id"]) {
      const id = this.id(key);
      if (id !== null) special.add(id);
    }
    this.specialIds = special;
  }

  get(key: string): unknown {
    const name = `tokenizer.ggml.${key}`;
    return Object.hasOwn(this.metadata, name) ? (this.metadata[name] ?? undefined) : undefined;
  }

  flag(key: string, otherwise: boolean): boolean {
    const value = this.get(key);
    return typeof value === "boolean" ? value : otherwise;
  }

  id(key: string): number | null {
    const value = this.get(key);
    return value === undefined ? null : checkTokenId(value, this.size, `tokenizer.ggml.${key}`);
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
      throw new LowrankError(
        "ERR_TOKENIZER",
        `Expected ${this.size} numbers for tokenizer.ggml.${key}, received ${(list as ArrayLike<number>).length ?? typeof list}.`,
      );
    const numbers = Float64Array.from(list as ArrayLike<number>);
    const bad = numbers.findIndex((number) => !Number.isFinite(number));
    if (bad >= 0)
      throw new LowrankError(
        "ERR_TOKENIZER",
        `Expected a number for tokenizer.ggml.${key}[${bad}], received ${String((list as ArrayLike<unknown>)[bad])}.`,
      );
    return numbers;
  }

  define(
    vocabulary: Vocabulary,
    model: BytePairModel,
    decoder: DecoderRule,
    normalizer: unknown,
    preTokenizer: unknown,
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
      throw new LowrankError(
        "ERR_TOKENIZER",
        `Expected at most ${MAX_ADDED_TOKENS} control and user-defined tokens for tokenizer.ggml.token_type, received ${addedTokens.length}.`,
      );
    const bos = this.id("bos_token_id");
    const eos = this.id("eos_token_id");
    const roles = {
      bos_token: bos,
      eos_token: eos,
      unk_token: this.id("unknown_token_id"),
      pad_token: this.id("padding_token_id"),
    };
    const template = this.metadata["tokenizer.chat_template"];
    return {
      vocabulary: vocabulary.tables,
      model,
      addedTokens,
      normalizer,
      preTokenizer,
      decoder,
      prefix: bos !== null && this.flag("add_bos_token", addBos) ? [bos] : [],
      suffix: eos !== null && this.flag("add_eos_token", false) ? [eos] : [],
      bosTokenId: bos,
      eosTokenIds: collectEosTokenIds([eos, this.id("eot_token_id"), this.id("eom_token_id")], addedTokens),
      specialTokens: Object.fromEntries(
        Object.entries(roles).flatMap(([role, id]) => (id === null ? [] : [[role, vocabulary.tokenOf(id)]])),
      ),
      chatTemplate:
        typeof template === "string" && template !== ""
          ? checkTemplate(template, "tokenizer.chat_template")
          : null,
    };
  }
}
