import { expected } from "../errors/index.js";
import { checkOptions } from "../schema/index.js";
import { AddedTokenMatcher, type Accept, type AddedToken, type Visit } from "./added-tokens.js";
import { ByteBuffer } from "./byte-buffer.js";
import { BytePairEncoder } from "./byte-pair-encoder.js";
import { definitionFromGguf } from "./from-gguf.js";
import type { GgufMetadata } from "./gguf-vocabulary.js";
import { definitionFromFiles, type TokenizerFiles } from "./from-tokenizer-json.js";
import { compileNormalizer, type Normalizer } from "./normalizer.js";
import { compilePreTokenizer, type PreTokenizer } from "./pre-tokenizer.js";
import { DECODING, ENCODING, type DecodeOptions, type EncodeOptions } from "./text-options.js";
import { TokenBuffer } from "./token-buffer.js";
import { decodedContents, TokenDecoder } from "./token-decoder.js";
import type { TokenizerDefinition } from "./tokenizer-definition.js";
import { UnigramEncoder } from "./unigram-encoder.js";
import { Vocabulary, type PackedStrings } from "./vocabulary.js";

/** Longest text that is encoded, in UTF-16 units (about 4 million tokens). */
export const MAX_TEXT_LENGTH = 1 << 24;
/** A normalizer may make a text this many times longer, and no longer than this, in UTF-16 units. NFKD makes it 18 times longer at most. */
const MAX_GROWTH = 32;
const MAX_NORMALIZED_LENGTH = MAX_TEXT_LENGTH + (1 << 16);
/** Most ids that are decoded at a time, and most bytes of their text. */
const MAX_IDS = 1 << 24;
const MAX_DECODED_BYTES = 1 << 26;
/** What a quick tokenizer has at most: steps of its normalizer, cuts of its pre-tokenizer, growth of the text by both. */
const QUICK_STEPS = 8;
const QUICK_GROWTH = 8;
/** Bytes of the longest token of a quick Unigram model, whose time is in proportion to it. */
const QUICK_TOKEN_BYTES = 128;

interface Encoder {
  encode(word: string, out: TokenBuffer): void;
}

/**
 * Text to token ids and back, token for token as Hugging Face's Rust library `tokenizers` does. All methods are synchronous: about
 * 0.2 ms for 1 KB. A `TextProcessor` keeps long texts and unknown patterns off the event loop.
 */
export class Tokenizer {
  /** Number of ids, holes counted. */
  readonly vocabularySize: number;
  readonly bosTokenId: number | null;
  /** Ids that end a generation: end of text, end of turn. */
  readonly eosTokenIds: readonly number[];
  /** Special tokens by role (bos_token, eos_token, unk_token, pad_token), as chat templates see them. */
  readonly specialTokens: Readonly<Record<string, string>>;
  /** Control tokens and user-defined ones. */
  readonly addedTokens: readonly AddedToken[];
  /** The model's own Jinja chat template, the one named "default" where there are several, or null. See `chooseTemplate`. */
  readonly chatTemplate: string | null;
  /**
   * True where 8,192 characters are encoded in a few milliseconds whatever they are: every pattern is one of the known, linear ones, and
   * no step makes a text much longer. Texts for other tokenizers belong in a worker that can be stopped.
   */
  readonly trusted: boolean;
  /** @internal */
  readonly decoder: TokenDecoder;

  readonly #vocabulary: Vocabulary;
  readonly #encoder: Encoder;
  readonly #normalizer: Normalizer | null;
  readonly #preTokenizer: PreTokenizer;
  readonly #added: Map<string, AddedToken>;
  readonly #special: ReadonlySet<number>;
  readonly #rawMatcher: AddedTokenMatcher;
  readonly #normalizedMatcher: AddedTokenMatcher | null;
  /** For rendered chats: finds every control token in the raw text. */
  readonly #chatMatcher: AddedTokenMatcher;

