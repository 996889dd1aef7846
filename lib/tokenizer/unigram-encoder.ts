import type { TokenBuffer } from "./token-buffer.js";
import { hashBytes, type Vocabulary } from "./vocabulary.js";
import { checkWordLength } from "./word-length.js";

/** Unigram language model: of all ways to cut a word into tokens the one with the highest sum of scores. */
export interface UnigramModel {
  readonly type: "Unigram";
  /** [size] log-probability of each token. */
  readonly scores: Float64Array;
  /** -1: a character without a token is an error in Hugging Face's library; here it is dropped. */
  readonly unknownId: number;
  readonly byteFallback: boolean;
  /** Bytes of the longest token. */
  readonly longest: number;
}

/** Most bytes of a token of a Unigram model: the time that a text takes is in proportion to it. */
export const MAX_PIECE_BYTES = 512;
/** What an unknown character costs below the lowest score (kUnkPenalty of SentencePiece). */
const UNKNOWN_PENALTY = 10;

/** Viterbi over the word's bytes, as `encode_optimized` of Hugging Face's models/unigram/model.rs does it. */
export class UnigramEncoder {
  readonly #vocabulary: Vocabulary;
  readonly #model: UnigramModel;
  readonly #unknownScore: number;

  constructor(vocabulary: Vocabulary, model: UnigramModel) {
    this.#vocabulary = vocabulary;
    this.#model = model;
    let lowest = Infinity;
    for (const score of model.scores) lowest = Math.min(lowest, score);
    this.#unknownScore = lowest - UNKNOWN_PENALTY;
  }

  /** Appends the tokens of one pre-tokenised word. */
  encode(word: string, out: TokenBuffer): void {
    checkWordLength(word);
    const text = Buffer.from(word, "utf8");
    const size = text.length;
    const score = new Float64Array(size + 1);
    const from = new Int32Array(size + 1).fill(-1);
    const token = new Int32Array(size + 1);
    const { scores, unknownId, longest } = this.#model;
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
      const limit = Math.min(size, start + longest);
      let known = false;
      let hash = hashBytes(text, start, start);
      for (let end = start + 1; end <= limit; ++end) {
        hash = hashBytes(text, end - 1, end, hash);
        const id = this.#vocabulary.idOfBytes(text, start, end, hash);
        if (id < 0) continue;
        relax(start, end, id, scores[id]!);
        known ||= end === next;
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
      ids.push(this.#vocabulary.idOf(`<0x${text[i]!.toString(16).toUpperCase().padStart(2, "0")}>`));
    if (ids.length > 0 && ids.every((id) => id >= 0)) out.append(ids);
    else if (unknownId >= 0) out.push(unknownId);
  }
}
