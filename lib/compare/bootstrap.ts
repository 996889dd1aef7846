import { normalCdf, normalQuantile } from "./normal.js";
import { Random } from "./random.js";
import { Slices } from "../client/index.js";

export interface BootstrapOptions {
  /** Level of the interval, between 0 and 1. */
  confidence: number;
  resamples: number;
  seed: number;
  signal: AbortSignal | undefined;
}

/** Lower and upper bound. */
export type Interval = [low: number, high: number];

/**
 * Intervals of means per token over prompts: statistic k is the sum of sums[k] by the sum of counts, over prompts. Prompts, not tokens,
 * are drawn with replacement, since tokens of one text are no independent sample; each draw serves all statistics, so that
 * their intervals are paired. BCa: bias-corrected and accelerated (Efron, "Better Bootstrap Confidence Intervals", JASA 82, 1987), with
 * the acceleration by the jackknife (Efron and Tibshirani, An Introduction to the Bootstrap, 1993, eq. 14.15). Null for fewer than two
 * prompts, which say nothing of others.
 */
export async function bootstrapMeans(
  sums: readonly Float64Array[],
  counts: Float64Array,
  options: BootstrapOptions,
): Promise<(Interval | null)[]> {
  const prompts = counts.length;
  if (prompts < 2) return sums.map(() => null);
  const { resamples, signal } = options;
  const random = new Random(options.seed);
  const replicates = sums.map(() => new Float64Array(resamples));
  const drawn = new Int32Array(prompts);
  const slices = new Slices(signal, "The comparison");
  for (let resample = 0; resample < resamples; resample++) {
    let tokens = 0;
    for (let i = 0; i < prompts; i++) {
      drawn[i] = random.below(prompts);
      tokens += counts[drawn[i]!]!;
    }
    for (const [k, values] of sums.entries()) {
      let sum = 0;
      for (let i = 0; i < prompts; i++) sum += values[drawn[i]!]!;
      replicates[k]![resample] = sum / tokens;
    }
    await slices.pause();
  }
  const intervals: Interval[] = [];
  for (const [k, values] of sums.entries()) {
    intervals.push(bcaInterval(replicates[k]!.sort(), values, counts, options.confidence));
    await slices.pause();
  }
  return intervals;
}

const total = (values: Float64Array): number => values.reduce((sum, value) => sum + value, 0);

/** `replicates` ascending. */
function bcaInterval(
  replicates: Float64Array,
  sums: Float64Array,
  counts: Float64Array,
  confidence: number,
): Interval {
  const estimate = total(sums) / total(counts);
  const bias = normalQuantile(shareBelow(replicates, estimate));
  const acceleration = jackknifeAcceleration(sums, counts);
  const bound = (level: number): number => {
    const shifted = bias + normalQuantile(level);
    const scale = 1 - acceleration * shifted;
    // Beyond the pole of the transformation lies the end of the distribution.
    if (scale <= 0) return quantile(replicates, shifted > 0 ? 1 : 0);
    return quantile(replicates, normalCdf(bias + shifted / scale));
  };
  return [bound((1 - confidence) / 2), bound((1 + confidence) / 2)];
}

/** Share of values below `estimate`, equal ones counted half, and neither none nor all. */
function shareBelow(values: Float64Array, estimate: number): number {
  let below = 0;
  for (const value of values) below += value < estimate ? 1 : value === estimate ? 0.5 : 0;
  return Math.min(Math.max(below, 0.5), values.length - 0.5) / values.length;
}

function jackknifeAcceleration(sums: Float64Array, counts: Float64Array): number {
  const [sum, tokens] = [total(sums), total(counts)];
  const without = sums.map((value, i) => (sum - value) / (tokens - counts[i]!));
  const mean = total(without) / without.length;
  let squares = 0;
  let cubes = 0;
  for (const value of without) {
    squares += (mean - value) ** 2;
    cubes += (mean - value) ** 3;
  }
  return squares > 0 ? cubes / (6 * squares ** 1.5) : 0;
}

/** By linear interpolation between neighbours (type 7 of Hyndman and Fan, 1996). `values` ascending, not empty. */
export function quantile(values: Float64Array, level: number): number {
  const at = level * (values.length - 1);
  const below = values[Math.floor(at)]!;
  return below + (at - Math.floor(at)) * (values[Math.ceil(at)]! - below);
}
