import { ADAPTER, type AdapterSelection, type AdapterUse } from "../adapters/index.js";
import { expected } from "../errors/index.js";
import type { Prompt } from "../client/index.js";
import { SERVING, type ServingOptions } from "../generate/index.js";
import { SERVED, type ServedRequest, type VocabularyContext } from "../native/request-options.js";
import {
  boolean,
  callback,
  checkKnown,
  checkOptions,
  integer,
  namesOf,
  number,
  type CheckedOf,
  type OptionsOf,
} from "../schema/index.js";
import { ENCODING, type ChatMessage } from "../tokenizer/index.js";
import { scaleText } from "./result.js";

/**
 * A text to compare on. With a completion, its tokens are scored after the prompt; without, the reference variant answers the prompt
 * greedily, and all variants are scored on its answer, the token that ended it included. `messages` go through the model's chat template.
 */
export type ComparePrompt =
  | Prompt
  | { prompt: Prompt; completion?: Prompt }
  | { messages: readonly ChatMessage[]; completion?: Prompt };

/** null: the base model alone, as is a label without an adapter. A label names the variant in the report; by default it is made of names and scales. */
export type CompareVariant = AdapterSelection | null | { label: string; adapter?: AdapterSelection | null };

export interface CompareProgress {
  /** Answers being generated, then tokens being scored. */
  stage: "generate" | "score";
  /** Answers, or tokens of the texts (each counted once, not for each variant). */
  done: number;
  total: number;
}

interface CompareContext extends VocabularyContext {
  /** Number of variants. */
  readonly variants: number;
}

/** Of the logits of one position under every variant. */
const rowBytes = ({ variants, vocabularySize }: CompareContext): number => 4 * variants * vocabularySize;

const MEASURING = {
  /** Index of the variant that the others are measured against, and that answers prompts without a completion. Default 0. */
  reference: integer<CompareContext, number>({
    description: "Index of the variant that the others are measured against.",
    min: 0,
    max: ({ variants }) => variants - 1,
    default: 0,
  }),
  /** Tokens that an answer has at most. 1 … 2^31-1, default 128; it also ends where the context is full. */
  maxTokens: integer({
    description: "Tokens that an answer has at most.",
    unit: "tokens",
    min: 1,
    max: 2 ** 31 - 1,
    default: 128,
  }),
  /** Let each variant answer each prompt itself, too, greedily. Default false. */
  generations: boolean({
    description: "Let each variant answer each prompt itself, too, greedily.",
    default: false,
  }),
  /** Level of the intervals. 0.5 … 0.999, default 0.95. */
  confidence: number({ description: "Level of the intervals.", min: 0.5, max: 0.999, default: 0.95 }),
  /** Resamples of the bootstrap. 100 … 20000, default 2000. */
  resamples: integer({ description: "Resamples of the bootstrap.", min: 100, max: 20_000, default: 2000 }),
  /** Of the bootstrap: the same seed gives the same intervals. An integer, 0 … 2^53-1, default 0. */
  seed: integer({
    description: "Of the bootstrap: the same seed gives the same intervals.",
    min: 0,
    max: Number.MAX_SAFE_INTEGER,
    default: 0,
  }),
  /**
   * Bytes of logits that are held at once; longer texts are scored in pieces. 4 bytes for each token of the vocabulary and each variant
   * at least. Up to 2^30; default: 64 MiB, or that least.
   */
  logitMemory: integer<CompareContext, number>({
    description: "Logits that are held at once; longer texts are scored in pieces.",
    unit: "bytes",
    min: rowBytes,
    max: 2 ** 30,
    default: {
      says: "64 MiB, or that least",
      value: (context) => Math.max(rowBytes(context), 2 ** 26),
    },
  }),
  /** Called when something is done. What it throws ends the comparison. */
  onProgress: callback<(progress: CompareProgress) => void>({
    description: "Called when something is done.",
  }),
};

export const COMPARE: typeof MEASURING &
  typeof ENCODING &
  Pick<typeof SERVING, "priority" | "cacheSalt" | "signal"> = {
  ...MEASURING,
  ...ENCODING,
  priority: SERVING.priority,
  cacheSalt: SERVING.cacheSalt,
  signal: SERVING.signal,
};

export interface CompareOptions
  extends
    OptionsOf<typeof MEASURING>,
    OptionsOf<typeof ENCODING>,
    Pick<ServingOptions, "priority" | "cacheSalt" | "signal"> {}

const MAX_PROMPTS = 10_000;
const MAX_VARIANTS = 64;
const MAX_LABEL = 200;

