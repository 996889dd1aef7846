import { createHash } from "node:crypto";
import { quantile } from "../bootstrap.js";
import {
  scaleText,
  type ComparedVariant,
  type ComparisonData,
  type Estimate,
  type VariantSummary,
} from "../result.js";
import { dotPlot, linePlot, type DotRow, type Line } from "./charts.js";
import { Markup, markup } from "./markup.js";
import { percent, shortNumber } from "./numbers.js";
import { promptSection } from "./prompt-section.js";
import { DIFFERENCE_STEPS, KL_STEPS, STYLE } from "./style.js";

// No script runs, nothing is fetched, and no style but this one applies, whatever a text holds.
const POLICY =
  `default-src 'none'; style-src 'sha256-${createHash("sha256").update(STYLE).digest("base64")}'; ` +
  "base-uri 'none'; form-action 'none'";

const KL_FLOOR = 1e-6;

/** A report of a comparison as one HTML page: text, tables and SVG. */
export function comparisonPage(data: ComparisonData): string {
  const tokens = data.prompts.reduce((sum, prompt) => sum + prompt.tokens.length, 0);
  const { name, precision, instructionSet } = data.model;
  const reference = data.variants[data.reference]!.label;
  return markup`<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="${POLICY}">
<meta name="viewport" content="width=device-width,initial-scale=1">
<title>Comparison: ${name}</title>
<style>${new Markup(STYLE)}</style></head>
<body><main>
<h1>${data.variants.length} variants of ${name}</h1>
<p>${data.prompts.length} prompts, ${tokens} tokens; ${precision} on ${instructionSet}. Reference: <strong>${reference}</strong>.</p>
${summaryTable(data)}
${plots(data)}
<h2>Prompts</h2>
<p class="note legend">KL in nats from: ${KL_STEPS.map((step, i) => markup`<span class="k${i + 1}">${step}</span>`)}</p>
<p class="note legend">less likely than under the reference, by: ${DIFFERENCE_STEPS.map((step, i) => markup`<span class="less${i + 1}">${step}</span>`)}
more likely, by: ${DIFFERENCE_STEPS.map((step, i) => markup`<span class="more${i + 1}">${step}</span>`)}
<span>underlined: another token is the most likely one</span></p>
${data.prompts.map((prompt, i) => promptSection(prompt, i, data))}
</main></body></html>
`.text;
}

function estimated({ value, interval }: Estimate, written = shortNumber): Markup {
  const bounds = interval && markup`<small>${written(interval[0])} … ${written(interval[1])}</small>`;
  return markup`<td>${written(value)}${bounds}</td>`;
}

function adaptersOf({ adapters }: ComparedVariant): string {
  if (adapters.length === 0) return "no adapter";
  return adapters
    .map(
      ({ name, scale, generation, precision, contentHash }) =>
        `${name} × ${scaleText(scale)}, generation ${generation}, ${precision}, ${contentHash.slice(0, 12)}`,
    )
    .join("; ");
}

function summaryTable({ summary, variants, bootstrap, reference }: ComparisonData): Markup {
  const rows = summary.map(
    (one, i) =>
      markup`<tr><td>${one.label}${i === reference ? " (reference)" : ""}<small>${adaptersOf(variants[i]!)}</small></td>${estimated(
        one.meanKl,
      )}${estimated(one.meanLogprobDifference)}${estimated(one.top1Agreement, percent)}<td>${shortNumber(
        one.perplexity,
      )}</td>${estimated(one.perplexityRatio)}</tr>`,
  );
  const { method, confidence, resamples, seed } = bootstrap;
  const how = summary[0]!.meanKl.interval
    ? `Below each figure its ${shortNumber(100 * confidence)} % interval by the paired bootstrap over prompts (${method}, ${resamples} resamples, seed ${seed}).`
    : "Intervals need two prompts at least.";
  return markup`<div class="wide"><table><caption>Means over tokens. ${how}</caption>
<thead><tr><th scope="col">variant</th><th scope="col">KL, nats</th><th scope="col">log-probability difference</th><th scope="col">top-1 agreement</th><th scope="col">perplexity</th><th scope="col">perplexity ratio</th></tr></thead>
<tbody>${rows}</tbody></table></div>`;
}

/** KL of all tokens under a variant, ascending. */
const sortedKl = (data: ComparisonData, variant: number): Float64Array =>
  Float64Array.from(
    data.prompts.flatMap(({ tokens }) => tokens.map(({ perVariant }) => perVariant[variant]!.kl)),
  ).sort();

function plots(data: ComparisonData): Markup {
  const others = data.summary
    .map((one, index) => ({ one, index }))
    .filter(({ index }) => index !== data.reference);
  const dots = (of: (summary: VariantSummary) => Estimate): DotRow[] =>
    others.map(({ one, index }) => ({ label: one.label, index, ...of(one) }));
  const shares = Array.from({ length: 101 }, (_, i) => i / 100);
  const lines = others.map(({ one, index }): Line => {
    const sorted = sortedKl(data, index);
    return { label: one.label, index, points: shares.map((share) => [share, quantile(sorted, share)]) };
  });
  const highest = Math.max(1, ...lines.map(({ points }) => points.at(-1)![1]));
  return markup`<h2>Against the reference</h2>
<figure><figcaption>Mean KL divergence from the reference, nats</figcaption>${dotPlot(
    "Mean KL",
    dots((one) => one.meanKl),
    0,
  )}</figure>
<figure><figcaption>Mean difference of the tokens’ log-probabilities: right of 0 the variant finds the texts more likely</figcaption>${dotPlot(
    "Mean log-probability difference",
    dots((one) => one.meanLogprobDifference),
    0,
  )}</figure>
<figure><figcaption>Share of positions with the reference’s most likely token</figcaption>${dotPlot(
    "Top-1 agreement",
    dots((one) => one.top1Agreement),
    1,
  )}</figure>
<figure><figcaption>KL of the tokens, from the least to the most</figcaption>${linePlot(
    "Quantiles of KL",
    lines,
    {
      x: { label: "share of tokens", low: 0, high: 1, log: false },
      y: { label: "KL, nats, at most", low: KL_FLOOR, high: highest, log: true },
    },
  )}</figure>`;
}
