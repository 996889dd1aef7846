// What the hardware allows at most, from bytes and operations. `ceilings` is what lowrank_bench measures on this machine.

/** Multiplications and additions of the int8 products of one token, the head apart. */
export function layerOperations({ hiddenSize, intermediateSize, heads, kvHeads, headDim, layers }) {
  const attention = (2 * heads + 2 * kvHeads) * headDim * hiddenSize; // q, k, v, o
  return 2 * layers * (attention + 3 * hiddenSize * intermediateSize);
}

/** Tokens a second that prefill could reach if nothing but int8 products took time. */
export const prefillLimit = (facts, ceilings) => (ceilings.int8_gop_per_s * 1e9) / layerOperations(facts);

/** Bytes that a token's decoding reads: weights, keys and values so far, and `adapterBytes`. */
export const decodeBytes = (facts, context, adapterBytes = 0) =>
  facts.weightBytes + facts.kvBytesPerToken * context + adapterBytes;

/** Tokens a second that decoding could reach if nothing but reading took time. */
export const decodeLimit = (facts, ceilings, context, adapterBytes = 0) =>
  (ceilings.read_gb_per_s * 1e9) / decodeBytes(facts, context, adapterBytes);
