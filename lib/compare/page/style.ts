/** First bounds of the steps of colour: KL in nats; differences of log-probabilities, either way. */
export const KL_STEPS = [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3];
export const DIFFERENCE_STEPS = [0.1, 0.3, 1, 3];
/** Lines have so many colours, then the same ones with dashes. */
export const LINE_COLOURS = 6;

interface Theme {
  background: string;
  text: string;
  muted: string;
  rule: string;
  /** Strongest tints behind text, which keep 4.5 : 1 to it (WCAG 2.2, 1.4.3). */
  warm: string;
  cool: string;
  /** 3 : 1 to the background (WCAG 2.2, 1.4.11); told apart in the common kinds of colour blindness, after Okabe and Ito. */
  lines: string[];
}

const LIGHT: Theme = {
  background: "#ffffff",
  text: "#1b1d1f",
  muted: "#5b6167",
  rule: "#d5d9dd",
  warm: "#f29a38",
  cool: "#7fb8ee",
  lines: ["#0072b2", "#d55e00", "#007a59", "#a3437e", "#5b4fc4", "#8a6100"],
};
const DARK: Theme = {
  background: "#15181b",
  text: "#eceef0",
  muted: "#a3abb3",
  rule: "#3a4046",
  warm: "#8a4400",
  cool: "#1c5a94",
  lines: ["#56b4e9", "#ff9d5c", "#3ccf9f", "#e49ac3", "#a79bff", "#e6c200"],
};

/** A share of colour `b` on colour `a`, both "#rrggbb". */
function mix(a: string, b: string, share: number): string {
  const channel = (at: number): string => {
    const [from, to] = [parseInt(a.slice(at, at + 2), 16), parseInt(b.slice(at, at + 2), 16)];
    return Math.round(from + share * (to - from))
      .toString(16)
      .padStart(2, "0");
  };
  return `#${channel(1)}${channel(3)}${channel(5)}`;
}

function colours(theme: Theme): string {
  const { background, text, muted, rule, warm, cool, lines } = theme;
  const tint = (name: string, steps: number, colour: string): string[] =>
    Array.from(
      { length: steps },
      (_, i) => `.${name}${i + 1}{background:${mix(background, colour, (i + 1) / steps)}}`,
    );
  return [
    `:root{--background:${background};--text:${text};--muted:${muted};--rule:${rule}}`,
    ...tint("k", KL_STEPS.length, warm),
    ...tint("less", DIFFERENCE_STEPS.length, warm),
    ...tint("more", DIFFERENCE_STEPS.length, cool),
    ...lines.map((colour, i) => `.line${i}{stroke:${colour};color:${colour}}.dot${i}{fill:${colour}}`),
  ].join("\n");
}

export const STYLE = `:root{color-scheme:light dark}
${colours(LIGHT)}
@media (prefers-color-scheme:dark){
${colours(DARK)}
}
body{margin:0;background:var(--background);color:var(--text);font:16px/1.5 system-ui,sans-serif}
main{max-width:64rem;margin:0 auto;padding:1.5rem 1rem 4rem}
h1{font-size:1.6rem}h2{font-size:1.25rem;margin-top:2.5rem}h3{font-size:1.05rem;margin:2rem 0 .5rem}h4{margin:1rem 0 .25rem;font-size:.95rem}
p.note,caption,figcaption{color:var(--muted);font-size:.875rem;text-align:left}
table{border-collapse:collapse;font-variant-numeric:tabular-nums}
.wide{overflow-x:auto}
th,td{padding:.25rem .75rem .25rem 0;text-align:right;border-bottom:1px solid var(--rule);white-space:nowrap}
th:first-child,td:first-child,td.text{text-align:left;white-space:pre-wrap;overflow-wrap:anywhere}
td small{color:var(--muted);display:block}
figure{margin:1rem 0}
svg{width:100%;max-width:46rem;height:auto;font:12px system-ui,sans-serif}
svg text{fill:var(--text);stroke:none}svg .axis{stroke:var(--rule);fill:none}svg .muted{fill:var(--muted)}
svg polyline{fill:none;stroke-width:1.75}svg .whisker{stroke-width:2}
.dash1{stroke-dasharray:6 3}.dash2{stroke-dasharray:2 3}.dash3{stroke-dasharray:8 3 2 3}
pre,.strip{white-space:pre-wrap;overflow-wrap:anywhere;font:14px/1.7 ui-monospace,monospace;margin:.25rem 0;padding:.5rem;border:1px solid var(--rule);border-radius:4px}
.strip span{border-radius:2px}.strip .other{text-decoration:underline dotted 2px;text-underline-offset:3px}
.legend span{padding:0 .5rem;font-size:.8rem}
summary{cursor:pointer}`;
