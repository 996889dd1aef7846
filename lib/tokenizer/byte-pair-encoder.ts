import { byteToken, CHARACTER_OF_BYTE } from "./byte-alphabet.js";
import { mergeByHeap } from "./merge-by-heap.js";
import { rankOf, type MergeTables } from "./merge-table.js";
import type { TokenBuffer } from "./token-buffer.js";
import { MAX_TOKEN_BYTES, Vocabulary } from "./vocabulary.js";
import { checkWordLength } from "./word-length.js";

/** Byte-pair encoding: a word becomes symbols, then the pair of lowest rank, leftmost first, is merged until none is left. */
export interface BytePairModel {
  readonly type: "BPE";
  readonly merges: MergeTables;
  /** "bytes": one symbol a byte, named by GPT-2's alphabet; "characters": one symbol a code point. */
  readonly symbols: "bytes" | "characters";
  /** A character without a token becomes the tokens <0x00> .. <0xFF> of its bytes. */
  readonly byteFallback: boolean;
  /** Neighbouring unknown characters become one unknown token. */
  readonly fuseUnknown: boolean;
  /** A word that is a token as a whole is not split. */
  readonly ignoreMerges: boolean;
  /** -1: unknown characters are dropped. */
  readonly unknownId: number;
  /** Code points x for which some token has x before U+2581 inside it, or null where words may not be cut before U+2581. */
  readonly joinedBeforeSpace: readonly number[] | null;
}

/** Words of up to this many symbols are merged by scanning, longer ones with a heap. */
const SCAN_LIMIT = 40;
/** Results of words up to this length (UTF-16 units) are remembered, this many of them at most. */
const CACHED_LENGTH = 24;
const CACHED_WORDS = 4096;
const NO_RANK = 0x7fffffff;

/**
 * Own implementation of the encoder of Hugging Face's Rust `tokenizers` (models/bpe/{model,word}.rs), on integer tables:
 * the JavaScript library's takes 54 MB and 390 ms for SmolLM2's 49,152 tokens, this one 2 MB and 115 ms.
 */
export class BytePairEncoder {
  readonly #vocabulary: Vocabulary;
  readonly #model: BytePairModel;
  /** [256] the symbol of a byte: by the alphabet, or the fallback token; -1 where there is none. */
  readonly #byteIds: Int32Array;
  readonly #joined: ReadonlySet<number> | null;
  readonly #cache = new Map<string, Int32Array>();
  #utf8 = Buffer.alloc(512);
  #symbols = new Int32Array(256);
  #ranks = new Int32Array(SCAN_LIMIT + 1);

