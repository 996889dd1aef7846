// What the machine would allow at most for a figure that is one request by random tokens; the others have no limit.
import { decodeBytes, decodeLimit, prefillLimit } from "../limits.mjs";
import { middleContext } from "./figures.mjs";

/** The facts with the bytes of an int8 KV cache: 1 for each of bfloat16's 2, and a float32 scale a head. */
const withCache = (facts, kvCache) =>
  kvCache === "int8"
    ? { ...facts, kvBytesPerToken: (facts.kvBytesPerToken / 2) * (1 + 4 / facts.headDim) }
    : facts;

const int8Key = ({ by }) => (by === "avx2" ? "avx2_int8_gop_per_s" : "int8_gop_per_s");
const ofInstructionSet = (asked, ceilings) => ({ ...ceilings, int8_gop_per_s: ceilings[int8Key(asked)] });

/** Tokens a second, or undefined. */
export function limitOf(asked, facts, ceilings, adapterBytes) {
  if (asked.task) return undefined;
  const bytes = asked.adapter ? adapterBytes : 0;
  if (asked.tokens === 1) return prefillLimit(facts, ofInstructionSet(asked, ceilings), bytes);
  return decodeLimit(withCache(facts, asked.kvCache), ceilings, middleContext(asked), bytes);
}

/** What a figure reads or computes proves that it can be done: no ceiling is lower. */
export function raiseCeilings(ceilings, asked, median, facts, adapterBytes) {
  const limit = limitOf(asked, facts, ceilings, adapterBytes);
  if (limit === undefined || median <= limit) return;
  if (asked.tokens === 1) ceilings[int8Key(asked)] *= median / limit;
  else {
    const bytes = decodeBytes(
      withCache(facts, asked.kvCache),
      middleContext(asked),
      asked.adapter ? adapterBytes : 0,
    );
    ceilings.read_gb_per_s = (median * bytes) / 1e9;
  }
}
