/** Three significant digits, two where it is tiny or huge: "0.0123", "1.2e-7", "1e-4", "0". */
export function shortNumber(value: number): string {
  if (value === 0 || !Number.isFinite(value)) return String(value);
  return Math.abs(value) < 1e-4 || Math.abs(value) >= 1e5
    ? value.toExponential(1).replace(".0e", "e")
    : String(Number(value.toPrecision(3)));
}

/** "97.5 %" */
export const percent = (share: number): string => `${(100 * share).toFixed(1)} %`;

/** Round numbers from low to high, about `count` of them. */
export function ticks(low: number, high: number, count: number): number[] {
  if (!(high > low)) return [low];
  const raw = (high - low) / count;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((one) => one >= raw)!;
  const out: number[] = [];
  for (let i = Math.ceil(low / step); i * step <= high * (1 + 1e-9); i++) out.push(i * step);
  return out;
}
