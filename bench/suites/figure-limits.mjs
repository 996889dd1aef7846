// What the machine would allow at most for a figure of random tokens; the others have no limit.
import { BATCH } from "../contenders/protocol.mjs";
import { batchLimit, decodeBytes, decodeLimit, prefillLimit } from "../limits.mjs";
import { middleContext } from "./figures.mjs";

/** The facts with the bytes of an int8 KV cache: 1 for each of bfloat16's 2, and a float32 scale a head. */
const withCache = (facts, kvCache) =>
  kvCache === "int8"
    ? { ...facts, kvBytesPerToken: (facts.kvBytesPerToken / 2) * (1 + 4 / facts.headDim) }
    : facts;

const int8Key = ({ by }) => (by === "avx2" ? "avx2_int8_gop_per_s" : "int8_gop_per_s");
const ofInstructionSet = (asked, ceilings) => ({ ...ceilings, int8_gop_per_s: ceilings[int8Key(asked)] });

/** Bytes of the adapter's A and B; int8 has one for each of bfloat16's two. */
const bytesOf = ({ adapter }, adapterBytes) =>
  !adapter ? 0 : adapter === "int8" ? adapterBytes / 2 : adapterBytes;

/** Tokens a second, or undefined. */
export function limitOf(asked, facts, ceilings, adapterBytes) {
  const bytes = bytesOf(asked, adapterBytes);
  const numbers = asked.adapter ? adapterBytes / 2 : 0;
  if (asked.task === "batch")
    return batchLimit(facts, ceilings, {
      sequences: BATCH,
      context: middleContext(asked),
      adapterBytes: bytes,
      adapterNumbers: numbers,
      distinct: asked.adapter === "shared" ? 1 : BATCH,
    });
  if (asked.task) return undefined;
  if (asked.tokens === 1) return prefillLimit(facts, ofInstructionSet(asked, ceilings), numbers);
  return decodeLimit(withCache(facts, asked.kvCache), ceilings, middleContext(asked), bytes);
}

/** What a figure reads or computes proves that it can be done: no ceiling is lower. */
export function raiseCeilings(ceilings, asked, median, facts, adapterBytes) {
  const limit = limitOf(asked, facts, ceilings, adapterBytes);
  // What bounds a batch is not one ceiling: it raises none.
  if (limit === undefined || median <= limit || asked.task === "batch") return;
  if (asked.tokens === 1) ceilings[int8Key(asked)] *= median / limit;
  else {
    const bytes = decodeBytes(
      withCache(facts, asked.kvCache),
      middleContext(asked),
      bytesOf(asked, adapterBytes),
    );
    ceilings.read_gb_per_s = (median * bytes) / 1e9;
  }
}
