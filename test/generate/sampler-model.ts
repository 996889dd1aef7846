/** A plain model of the native sampler, written from its description: full sorts, no shortcuts. */

const MASK = 0xffffffffn;

/** Philox4x32-10 (Salmon et al., 2011). */
export function philox4x32(counter: readonly bigint[], key: readonly bigint[]): bigint[] {
  let [c0, c1, c2, c3] = counter as [bigint, bigint, bigint, bigint];
  let [k0, k1] = key as [bigint, bigint];
  for (let round = 0; round < 10; round++) {
    const a = 0xd2511f53n * c0;
    const b = 0xcd9e8d57n * c2;
    [c0, c1, c2, c3] = [(b >> 32n) ^ c1 ^ k0, b & MASK, (a >> 32n) ^ c3 ^ k1, a & MASK];
    k0 = (k0 + 0x9e3779b9n) & MASK;
    k1 = (k1 + 0xbb67ae85n) & MASK;
  }
  return [c0, c1, c2, c3];
}

/** Uniform in [0, 1): the one draw of the token at `position`. */
export function uniformDraw(seed: bigint, position: number): number {
  const words = philox4x32(
    [BigInt(position) & MASK, BigInt(position) >> 32n, 0n, 0n],
    [seed & MASK, seed >> 32n],
  );
  return Number(((words[1]! << 32n) | words[0]!) >> 11n) * 2 ** -53;
}

export interface ModelledOptions {
  temperature?: number;
  topK?: number;
  topP?: number;
  minP?: number;
  repetitionPenalty?: number;
  presencePenalty?: number;
  frequencyPenalty?: number;
  logitBias?: Record<number, number>;
}

/** Logits after penalties and bias, in float32 as the engine has them. */
export function adjustedLogits(
  logits: Float32Array,
  options: ModelledOptions,
  prompt: readonly number[],
  generated: readonly number[],
): Float32Array {
  const adjusted = Float32Array.from(logits);
  const penalty = Math.fround(options.repetitionPenalty ?? 1);
  for (const id of new Set([...prompt, ...generated]))
    adjusted[id] = adjusted[id]! > 0 ? adjusted[id]! / penalty : adjusted[id]! * penalty;
  const presence = Math.fround(options.presencePenalty ?? 0);
  const frequency = Math.fround(options.frequencyPenalty ?? 0);
  for (const id of new Set(generated)) {
    const count = generated.filter((other) => other === id).length;
    adjusted[id] = adjusted[id]! - Math.fround(presence + Math.fround(frequency * count));
  }
  for (const [id, bias] of Object.entries(options.logitBias ?? {}))
    adjusted[Number(id)]! += Math.fround(bias);
  return adjusted;
}

/** The token that the sampler should take from a row of adjusted logits. */
export function modelledToken(
  logits: Float32Array,
  options: ModelledOptions,
  seed: bigint,
  position: number,
): number {
  let candidates = Array.from(logits, (logit, id) => ({ logit, id, weight: 0 }));
  candidates.sort((a, b) => b.logit - a.logit || a.id - b.id);
  const { temperature = 0, topK = 0, topP = 1, minP = 0 } = options;
  if (temperature === 0) return candidates[0]!.id;
  if (topK > 0) candidates = candidates.slice(0, topK);
  const peak = candidates[0]!.logit;
  for (const one of candidates)
    one.weight = Math.fround(Math.exp((one.logit - peak) / Math.fround(temperature)));
  const sum = (): number => candidates.reduce((total, { weight }) => total + weight, 0);
  if (topP < 1) {
    const wanted = Math.fround(topP) * sum();
    let kept = 0;
    const end = candidates.findIndex(({ weight }) => (kept += weight) >= wanted);
    candidates = candidates.slice(0, end + 1);
  }
  candidates = candidates.filter(({ weight }) => weight >= Math.fround(minP));
  let target = uniformDraw(seed, position) * sum();
  for (const { weight, id } of candidates) {
    target -= weight;
    if (target < 0) return id;
  }
  return candidates.at(-1)!.id;
}