export interface CheckedVariant {
  label: string;
  adapter: Required<AdapterUse>[];
}

/** Where a text comes from; prompts and completions are checked by the model, which knows its vocabulary. */
export interface CheckedPrompt {
  /** How messages of errors call it. */
  name: string;
  prompt: { text: Prompt } | { messages: readonly ChatMessage[] };
  completion: Prompt | undefined;
}

export interface CheckedCompareOptions extends CheckedOf<typeof COMPARE> {
  prompts: CheckedPrompt[];
  variants: CheckedVariant[];
  /** Positions that are scored at once. */
  rows: number;
  serving: ServedRequest;
}

function checkPrompts(prompts: unknown): CheckedPrompt[] {
  if (!Array.isArray(prompts) || prompts.length === 0 || prompts.length > MAX_PROMPTS)
    throw expected(`an array of 1 to ${MAX_PROMPTS} prompts`, "prompts", prompts);
  return prompts.map((given: unknown, i) => {
    const name = `prompts[${i}]`;
    if (typeof given === "object" && given !== null && "messages" in given) {
      checkKnown(name, given, ["messages", "completion"]);
      const { messages, completion } = given as { messages: ChatMessage[]; completion?: Prompt };
      return { name, prompt: { messages }, completion };
    }
    if (typeof given === "object" && given !== null && "prompt" in given) {
      checkKnown(name, given, ["prompt", "completion"]);
      const { prompt, completion } = given as { prompt: Prompt; completion?: Prompt };
      return { name, prompt: { text: prompt }, completion };
    }
    return { name, prompt: { text: given as Prompt }, completion: undefined };
  });
}

function defaultLabel(adapter: readonly Required<AdapterUse>[]): string {
  if (adapter.length === 0) return "base";
  return adapter
    .map(({ name, scale, generation }) => {
      const version = generation === 0 ? name : `${name} (generation ${generation})`;
      return scale === 1 ? version : `${version} × ${scaleText(scale)}`;
    })
    .join(" + ");
}

function checkVariant(given: CompareVariant, i: number): CheckedVariant {
  const labelled =
    typeof given === "object" && given !== null && ("label" in given || "adapter" in given)
      ? (given as { label: string; adapter?: AdapterSelection | null })
      : null;
  if (labelled) checkKnown(`adapters[${i}]`, labelled, ["label", "adapter"]);
  // With a label alone the base is meant; anything else without a selection would quietly be the base.
  const base = labelled !== null && "label" in labelled && !("adapter" in labelled);
  const selection = base ? null : labelled ? labelled.adapter : (given as AdapterSelection | null);
  if (selection === undefined)
    throw expected(
      "null, an adapter's name, { name, scale }, or { label, adapter }",
      `adapters[${i}]`,
      given,
    );
  const adapter = ADAPTER.check("adapter", selection ?? undefined, undefined);
  if (!labelled) return { label: defaultLabel(adapter), adapter };
  const { label } = labelled;
  if (typeof label !== "string" || label === "" || label.length > MAX_LABEL)
    throw expected(`a string of 1 to ${MAX_LABEL} characters`, `adapters[${i}].label`, label);
  return { label, adapter };
}

function checkVariants(variants: unknown): CheckedVariant[] {
  if (!Array.isArray(variants) || variants.length < 2 || variants.length > MAX_VARIANTS)
    throw expected(
      `an array of 2 to ${MAX_VARIANTS} variants`,
      "adapters",
      variants,
      "null stands for the base model alone.",
    );
  const seen = new Map<string, number>();
  return (variants as CompareVariant[]).map((given, i) => {
    const variant = checkVariant(given, i);
    const count = (seen.get(variant.label) ?? 0) + 1;
    seen.set(variant.label, count);
    return count === 1 ? variant : { ...variant, label: `${variant.label} (${count})` };
  });
}

export function checkCompareOptions(
  prompts: unknown,
  adapters: unknown,
  options: CompareOptions,
  vocabularySize: number,
): CheckedCompareOptions {
  checkKnown("options", options, namesOf(COMPARE));
  const variants = checkVariants(adapters);
  const context = { variants: variants.length, vocabularySize };
  const checked = checkOptions(COMPARE, options, context);
  const { priority, cacheSalt } = checked;
  return {
    ...checked,
    prompts: checkPrompts(prompts),
    variants,
    rows: Math.floor(checked.logitMemory / rowBytes(context)),
    serving: checkOptions(SERVED, { priority, cacheSalt }),
  };
}
