import { byteToken } from "./byte-alphabet.js";
import type { TokenBuffer } from "./token-buffer.js";
import { unsupported } from "./tokenizer-errors.js";
import { buildTrie, childOf, rootsOf, type Trie } from "./trie.js";
import type { Vocabulary } from "./vocabulary.js";
import { checkWordLength } from "./word-length.js";

/** Most bytes of a token of a Unigram model: the time that a text takes is in proportion to it. */
export const MAX_PIECE_BYTES = 512;
/** Most bytes of all of them. */
const MAX_PIECES_BYTES = 1 << 23;

/** Unigram language model: of all ways to cut a word into tokens the one with the highest sum of scores. */
export interface UnigramModel {
  readonly type: "Unigram";
  /** [size] log-probability of each token. */
  readonly scores: Float64Array;
  /** -1: a character without a token is an error in Hugging Face's library; here it is dropped. */
  readonly unknownId: number;
  readonly byteFallback: boolean;
  /** The tokens that text may become, by their bytes. */
  readonly tokens: Trie;
}

/** What an unknown character costs below the lowest score (kUnkPenalty of SentencePiece). */
const UNKNOWN_PENALTY = 10;

/**
 * The trie of the vocabulary. Throws ERR_TOKENIZER for tokens that are too long.
 * @param hidden ids that text must never become
 */
export function buildPieces(vocabulary: Vocabulary, hidden: ReadonlySet<number>): Trie {
  const last = new Map<string, number>(); // of equal tokens the last one counts
  let bytes = 0;
  for (let id = 0; id < vocabulary.size; ++id) {
    const { length } = vocabulary.utf8Of(id);
    if (length === 0 || hidden.has(id)) continue;
    bytes += length;
    if (length > MAX_PIECE_BYTES || bytes > MAX_PIECES_BYTES)
      throw unsupported(
        `tokens of at most ${MAX_PIECE_BYTES} bytes, ${MAX_PIECES_BYTES} together`,
        "tokenizer.json: model.vocab",
        Math.max(length, bytes),
      );
    last.set(vocabulary.tokenOf(id), id);
  }
  return buildTrie({
    sorted: [...last.values()].sort((a, b) => Buffer.compare(vocabulary.utf8Of(a), vocabulary.utf8Of(b))),
    lengthOf: (id) => vocabulary.utf8Of(id).length,
    unitAt: (id, depth) => vocabulary.utf8Of(id)[depth]!,
  });
}

/** Viterbi over the word's bytes, as `encode_optimized` of Hugging Face's models/unigram/model.rs does it. */
export class UnigramEncoder {
  readonly #vocabulary: Vocabulary;
  readonly #model: UnigramModel;
  readonly #unknownScore: number;
  readonly #roots: Int32Array;

  constructor(vocabulary: Vocabulary, model: UnigramModel) {
    this.#vocabulary = vocabulary;
    this.#model = model;
    let lowest = Infinity;
    for (const score of model.scores) lowest = Math.min(lowest, score);
    this.#unknownScore = lowest - UNKNOWN_PENALTY;
    this.#roots = rootsOf(model.tokens);
  }

  /** Appends the tokens of one pre-tokenised word. */
  encode(word: string, out: TokenBuffer): void {
    checkWordLength(word);
    const text = Buffer.from(word, "utf8");
    const size = text.length;
    const score = new Float64Array(size + 1);
    const from = new Int32Array(size + 1).fill(-1);
    const token = new Int32Array(size + 1);
    const { scores, unknownId, tokens } = this.#model;
    const relax = (start: number, end: number, id: number, gain: number): void => {
      const candidate = score[start]! + gain;
      if (from[end] !== -1 && candidate <= score[end]!) return;
      score[end] = candidate;
      from[end] = start;
      token[end] = id;
    };
    for (let start = 0; start < size;) {
      const lead = text[start]!;
      const next = start + (lead < 0x80 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4);
      let known = false;
      let node = lead < this.#roots.length ? this.#roots[lead]! : 0;
      for (let end = start + 1; node !== 0; ++end) {
        const id = tokens.ends[node]!;
        if (id >= 0) {
          relax(start, end, id, scores[id]!);
          known ||= end === next;
        }
        node = end < size ? childOf(tokens, node, text[end]!) : 0;
      }
      if (!known) relax(start, next, -1, this.#unknownScore);
      start = next;
    }
    this.#backtrack(text, from, token, unknownId, out);
  }

  #backtrack(text: Buffer, from: Int32Array, token: Int32Array, unknownId: number, out: TokenBuffer): void {
    const cuts: number[] = [];
    for (let end = text.length; end > 0; end = from[end]!) cuts.push(end);
    let start = 0;
    for (let i = cuts.length - 1; i >= 0; --i) {
      let end = cuts[i]!;
      if (token[end]! >= 0 && token[end] !== unknownId) {
        out.push(token[end]!);
      } else {
        // Neighbouring unknown characters are one piece.
        while (i > 0 && (token[cuts[i - 1]!]! < 0 || token[cuts[i - 1]!] === unknownId)) end = cuts[--i]!;
        this.#pushUnknown(text, start, end, unknownId, out);
      }
      start = end;
    }
  }

  #pushUnknown(text: Buffer, start: number, end: number, unknownId: number, out: TokenBuffer): void {
    const ids: number[] = [];
    for (let i = start; i < end && this.#model.byteFallback; ++i)
      ids.push(this.#vocabulary.idOf(byteToken(text[i]!)));
    if (ids.length > 0 && ids.every((id) => id >= 0)) out.append(ids);
    else if (unknownId >= 0) out.push(unknownId);
  }
}
