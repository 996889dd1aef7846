import { markup, type Markup } from "./markup.js";
import { shortNumber, ticks } from "./numbers.js";
import { LINE_COLOURS } from "./style.js";

/** How the lines of variant `i` look; variants beyond the colours are told apart by dashes. */
const lineClass = (i: number): string => `line${i % LINE_COLOURS} dash${Math.floor(i / LINE_COLOURS) % 4}`;

const WIDTH = 736;
/** Coordinates to a tenth of a pixel. */
const at = (value: number): string => value.toFixed(1);
const clipped = (label: string, length: number): string =>
  label.length > length ? `${label.slice(0, length - 1)}…` : label;

export interface DotRow {
  label: string;
  value: number;
  interval: readonly [number, number] | null;
  /** Of the variant: chooses colour and dashes. */
  index: number;
}

/** A dot with its interval for each variant, on one axis that holds `origin`. */
export function dotPlot(title: string, rows: readonly DotRow[], origin: number): Markup {
  const all = rows.flatMap(({ value, interval }) => [value, ...(interval ?? [])]);
  let [low, high] = [Math.min(origin, ...all), Math.max(origin, ...all)];
  const room = (high - low || 1) * 0.04;
  if (low < origin) low -= room;
  high += room;
  const [left, right, line, top] = [200, 90, 26, 8];
  const x = (value: number): number => left + ((value - low) / (high - low)) * (WIDTH - left - right);
  const bottom = top + rows.length * line;
  const axis = ticks(low, high, 5).map(
    (tick) => markup`<line class="axis" x1="${at(x(tick))}" x2="${at(x(tick))}" y1="${top}" y2="${bottom}"/>
<text class="muted" x="${at(x(tick))}" y="${bottom + 16}" text-anchor="middle">${shortNumber(tick)}</text>`,
  );
  const dots = rows.map(({ label, value, interval, index }, i) => {
    const y = top + (i + 0.5) * line;
    const whisker = interval
      ? markup`<line class="whisker line${index % LINE_COLOURS}" x1="${at(x(interval[0]))}" x2="${at(x(interval[1]))}" y1="${at(y)}" y2="${at(y)}"/>`
      : null;
    return markup`<g><title>${label}: ${shortNumber(value)}</title>
<text x="${left - 10}" y="${at(y + 4)}" text-anchor="end">${clipped(label, 28)}</text>${whisker}
<circle class="dot${index % LINE_COLOURS}" cx="${at(x(value))}" cy="${at(y)}" r="4.5"/>
<text x="${at(x(Math.max(value, interval?.[1] ?? value)) + 10)}" y="${at(y + 4)}">${shortNumber(value)}</text></g>`;
  });
  return markup`<svg viewBox="0 0 ${WIDTH} ${bottom + 22}" role="img" aria-label="${title}">${axis}${dots}</svg>`;
}

export interface Line {
  label: string;
  points: readonly (readonly [x: number, y: number])[];
  index: number;
}

export interface LineAxes {
  x: { label: string; low: number; high: number; log: boolean };
  y: { label: string; low: number; high: number; log: boolean };
}

/** A value's place on an axis from 0 to 1; beyond the ends it is the end. */
function place(value: number, { low, high, log }: LineAxes["x"]): number {
  const share = log
    ? (Math.log10(Math.max(value, low)) - Math.log10(low)) / (Math.log10(high) - Math.log10(low))
    : (value - low) / (high - low);
  return Math.min(Math.max(share, 0), 1);
}

/** On a logarithmic axis the powers of ten. */
function axisTicks({ low, high, log }: LineAxes["x"]): number[] {
  if (!log) return ticks(low, high, 5);
  const [first, last] = [Math.ceil(Math.log10(low) - 1e-9), Math.floor(Math.log10(high) + 1e-9)];
  return Array.from({ length: Math.max(0, last - first + 1) }, (_, i) => 10 ** (first + i));
}

export function linePlot(title: string, lines: readonly Line[], axes: LineAxes): Markup {
  const [left, right, top, height] = [56, 12, 8, 180];
  const bottom = top + height;
  const x = (value: number): string => at(left + place(value, axes.x) * (WIDTH - left - right));
  const y = (value: number): string => at(bottom - place(value, axes.y) * height);
  const xAxis = axisTicks(axes.x).map(
    (tick) =>
      markup`<text class="muted" x="${x(tick)}" y="${bottom + 16}" text-anchor="middle">${shortNumber(tick)}</text>`,
  );
  const yAxis = axisTicks(axes.y).map(
    (tick) => markup`<line class="axis" x1="${left}" x2="${WIDTH - right}" y1="${y(tick)}" y2="${y(tick)}"/>
<text class="muted" x="${left - 6}" y="${y(tick)}" dy="4" text-anchor="end">${shortNumber(tick)}</text>`,
  );
  const drawn = lines.map(
    ({ label, points, index }) =>
      markup`<polyline class="${lineClass(index)}" points="${points.map(([px, py]) => `${x(px)},${y(py)}`).join(" ")}"><title>${label}</title></polyline>`,
  );
  const keys = lines.map(({ label, index }, i) => {
    const [kx, ky] = [left + (i % 3) * 230, bottom + 50 + Math.floor(i / 3) * 18];
    return markup`<polyline class="${lineClass(index)}" points="${kx},${ky - 4} ${kx + 28},${ky - 4}"/><text x="${kx + 34}" y="${ky}">${clipped(label, 26)}</text>`;
  });
  const end = bottom + 38 + 18 * Math.ceil(lines.length / 3) + 4;
  return markup`<svg viewBox="0 0 ${WIDTH} ${end}" role="img" aria-label="${title}">${yAxis}${xAxis}
<text class="muted" x="${left}" y="${bottom + 32}">${axes.x.label}; upwards: ${axes.y.label}</text>${drawn}${keys}</svg>`;
}
