export function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/** A figure of repeated measurements: median, least and largest. */
export const figure = (name, unit, values, extra = {}) => ({
  name,
  unit,
  median: median(values),
  min: Math.min(...values),
  max: Math.max(...values),
  ...extra,
});

// Student's t: 97.5 % of the distribution with 1, 2, … degrees of freedom lie below.
const T_975 = [
  12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.16, 2.145, 2.131,
  2.12, 2.11, 2.101, 2.093, 2.086,
];

/**
 * The geometric mean of a ratio and its 95 % interval, from independent logarithms of it, two at least: Student's t on
 * those. From 21 on the t of 20 degrees of freedom is used, which is a little too wide.
 */
export function meanRatio(logarithms) {
  const n = logarithms.length;
  const mean = logarithms.reduce((sum, value) => sum + value, 0) / n;
  const variance = logarithms.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (n - 1);
  const half = T_975[Math.min(n - 1, T_975.length) - 1] * Math.sqrt(variance / n);
  return { ratio: Math.exp(mean), low: Math.exp(mean - half), high: Math.exp(mean + half) };
}

/** The same with the median for the mean. */
export function ratioInterval(logarithms) {
  const { low, high } = meanRatio(logarithms);
  return { median: Math.exp(median(logarithms)), low, high };
}
