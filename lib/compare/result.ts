import type { ScaleStep } from "../adapters/index.js";
import type { Interval } from "./bootstrap.js";

/** "0.5", or "1, 0.3 from token 20". */
export const scaleText = (scale: number | readonly ScaleStep[]): string =>
  typeof scale === "number"
    ? String(scale)
    : scale
        .map((step) =>
          step.fromToken === 0 ? `${step.scale}` : `${step.scale} from token ${step.fromToken}`,
        )
        .join(", ");

/** An adapter of a variant, in the version that the comparison began with. */
export interface ComparedAdapter {
  name: string;
  scale: number | readonly ScaleStep[];
  generation: number;
  /** What its low-rank factors are kept in. */
  precision: string;
  /** SHA-256 over configuration and weights, hex. */
  contentHash: string;
}

export interface ComparedVariant {
  label: string;
  /** Empty: the base model alone. */
  adapters: ComparedAdapter[];
}

/** What one variant says of one token. */
export interface TokenMeasure {
  /** Of the token, natural logarithm. */
  logprob: number;
  /** KL(reference || variant) of the distributions at this position, in nats: 0 for the reference. */
  kl: number;
  /** The variant's most likely token here: of equals the lowest id. */
  top1: number;
  top1Text: string;
}

export interface ComparedToken {
  id: number;
  /** Its text alone; a part of a character reads as U+FFFD. "" where the model came without a tokenizer. */
  text: string;
  /** In prompt and completion, from 0. */
  position: number;
  /** In the order of the variants. */
  perVariant: TokenMeasure[];
}

/** Means over tokens. Differences are variant minus reference. */
export interface TextSummary {
  /** Nats. */
  meanKl: number;
  /** Sum of the tokens' log-probabilities. */
  logprob: number;
  /** Mean over tokens of log p(variant) - log p(reference): above 0 where the variant likes the text better. */
  meanLogprobDifference: number;
  /** Share of positions where variant and reference have the same most likely token. */
  top1Agreement: number;
  /** exp(-logprob / tokens). */
  perplexity: number;
}

/** A variant's own greedy answer. */
export interface ComparedGeneration {
  text: string;
  /** Token ids, the one that ended it included. */
  tokens: number[];
  finishReason: "stop" | "length";
}

export interface ComparedPrompt {
  /** As the model saw it, special tokens included; "" where the model came without a tokenizer. */
  prompt: string;
  promptTokens: number[];
  /** Whether the reference wrote the completion. */
  generated: boolean;
  /** The completion. */
  tokens: ComparedToken[];
  /** In the order of the variants. */
  perVariant: TextSummary[];
  /** In the order of the variants, where `generations` was asked for. */
  generations?: ComparedGeneration[];
}

export interface Estimate {
  value: number;
  /** Null for fewer than two prompts. */
  interval: Interval | null;
}

/** Over all tokens of all prompts, with bootstrap intervals over prompts. */
export interface VariantSummary {
  label: string;
  meanKl: Estimate;
  meanLogprobDifference: Estimate;
  top1Agreement: Estimate;
  perplexity: number;
  /** Perplexity by that of the reference: exp(-meanLogprobDifference). */
  perplexityRatio: Estimate;
}

/** What `toJSON` gives: plain data. */
export interface ComparisonData {
  model: { name: string; precision: string; kvCache: string; instructionSet: string };
  /** Index into `variants`. */
  reference: number;
  variants: ComparedVariant[];
  prompts: ComparedPrompt[];
  /** In the order of the variants. */
  summary: VariantSummary[];
  /** How the intervals were made. */
  bootstrap: { method: "BCa"; confidence: number; resamples: number; seed: number };
}