  constructor(vocabulary: Vocabulary, model: BytePairModel) {
    this.#vocabulary = vocabulary;
    this.#model = model;
    this.#byteIds = new Int32Array(256).map((_, byte) =>
      vocabulary.idOf(
        model.symbols === "bytes" ? String.fromCharCode(CHARACTER_OF_BYTE[byte]!) : byteToken(byte),
      ),
    );
    this.#joined = model.joinedBeforeSpace && new Set(model.joinedBeforeSpace);
  }

  /** Appends the tokens of one pre-tokenised word. */
  encode(word: string, out: TokenBuffer): void {
    if (this.#joined === null) return this.#encodeWord(word, out);
    // No merge crosses these cuts, so cutting changes no token; it keeps a long text from being one long word.
    let start = 0;
    for (let at = word.indexOf("\u2581", 1); at > 0; at = word.indexOf("\u2581", at + 1)) {
      if (this.#joined.has(codePointBefore(word, at))) continue;
      this.#encodeWord(word.slice(start, at), out);
      start = at;
    }
    this.#encodeWord(start === 0 ? word : word.slice(start), out);
  }

  #encodeWord(word: string, out: TokenBuffer): void {
    if (word.length === 0) return;
    if (word.length > CACHED_LENGTH) {
      const count = this.#merge(word); // may replace #symbols
      return out.append(this.#symbols, count);
    }
    let ids = this.#cache.get(word);
    if (ids === undefined) {
      const count = this.#merge(word);
      ids = this.#symbols.slice(0, count);
      if (this.#cache.size >= CACHED_WORDS) this.#cache.clear();
      this.#cache.set(word, ids);
    }
    out.append(ids);
  }

  /** Leaves the tokens of a word in #symbols and returns their number. */
  #merge(word: string): number {
    checkWordLength(word);
    // At most 3 bytes a unit, and behind them twice as many for #wholeWord.
    const mayBeToken = this.#model.ignoreMerges && word.length <= MAX_TOKEN_BYTES;
    const needed = word.length * (mayBeToken ? 9 : 3);
    if (this.#utf8.length < needed) this.#utf8 = Buffer.alloc(needed);
    const length = this.#utf8.write(word, 0, "utf8");
    if (this.#symbols.length < length) this.#symbols = new Int32Array(length);
    if (mayBeToken) {
      const whole = this.#wholeWord(length);
      if (whole >= 0) {
        this.#symbols[0] = whole;
        return 1;
      }
    }
    const count = this.#model.symbols === "bytes" ? this.#splitBytes(length) : this.#splitCharacters(length);
    return count <= SCAN_LIMIT
      ? this.#mergeByScan(count)
      : mergeByHeap(this.#model.merges, this.#symbols, count);
  }

  #wholeWord(length: number): number {
    if (this.#model.symbols === "characters") return this.#vocabulary.idOfBytes(this.#utf8, 0, length);
    // Write the alphabet's characters behind the word's own bytes: at most two bytes of UTF-8 each.
    let end = length;
    for (let i = 0; i < length; ++i) {
      const character = CHARACTER_OF_BYTE[this.#utf8[i]!]!;
      if (character < 0x80) this.#utf8[end++] = character;
      else {
        this.#utf8[end++] = 0xc0 | (character >> 6);
        this.#utf8[end++] = 0x80 | (character & 0x3f);
      }
    }
    return this.#vocabulary.idOfBytes(this.#utf8, length, end);
  }

  #splitBytes(length: number): number {
    let count = 0;
    let inUnknown = false;
    for (let i = 0; i < length; ++i) {
      const id = this.#byteIds[this.#utf8[i]!]!;
      if (id >= 0) this.#symbols[count++] = id;
      else count = this.#addUnknown(count, inUnknown);
      inUnknown = id < 0;
    }
    return count;
  }

  #splitCharacters(length: number): number {
    const utf8 = this.#utf8;
    let count = 0;
    let inUnknown = false;
    for (let i = 0; i < length;) {
      const lead = utf8[i]!;
      const end = i + (lead < 0x80 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4);
      const id = this.#vocabulary.idOfBytes(utf8, i, end);
      if (id >= 0) {
        this.#symbols[count++] = id;
        inUnknown = false;
      } else if (this.#hasFallback(i, end)) {
        for (let j = i; j < end; ++j) this.#symbols[count++] = this.#byteIds[utf8[j]!]!;
        inUnknown = false;
      } else {
        count = this.#addUnknown(count, inUnknown);
        inUnknown = true;
      }
      i = end;
    }
    return count;
  }

  #hasFallback(start: number, end: number): boolean {
    if (!this.#model.byteFallback) return false;
    for (let i = start; i < end; ++i) if (this.#byteIds[this.#utf8[i]!]! < 0) return false;
    return true;
  }

  #addUnknown(count: number, inUnknown: boolean): number {
    const { unknownId, fuseUnknown } = this.#model;
    if (unknownId < 0 || (inUnknown && fuseUnknown)) return count;
    this.#symbols[count] = unknownId;
    return count + 1;
  }

  /** Quadratic in the number of symbols, and faster than a heap for the few that a word has. */
  #mergeByScan(count: number): number {
    const { merges } = this.#model;
    const symbols = this.#symbols;
    const ranks = this.#ranks;
    const rankAt = (i: number): number => {
      const rank = i + 1 < count ? rankOf(merges, symbols[i]!, symbols[i + 1]!) : -1;
      return rank < 0 ? NO_RANK : rank;
    };
    for (let i = 0; i < count; ++i) ranks[i] = rankAt(i);
    for (;;) {
      let best = NO_RANK;
      let at = 0;
      for (let i = 0; i + 1 < count; ++i) {
        if (ranks[i]! < best) {
          best = ranks[i]!;
          at = i;
        }
      }
      if (best === NO_RANK) return count;
      symbols[at] = merges.result[best]!;
      symbols.copyWithin(at + 1, at + 2, count);
      ranks.copyWithin(at + 1, at + 2, count);
      --count;
      ranks[at] = rankAt(at);
      if (at > 0) ranks[at - 1] = rankAt(at - 1);
    }
  }
}

function codePointBefore(text: string, at: number): number {
  const unit = text.charCodeAt(at - 1);
  return unit >= 0xdc00 && unit <= 0xdfff && at > 1 ? text.codePointAt(at - 2)! : unit;
}
