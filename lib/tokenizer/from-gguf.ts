import type { BytePairModel } from "./byte-pair-encoder.js";
import { type GgufMetadata, GgufVocabulary, TokenType } from "./gguf-vocabulary.js";
import { MAX_MERGES, MergeTableBuilder, type MergeTables } from "./merge-table.js";
import { mergesFromScores } from "./score-merges.js";
import { readNormalizer } from "./normalizer.js";
import { readPreTokenizer } from "./pre-tokenizer.js";
import { PATTERNS } from "./split-pattern.js";
import type { DecoderRule } from "./token-decoder.js";
import type { TokenizerDefinition } from "./tokenizer-definition.js";
import { damaged, unsupported } from "./tokenizer-errors.js";
import { MAX_TOKEN_BYTES, type PackedStrings, packStrings, Vocabulary } from "./vocabulary.js";
import { joinedBeforeSpace } from "./word-cuts.js";

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
  throw unsupported('"gpt2" or "llama"', "tokenizer.ggml.model", kind);
}

function byteLevelDefinition(source: GgufVocabulary): TokenizerDefinition {
  const pre = source.get("pre") ?? "default";
  const preset = PRESETS.get(pre as string);
  if (preset === undefined)
    throw unsupported(`one of ${[...PRESETS.keys()].join(", ")}`, "tokenizer.ggml.pre", pre);
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
  const normalizer = readNormalizer(preset.normalizer);
  return source.define(
    vocabulary,
    model,
    decoder,
    normalizer,
    readPreTokenizer(preset.preTokenizer),
    preset.addBos,
  );
}

/** Reads "left right" pairs in rank order. Pairs that would merge text into a control token are left out. */
function readMerges(merges: unknown, vocabulary: Vocabulary, specialIds: ReadonlySet<number>): MergeTables {
  const packed = packStrings((merges ?? []) as PackedStrings | unknown[], "tokenizer.ggml.merges");
  const count = packed.offsets.length - 1;
  if (count > MAX_MERGES) throw damaged(`at most ${MAX_MERGES} pairs`, "tokenizer.ggml.merges", count);
  const special = new Set([...specialIds].map((id) => vocabulary.tokenOf(id)));
  const joined = new Uint8Array(MAX_TOKEN_BYTES);
  const builder = new MergeTableBuilder();
  for (let rank = 0; rank < count; ++rank) {
    const pair = packed.bytes.subarray(packed.offsets[rank], packed.offsets[rank + 1]);
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
      throw damaged("a pair of tokens whose union is a token", `tokenizer.ggml.merges[${rank}]`, text);
  }
  return builder.build();
}

const MARK = "\u2581";

function sentencePieceDefinition(source: GgufVocabulary): TokenizerDefinition {
  const scores = source.numbers("scores");
  if (scores === null) throw damaged("a score for each token", "tokenizer.ggml.scores", undefined);
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
    unknownId: source.idIfThere("unknown_token_id") ?? -1,
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
  return source.define(vocabulary, model, decoder, readNormalizer(normalizer), [], true);
}