  /** @param definition a checked tokenizer: see `fromFiles` and `fromGguf` */
  constructor(readonly definition: TokenizerDefinition) {
    const { model, addedTokens } = definition;
    const vocabulary = new Vocabulary(definition.vocabulary);
    this.#vocabulary = vocabulary;
    this.vocabularySize = vocabulary.size;
    this.bosTokenId = definition.bosTokenId;
    this.eosTokenIds = definition.eosTokenIds;
    this.specialTokens = definition.specialTokens;
    this.addedTokens = addedTokens;
    this.chatTemplate = definition.chatTemplate;
    this.#normalizer = compileNormalizer(definition.normalizer);
    this.#preTokenizer = compilePreTokenizer(definition.preTokenizer);
    this.trusted = isQuick(definition, this.#normalizer, this.#preTokenizer);
    this.#encoder =
      model.type === "BPE"
        ? new BytePairEncoder(vocabulary, model)
        : model.type === "Unigram"
          ? new UnigramEncoder(vocabulary, model)
          : wordLevelEncoder(vocabulary, model.unknownId);
    this.#added = new Map(addedTokens.map((token) => [token.content, token]));
    this.#special = new Set(addedTokens.filter((token) => token.special).map((token) => token.id));
    const { raw, normalized, chat } = definition.addedTokenTables;
    this.#rawMatcher = new AddedTokenMatcher(addedTokens, raw);
    this.#normalizedMatcher =
      normalized && new AddedTokenMatcher(addedTokens, normalized, (token) => token.normalized ?? "");
    this.#chatMatcher = chat === null ? this.#rawMatcher : new AddedTokenMatcher(addedTokens, chat);
    this.decoder = new TokenDecoder(vocabulary, definition.decoder, decodedContents(addedTokens));
  }

  /** From the files of a model folder. Throws ERR_TOKENIZER. Takes time in proportion to the files (see `TextProcessor.create`). */
  static fromFiles(files: TokenizerFiles): Tokenizer {
    return new Tokenizer(definitionFromFiles(files));
  }

  /** From the key-values of a GGUF file. Throws ERR_TOKENIZER. */
  static fromGguf(metadata: GgufMetadata): Tokenizer {
    return new Tokenizer(definitionFromGguf(metadata));
  }

  /**
   * Token ids of a text. Lone surrogates count as U+FFFD.
   * Throws ERR_INVALID_ARGUMENT for what is no text of at most MAX_TEXT_LENGTH.
   */
  encode(text: string, options: EncodeOptions = {}): Int32Array {
    const { addSpecialTokens, parseSpecialTokens } = checkOptions(ENCODING, options);
    checkText(text);
    const out = new TokenBuffer(text.length / 3 + 16);
    if (addSpecialTokens) out.append(this.definition.prefix);
    const accept: Accept = (token) => parseSpecialTokens || !token.special;
    withinStack(() => this.#encodeInto(wellFormed(text), this.#rawMatcher, accept, accept, out));
    if (addSpecialTokens) out.append(this.definition.suffix);
    return out.toArray();
  }

  /**
   * Token ids of a rendered chat template: control tokens count where the template wrote them, not where they came in with a message.
   * @param foreign where characters came from outside: ascending, disjoint pairs [start, end) of UTF-16 offsets; a control token that
   *   has any of them stays text
   */
  encodeChat(text: string, foreign: Int32Array): Int32Array {
    checkText(text);
    const out = new TokenBuffer(text.length / 3 + 16);
    const accept: Accept = (token, start, end) => !token.special || !overlaps(foreign, start, end);
    withinStack(() =>
      this.#encodeInto(wellFormed(text), this.#chatMatcher, accept, (token) => !token.special, out),
    );
    return out.toArray();
  }

  #encodeInto(
    text: string,
    matcher: AddedTokenMatcher,
    accept: Accept,
    acceptNormalized: Accept,
    out: TokenBuffer,
  ): void {
    const most = Math.min(MAX_NORMALIZED_LENGTH, (text.length + 64) * MAX_GROWTH);
    let room = most;
    matcher.visit(text, accept, (start, end, token) => {
      if (token !== null) return out.push(token.id);
      const part = text.slice(start, end);
      const normalized = this.#normalizer === null ? part : this.#normalizer.apply(part, room);
      if (normalized === null)
        throw expected(
          `a text that the tokenizer's normalizer makes at most ${most} UTF-16 units of`,
          "text",
          "one that becomes longer",
          "Shorten the text.",
        );
      room -= normalized.length;
      const encode: Visit = (from, to, inner) => {
        if (inner !== null) return out.push(inner.id);
        if (to > from)
          this.#preTokenizer.split(normalized.slice(from, to), start + from === 0, (word) =>
            this.#encoder.encode(word, out),
          );
      };
      if (this.#normalizedMatcher === null) encode(0, normalized.length, null);
      else this.#normalizedMatcher.visit(normalized, acceptNormalized, encode);
    });
  }

  /**
   * Text of token ids. Bytes that are no UTF-8 become U+FFFD as the WHATWG's TextDecoder has it; spaces are left as they are
   * (`clean_up_tokenization_spaces` is off). Ids out of range are left out.
   * Throws ERR_INVALID_ARGUMENT for more than 16,777,216 ids, or where their text has more than 64 MiB.
   */
  decode(ids: ArrayLike<number>, options: DecodeOptions = {}): string {
    const { skipSpecialTokens, skipIncomplete } = checkOptions(DECODING, options);
    const length: unknown = (ids as Partial<ArrayLike<number>> | null | undefined)?.length;
    if (typeof ids !== "object" || !Number.isInteger(length) || ids.length < 0 || ids.length > MAX_IDS)
      throw expected(`a list of at most ${MAX_IDS} token ids`, "ids", length ?? ids);
    const position = this.decoder.begin();
    const bytes = new ByteBuffer();
    for (let i = 0; i < ids.length; ++i) {
      if (skipSpecialTokens && this.#special.has(ids[i]!)) continue;
      this.decoder.appendNext(ids[i]!, position, bytes);
      if (bytes.length > MAX_DECODED_BYTES)
        throw expected(
          `ids whose text has at most ${MAX_DECODED_BYTES} bytes`,
          "ids",
          ids.length,
          "Decode them in parts.",
        );
    }
    return new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes.view(), { stream: skipIncomplete });
  }

  /** The bytes that a token stands for in the middle of a text; none for an id out of range. */
  tokenBytes(id: number): Uint8Array {
    const bytes = new ByteBuffer();
    this.decoder.append(id, bytes);
    return new Uint8Array(bytes.view());
  }

  /** The bytes of every token, packed: token i is bytes[offsets[i] .. offsets[i + 1]). For native masks. */
  allTokenBytes(): PackedStrings {
    const offsets = new Uint32Array(this.vocabularySize + 1);
    const bytes = new ByteBuffer();
    for (let id = 0; id < this.vocabularySize; ++id) {
      this.decoder.append(id, bytes);
      offsets[id + 1] = bytes.length;
    }
    return { bytes: new Uint8Array(bytes.view()), offsets };
  }

  /** The id of a token as it stands in the vocabulary, or null. */
  tokenToId(token: string): number | null {
    const id = this.#added.get(token)?.id ?? this.#vocabulary.idOf(token);
    return id < 0 ? null : id;
  }

  /** A token as it stands in the vocabulary, or null for an id out of range. */
  idToToken(id: number): string | null {
    return Number.isInteger(id) && id >= 0 && id < this.vocabularySize ? this.#vocabulary.tokenOf(id) : null;
  }

  /** True for control tokens. */
  isSpecial(id: number): boolean {
    return this.#special.has(id);
  }
}

function isQuick(
  { normalizer: steps, model }: TokenizerDefinition,
  normalizer: Normalizer | null,
  preTokenizer: PreTokenizer,
): boolean {
  return (
    preTokenizer.trusted &&
    (normalizer?.trusted ?? true) &&
    steps.length <= QUICK_STEPS &&
    preTokenizer.cuts <= QUICK_STEPS &&
    preTokenizer.growth * (normalizer?.growth ?? 1) <= QUICK_GROWTH &&
    (model.type !== "Unigram" || model.tokens.longest <= QUICK_TOKEN_BYTES)
  );
}

function wordLevelEncoder(vocabulary: Vocabulary, unknownId: number): Encoder {
  return {
    encode(word, out) {
      const id = vocabulary.idOf(word);
      if (id >= 0) out.push(id);
      else if (unknownId >= 0) out.push(unknownId);
    },
  };
}

function checkText(text: string): void {
  if (typeof text !== "string") throw expected("a string", "text", text);
  if (text.length > MAX_TEXT_LENGTH)
    throw expected(`at most ${MAX_TEXT_LENGTH} UTF-16 units`, "text", text.length, "Split the text.");
}

/** JavaScript's expressions give up, with a RangeError, on a match of millions of characters. */
function withinStack(encode: () => void): void {
  try {
    encode();
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw expected("shorter runs of letters or signs", "text", "one of millions", "Split the text.");
  }
}

/** Lone surrogates become U+FFFD, as UTF-8 has none. Offsets stay the same. */
function wellFormed(text: string): string {
  // In Node.js since 20, not yet in the language level that TypeScript is told.
  return (text as string & { toWellFormed(): string }).toWellFormed();
}

/** Has any of the ascending pairs [from, to) a place in start .. end - 1? */
function overlaps(pairs: Int32Array, start: number, end: number): boolean {
  let low = 0;
  for (let high = pairs.length >> 1; low < high;) {
    const middle = (low + high) >> 1;
    if (pairs[2 * middle + 1]! <= start) low = middle + 1;
    else high = middle;
  }
  return 2 * low < pairs.length && pairs[2 * low]! < end;
}
