export { compare } from "./compare.js";
export { Comparison } from "./comparison.js";
export {
  COMPARE,
  type CompareOptions,
  type ComparePrompt,
  type CompareProgress,
  type CompareVariant,
} from "./options.js";
export type {
  ComparedAdapter,
  ComparedGeneration,
  ComparedPrompt,
  ComparedToken,
  ComparedVariant,
  ComparisonData,
  Estimate,
  TextSummary,
  TokenMeasure,
  VariantSummary,
} from "./result.js";
