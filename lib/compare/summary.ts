import { bootstrapMeans, type BootstrapOptions, type Interval } from "./bootstrap.js";
import type { ComparedPrompt, ComparedToken, TextSummary, VariantSummary } from "./result.js";

/** Of one text. */
export function summariseText(
  tokens: readonly ComparedToken[],
  variants: number,
  reference: number,
): TextSummary[] {
  return Array.from({ length: variants }, (_, variant) => {
    let [kl, logprob, difference, agreed] = [0, 0, 0, 0];
    for (const { perVariant } of tokens) {
      const [measure, base] = [perVariant[variant]!, perVariant[reference]!];
      kl += measure.kl;
      logprob += measure.logprob;
      difference += measure.logprob - base.logprob;
      agreed += measure.top1 === base.top1 ? 1 : 0;
    }
    const count = tokens.length;
    return {
      meanKl: kl / count,
      logprob,
      meanLogprobDifference: difference / count,
      top1Agreement: agreed / count,
      perplexity: Math.exp(-logprob / count),
    };
  });
}

const STATISTICS = ["meanKl", "meanLogprobDifference", "top1Agreement"] as const;

/** Of all prompts together: every token counts the same. */
export async function summarise(
  prompts: readonly ComparedPrompt[],
  labels: readonly string[],
  options: BootstrapOptions,
): Promise<VariantSummary[]> {
  const counts = Float64Array.from(prompts, ({ tokens }) => tokens.length);
  const all = counts.reduce((sum, count) => sum + count, 0);
  const sumsOf = (variant: number, statistic: keyof TextSummary): Float64Array =>
    Float64Array.from(prompts, ({ perVariant }, i) => perVariant[variant]![statistic] * counts[i]!);
  const sums = labels.flatMap((_, variant) => STATISTICS.map((statistic) => sumsOf(variant, statistic)));
  const intervals = await bootstrapMeans(sums, counts, options);

  return labels.map((label, variant) => {
    const estimate = (statistic: number): { value: number; interval: Interval | null } => {
      const at = variant * STATISTICS.length + statistic;
      return { value: sums[at]!.reduce((sum, value) => sum + value, 0) / all, interval: intervals[at]! };
    };
    const [meanKl, difference, top1Agreement] = [estimate(0), estimate(1), estimate(2)];
    const logprob = prompts.reduce((sum, { perVariant }) => sum + perVariant[variant]!.logprob, 0);
    return {
      label,
      meanKl,
      meanLogprobDifference: difference,
      top1Agreement,
      perplexity: Math.exp(-logprob / all),
      // A monotone function of the difference: so are the bounds of its interval, the other way round.
      perplexityRatio: {
        value: Math.exp(-difference.value),
        interval: difference.interval && [
          Math.exp(-difference.interval[1]),
          Math.exp(-difference.interval[0]),
        ],
      },
    };
  });
}
