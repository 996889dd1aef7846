import { comparisonPage } from "./page/page.js";
import type { ComparedPrompt, ComparedVariant, ComparisonData, VariantSummary } from "./result.js";

/** What `model.compare` found. Also made of what `toJSON` gave, to write the page later or in a worker. */
export class Comparison implements ComparisonData {
  readonly model: ComparisonData["model"];
  readonly reference: number;
  readonly variants: ComparedVariant[];
  readonly prompts: ComparedPrompt[];
  readonly summary: VariantSummary[];
  readonly bootstrap: ComparisonData["bootstrap"];

  constructor(data: ComparisonData) {
    this.model = data.model;
    this.reference = data.reference;
    this.variants = data.variants;
    this.prompts = data.prompts;
    this.summary = data.summary;
    this.bootstrap = data.bootstrap;
  }

  /** Plain data, for `JSON.stringify`. */
  toJSON(): ComparisonData {
    return { ...this };
  }

  /**
   * One HTML page with plots, complete in itself: no script, no network. Texts of prompts and models are shown as text only. Takes about
   * 30 µs for each token and variant, on the calling thread.
   */
  toHtml(): string {
    return comparisonPage(this);
  }
}
