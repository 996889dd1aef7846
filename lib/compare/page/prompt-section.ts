import type { ComparedPrompt, ComparedToken, ComparisonData } from "../result.js";
import { linePlot, type Line } from "./charts.js";
import { markup, type Markup } from "./markup.js";
import { shortNumber } from "./numbers.js";
import { DIFFERENCE_STEPS, KL_STEPS } from "./style.js";

/** Lines of a plot have so many points at most: each is the highest of its stretch of tokens. */
const MAX_POINTS = 300;
const KL_FLOOR = 1e-5;

/** Number of bounds that a value has reached. */
const stepOf = (value: number, bounds: readonly number[]): number =>
  bounds.filter((bound) => value >= bound).length;

const klClass = (kl: number): string => `k${stepOf(kl, KL_STEPS)}`;

const differenceClass = (difference: number): string =>
  `${difference < 0 ? "less" : "more"}${stepOf(Math.abs(difference), DIFFERENCE_STEPS)}`;

/** A line break is shown and made. */
const shownToken = (text: string): string => text.replaceAll("\n", "↵\n");

function strip(
  { tokens }: ComparedPrompt,
  variant: number,
  reference: number,
  className: (token: ComparedToken) => string,
): Markup {
  const spans = tokens.map((token) => {
    const [measure, base] = [token.perVariant[variant]!, token.perVariant[reference]!];
    const other = measure.top1 === base.top1 ? "" : " other";
    const title =
      `KL ${shortNumber(measure.kl)}, log-probability ${shortNumber(measure.logprob)} ` +
      `(reference ${shortNumber(base.logprob)}), most likely ${JSON.stringify(measure.top1Text)} ` +
      `(reference ${JSON.stringify(base.top1Text)})`;
    return markup`<span class="${className(token)}${other}" title="${title}">${shownToken(token.text) || `[${token.id}]`}</span>`;
  });
  return markup`<div class="strip" dir="auto">${spans}</div>`;
}

/** Positions and KL of a variant, of each stretch of tokens the highest. */
function klLine({ tokens }: ComparedPrompt, variant: number): [number, number][] {
  const stretch = Math.ceil(tokens.length / MAX_POINTS);
  const points: [number, number][] = [];
  for (let begin = 0; begin < tokens.length; begin += stretch) {
    const part = tokens.slice(begin, begin + stretch);
    points.push([part[0]!.position, Math.max(...part.map(({ perVariant }) => perVariant[variant]!.kl))]);
  }
  return points;
}

function klPlot(prompt: ComparedPrompt, others: readonly number[], labels: readonly string[]): Markup | null {
  if (prompt.tokens.length < 2) return null;
  const lines = others.map((index): Line => ({
    label: labels[index]!,
    points: klLine(prompt, index),
    index,
  }));
  const highest = Math.max(...lines.flatMap(({ points }) => points.map(([, kl]) => kl)));
  const [first, last] = [prompt.tokens[0]!, prompt.tokens.at(-1)!];
  return markup`<figure>${linePlot("KL at each position", lines, {
    x: { label: "position", low: first.position, high: last.position, log: false },
    y: {
      label: `KL, nats (${shortNumber(KL_FLOOR)} and below at the bottom)`,
      low: KL_FLOOR,
      high: Math.max(1, highest),
      log: true,
    },
  })}</figure>`;
}

function tokenTable(prompt: ComparedPrompt, data: ComparisonData): Markup {
  const rows = prompt.tokens.map(
    ({ id, text, position, perVariant }) =>
      markup`<tr><td>${position}</td><td class="text">${JSON.stringify(text)}</td><td>${id}</td>${perVariant.map(
        ({ logprob, kl, top1Text }) =>
          markup`<td>${shortNumber(logprob)}</td><td>${shortNumber(kl)}</td><td class="text">${JSON.stringify(top1Text)}</td>`,
      )}</tr>\n`,
  );
  const heads = data.variants.map(({ label }) => markup`<th colspan="3" scope="colgroup">${label}</th>`);
  const columns = data.variants.map(
    () => markup`<th scope="col">log p</th><th scope="col">KL</th><th scope="col">most likely</th>`,
  );
  return markup`<details><summary>Every token</summary><div class="wide"><table>
<thead><tr><th colspan="3"></th>${heads}</tr>
<tr><th scope="col">position</th><th scope="col">token</th><th scope="col">id</th>${columns}</tr></thead>
<tbody>${rows}</tbody></table></div></details>`;
}

function generations(prompt: ComparedPrompt, labels: readonly string[]): Markup | null {
  if (!prompt.generations) return null;
  return markup`<details open><summary>Answers of the variants</summary>${prompt.generations.map(
    ({ text, tokens, finishReason }, i) =>
      markup`<h4>${labels[i]!}</h4><pre dir="auto">${text}</pre><p class="note">${tokens.length} tokens, ${
        finishReason === "stop" ? "ended by itself" : "cut off"
      }</p>`,
  )}</details>`;
}

export function promptSection(prompt: ComparedPrompt, index: number, data: ComparisonData): Markup {
  const { reference, variants } = data;
  const labels = variants.map(({ label }) => label);
  const others = variants.map((_, i) => i).filter((i) => i !== reference);
  const strips = others.map((variant) => {
    const { meanKl, meanLogprobDifference, perplexity } = prompt.perVariant[variant]!;
    const differenceOf = ({ perVariant }: ComparedToken): number =>
      perVariant[variant]!.logprob - perVariant[reference]!.logprob;
    return markup`<h4>${labels[variant]!}</h4>
<p class="note">KL, mean ${shortNumber(meanKl)} nats</p>${strip(prompt, variant, reference, ({ perVariant }) => klClass(perVariant[variant]!.kl))}
<p class="note">difference of log-probabilities, mean ${shortNumber(meanLogprobDifference)}; perplexity ${shortNumber(perplexity)} against ${shortNumber(prompt.perVariant[reference]!.perplexity)}</p>${strip(prompt, variant, reference, (token) => differenceClass(differenceOf(token)))}`;
  });
  const text = prompt.prompt || `[${prompt.promptTokens.join(", ")}]`;
  return markup`<article><h3>Prompt ${index + 1}</h3>
<details><summary>${prompt.promptTokens.length} tokens before${
    prompt.generated ? markup`; the text below was written by “${labels[reference]!}”` : null
  }</summary><pre dir="auto">${text}</pre></details>
${klPlot(prompt, others, labels)}${strips}${generations(prompt, labels)}${tokenTable(prompt, data)}</article>
`;
}
