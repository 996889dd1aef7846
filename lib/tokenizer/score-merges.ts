import { MAX_MERGES, MergeTableBuilder, type MergeTables } from "./merge-table.js";
import { hashBytes, type Vocabulary } from "./vocabulary.js";
import { damaged, unsupported } from "./tokenizer-errors.js";
import { MAX_PIECE_BYTES } from "./unigram-encoder.js";

interface Merge {
  left: number;
  right: number;
  result: number;
  leftCharacters: number;
  rightCharacters: number;
}

/**
 * Merge rules of a SentencePiece BPE vocabulary, which has scores instead: each way to cut a token into two tokens is a rule; the
 * higher the token's score the earlier, then the longer the left part. Source: `generate_merges` of transformers'
 * convert_slow_tokenizer.py, which made the tokenizer.json of the Llama 2 and Gemma families.
 * @param scores [size] score of each token
 * @param mergeable [size] 1 where text may be merged into this token
 */
export function mergesFromScores(
  vocabulary: Vocabulary,
  scores: Float64Array,
  mergeable: Uint8Array,
): MergeTables {
  const ids: number[] = [];
  for (let id = 0; id < vocabulary.size; ++id) if (mergeable[id] === 1) ids.push(id);
  ids.sort((a, b) => scores[b]! - scores[a]! || a - b);
  const builder = new MergeTableBuilder();
  let tied: Merge[] = [];
  const flush = (): void => {
    tied.sort((a, b) => b.leftCharacters - a.leftCharacters || b.rightCharacters - a.rightCharacters);
    for (const { left, right, result } of tied) builder.add(left, right, result);
    if (builder.count > MAX_MERGES)
      throw damaged(`at most ${MAX_MERGES} merges`, "tokenizer.ggml.scores", builder.count);
    tied = [];
  };
  for (let i = 0; i < ids.length; ++i) {
    if (i > 0 && scores[ids[i]!] !== scores[ids[i - 1]!]) flush();
    collectCuts(vocabulary, ids[i]!, tied);
    if (builder.count + tied.length > MAX_MERGES) flush();
  }
  flush();
  return builder.build();
}

function collectCuts(vocabulary: Vocabulary, id: number, merges: Merge[]): void {
  const bytes = vocabulary.utf8Of(id);
  if (bytes.length > MAX_PIECE_BYTES)
    throw unsupported(`tokens of at most ${MAX_PIECE_BYTES} bytes`, "tokenizer.ggml.tokens", bytes.length);
  let hash = hashBytes(bytes, 0, 0);
  let characters = 0;
  const first = merges.length;
  for (let cut = 1; cut < bytes.length; ++cut) {
    hash = hashBytes(bytes, cut - 1, cut, hash);
    if ((bytes[cut]! & 0xc0) === 0x80) continue; // inside a character
    ++characters;
    const left = vocabulary.idOfBytes(bytes, 0, cut, hash);
    if (left < 0) continue;
    const right = vocabulary.idOfBytes(bytes, cut, bytes.length);
    if (right >= 0)
      merges.push({ left, right, result: id, leftCharacters: characters, rightCharacters: -characters });
  }
  // `characters` is now one less than the token's length.
  for (let i = first; i < merges.length; ++i) merges[i]!.rightCharacters += characters + 1;
}
