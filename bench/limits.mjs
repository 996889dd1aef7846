// What the hardware allows at most, from bytes and operations. `ceilings` is what lowrank_bench measures on this machine.

/** Multiplications and additions of the int8 products of one token, the head apart. */
export function layerOperations({ hiddenSize, intermediateSize, heads, kvHeads, headDim, layers }) {
  const attention = (2 * heads + 2 * kvHeads) * headDim * hiddenSize; // q, k, v, o
  return 2 * layers * (attention + 3 * hiddenSize * intermediateSize);
}

/** Tokens a second that prefill could reach if nothing but products took time; an adapter's are in bfloat16, or float32 without it. */
export function prefillLimit(facts, ceilings, adapterNumbers = 0) {
  const floats = ceilings.bf16_gop_per_s ?? ceilings.float_gop_per_s;
  return 1e9 / (layerOperations(facts) / ceilings.int8_gop_per_s + (2 * adapterNumbers) / floats);
}

/** Bytes that a token's decoding reads: weights, keys and values so far, and `adapterBytes`. */
export const decodeBytes = (facts, context, adapterBytes = 0) =>
  facts.weightBytes + facts.kvBytesPerToken * context + adapterBytes;

/**
 * Tokens a second of `sequences` that decode together, each with an adapter of `adapterNumbers` in `adapterBytes`, `distinct` of which
 * are read a step: the longer of reading everything once and of computing it.
 */
export function batchLimit(facts, ceilings, { sequences, context, adapterBytes, adapterNumbers, distinct }) {
  const bytes = facts.weightBytes + sequences * facts.kvBytesPerToken * context + distinct * adapterBytes;
  const head = 2 * facts.vocabularySize * facts.hiddenSize;
  const floats = ceilings.bf16_gop_per_s ?? ceilings.float_gop_per_s;
  const operations = (layerOperations(facts) + head) / ceilings.int8_gop_per_s;
  const seconds = Math.max(
    bytes / ceilings.read_gb_per_s,
    sequences * (operations + (2 * adapterNumbers) / floats),
  );
  return (1e9 * sequences) / seconds;
}

/** Tokens a second that decoding could reach if nothing but reading took time. */
export const decodeLimit = (facts, ceilings, context, adapterBytes = 0) =>
  (ceilings.read_gb_per_s * 1e9) / decodeBytes(facts, context, adapterBytes);
