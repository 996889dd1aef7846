import type { BytePairModel } from "./byte-pair-encoder.js";
import { isObject, type JsonObject, own, ownFlag } from "./json.js";
import { MAX_MERGES, MergeTableBuilder, type MergeTables } from "./merge-table.js";
import { checkTokenId, type WordLevelModel } from "./tokenizer-definition.js";
import { damaged, unsupported } from "./tokenizer-errors.js";
import { buildPieces, type UnigramModel } from "./unigram-encoder.js";
import { MAX_TOKEN_BYTES, MAX_VOCABULARY, Vocabulary } from "./vocabulary.js";
import { joinedBeforeSpace } from "./word-cuts.js";

/** Tokens by id; holes stay undefined. BPE and WordLevel map tokens to ids, Unigram lists [token, score]. */
export function readVocabulary(model: JsonObject): (string | undefined)[] {
  const vocab = own(model, "vocab");
  const tokens: (string | undefined)[] = [];
  const put = (token: unknown, id: unknown): void => {
    if (typeof id !== "number" || !Number.isInteger(id) || id < 0 || id >= MAX_VOCABULARY)
      throw damaged(`an id of 0 to ${MAX_VOCABULARY - 1}`, "tokenizer.json: model.vocab", id);
    if (tokens[id] !== undefined) throw damaged("one token an id", "tokenizer.json: model.vocab", id);
    if (typeof token !== "string" || token.length > MAX_TOKEN_BYTES)
      throw damaged(`a string of at most ${MAX_TOKEN_BYTES} bytes`, "tokenizer.json: model.vocab", token);
    tokens[id] = token;
  };
  if (Array.isArray(vocab)) {
    if (vocab.length > MAX_VOCABULARY)
      throw damaged(`at most ${MAX_VOCABULARY} tokens`, "tokenizer.json: model.vocab", vocab.length);
    vocab.forEach((entry: unknown, id) => put(Array.isArray(entry) ? entry[0] : entry, id));
  } else if (isObject(vocab)) {
    for (const token of Object.keys(vocab)) put(token, vocab[token]);
  } else {
    throw damaged("an object or a list", "tokenizer.json: model.vocab", vocab);
  }
  if (tokens.length === 0) throw damaged("at least one token", "tokenizer.json: model.vocab", undefined);
  return tokens;
}

/** Reads `model` of a tokenizer.json. `find` gives the id of any token, also of control tokens, or -1. */
export function readModel(
  model: JsonObject,
  vocabulary: Vocabulary,
  find: (token: string) => number,
  hidden: ReadonlySet<number>,
  byteLevel: boolean,
): BytePairModel | UnigramModel | WordLevelModel {
  const vocab = own(model, "vocab");
  const unknown = own(model, "unk_token");
  if (unknown !== undefined && unknown !== null && typeof unknown !== "string")
    throw damaged("a string", "tokenizer.json: model.unk_token", unknown);
  const flag = (key: string): boolean =>
    own(model, key) !== null && ownFlag(model, key, false, "tokenizer.json: model");
  const unknownId = typeof unknown === "string" ? find(unknown) : -1;
  const type =
    own(model, "type") ??
    (Array.isArray(vocab) ? "Unigram" : own(model, "merges") !== undefined ? "BPE" : undefined);
  switch (type) {
    case "WordLevel":
      if (unknownId < 0) throw damaged("a token", "tokenizer.json: model.unk_token", unknown);
      return { type: "WordLevel", unknownId };
    case "Unigram":
      return readUnigram(model, vocab, vocabulary, hidden);
    case "BPE": {
      for (const key of ["continuing_subword_prefix", "end_of_word_suffix", "dropout"])
        if (own(model, key)) throw unsupported("nothing", `tokenizer.json: model.${key}`, own(model, key));
      const merges = readMerges(own(model, "merges"), vocabulary, find, hidden);
      return {
        type: "BPE",
        merges,
        symbols: byteLevel ? "bytes" : "characters",
        byteFallback: flag("byte_fallback"),
        fuseUnknown: flag("fuse_unk"),
        ignoreMerges: flag("ignore_merges"),
        unknownId,
        // ignore_merges looks at whole words, which must then be left whole.
        joinedBeforeSpace: byteLevel || flag("ignore_merges") ? null : joinedBeforeSpace(vocabulary, merges),
      };
    }
    default:
      throw unsupported("BPE, Unigram or WordLevel", "tokenizer.json: model.type", type);
  }
}

function readUnigram(
  model: JsonObject,
  vocab: unknown,
  vocabulary: Vocabulary,
  hidden: ReadonlySet<number>,
): UnigramModel {
  if (!Array.isArray(vocab)) throw damaged("a list of [token, score]", "tokenizer.json: model.vocab", vocab);
  const scores = new Float64Array(new SharedArrayBuffer(vocabulary.size * 8));
  for (let id = 0; id < vocab.length; ++id) {
    const score: unknown = (vocab[id] as unknown[])[1];
    if (typeof score !== "number" || !Number.isFinite(score))
      throw damaged("a number", `tokenizer.json: score of token ${id}`, score);
    scores[id] = score;
  }
  const unknown = own(model, "unk_id");
  return {
    type: "Unigram",
    scores,
    unknownId:
      unknown === undefined || unknown === null
        ? -1
        : checkTokenId(unknown, vocabulary.size, "tokenizer.json: model.unk_id"),
    byteFallback: ownFlag(model, "byte_fallback", false, "tokenizer.json: model"),
    tokens: buildPieces(vocabulary, hidden),
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
    throw damaged(
      `a list of at most ${MAX_MERGES} pairs`,
      "tokenizer.json: model.merges",
      Array.isArray(merges) ? merges.length : merges,
    );
  const builder = new MergeTableBuilder();
  merges.forEach((entry: unknown, rank) => {
    const pair: unknown[] = typeof entry === "string" ? entry.split(" ") : Array.isArray(entry) ? entry : [];
    const [left, right] = pair;
    if (pair.length !== 2 || typeof left !== "string" || typeof right !== "string")
      throw damaged("a pair of tokens", `tokenizer.json: model.merges[${rank}]`, entry);
    const ids = [left, right, left + right].map((token) => vocabulary.idOf(token));
    if (ids.every((id) => id >= 0)) return builder.add(ids[0]!, ids[1]!, ids[2]!);
    if (![left, right, left + right].some((token) => hidden.has(find(token))))
      throw damaged("tokens of the vocabulary", `tokenizer.json: model.merges[${rank}]`, entry);
  });
  return builder.build();
}
