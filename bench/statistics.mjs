/** A figure of repeated measurements: median, least and largest. */
export function figure(name, unit, values, extra = {}) {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const median = sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
  return { name, unit, median, min: sorted[0], max: sorted.at(-1), ...extra };
}
