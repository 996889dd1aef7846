import type { AddedToken, AddedTokenTables } from "./added-tokens.js";
import type { BytePairModel } from "./byte-pair-encoder.js";
import type { NormalizerStep } from "./normalizer.js";
import type { PreTokenizerStep } from "./pre-tokenizer.js";
import type { DecoderRule } from "./token-decoder.js";
import type { UnigramModel } from "./unigram-encoder.js";
import type { VocabularyTables } from "./vocabulary.js";
import { LowrankError } from "../errors/index.js";
import { damaged } from "./tokenizer-errors.js";

/** A word is a token as a whole, or unknown (-1: dropped). */
export interface WordLevelModel {
  readonly type: "WordLevel";
  readonly unknownId: number;
}

/**
 * A tokenizer, read and checked, whatever file it came from. It holds plain data and tables in shared memory only, so a
 * structured clone hands it to another thread in no time and without a second copy.
 */
export interface TokenizerDefinition {
  readonly vocabulary: VocabularyTables;
  readonly model: BytePairModel | UnigramModel | WordLevelModel;
  readonly addedTokens: readonly AddedToken[];
  readonly addedTokenTables: AddedTokenTables;
  /** `normalizer` and `pre_tokenizer` of tokenizer.json, reduced to what counts. */
  readonly normalizer: readonly NormalizerStep[];
  readonly preTokenizer: readonly PreTokenizerStep[];
  readonly decoder: DecoderRule;
  /** Ids put before and behind a text by `addSpecialTokens`. */
  readonly prefix: readonly number[];
  readonly suffix: readonly number[];
  readonly bosTokenId: number | null;
  /** Every id that ends a generation, the tokenizer's own first. */
  readonly eosTokenIds: readonly number[];
  /** Special tokens by their role, as chat templates see them: bos_token, eos_token, unk_token, pad_token, … */
  readonly specialTokens: Readonly<Record<string, string>>;
  /** The model's own Jinja chat template, the one named "default" where there are several, or null. */
  readonly chatTemplate: string | null;
  /** All of them by name, "default" counted; such as "tool_use" beside it. See {@link chooseTemplate}. */
  readonly chatTemplates: Readonly<Record<string, string>>;
}

/** Most added tokens (Gemma 3 has 6,415). */
export const MAX_ADDED_TOKENS = 1 << 16;
/** Longest chat template, in UTF-16 units. */
export const MAX_TEMPLATE_LENGTH = 1 << 18;

/** End-of-text and end-of-turn tokens of the supported model families. They count where the vocabulary has them as control tokens. */
const END_TOKENS = [
  "<|im_end|>",
  "<|eot_id|>",
  "<|eom_id|>",
  "<end_of_turn>",
  "<|end_of_text|>",
  "<|endoftext|>",
  "<|end|>",
  "</s>",
];

/** The ids that end a generation: those that the model's files name, then the well-known control tokens that it has. */
export function collectEosTokenIds(
  named: Iterable<number | null>,
  addedTokens: readonly AddedToken[],
): number[] {
  const ids = new Set<number>();
  for (const id of named) if (id !== null) ids.add(id);
  for (const content of END_TOKENS) {
    const token = addedTokens.find((added) => added.content === content && added.special);
    if (token !== undefined) ids.add(token.id);
  }
  return [...ids];
}

/** Checks a token id that a file names. Throws ERR_TOKENIZER past the vocabulary. */
export function checkTokenId(id: unknown, size: number, name: string): number {
  const value = typeof id === "bigint" ? Number(id) : id;
  if (typeof value !== "number" || !Number.isInteger(value) || value < 0 || value >= size)
    throw damaged(`an id of 0 to ${size - 1}`, name, id);
  return value;
}

/** Checks a chat template. Throws ERR_TOKENIZER for what is no text of bounded length. */
export function checkTemplate(template: unknown, name: string): string {
  if (typeof template !== "string" || template.length > MAX_TEMPLATE_LENGTH)
    throw damaged(
      `a text of at most ${MAX_TEMPLATE_LENGTH} characters`,
      name,
      typeof template === "string" ? template.length : template,
    );
  return template;
}

/** Most named templates of one model. */
const MAX_TEMPLATES = 64;

/** Checks named chat templates; none, one or many. Throws ERR_TOKENIZER. */
export function nameTemplates(
  named: Iterable<readonly [name: string, template: unknown]>,
  file: string,
): Pick<TokenizerDefinition, "chatTemplate" | "chatTemplates"> {
  const templates = new Map<string, string>();
  for (const [name, template] of named) {
    if (name === "") throw damaged("a name", file, name);
    templates.set(name, checkTemplate(template, file));
  }
  if (templates.size > MAX_TEMPLATES)
    throw damaged(`at most ${MAX_TEMPLATES} templates`, file, templates.size);
  return { chatTemplate: templates.get("default") ?? null, chatTemplates: Object.fromEntries(templates) };
}

/**
 * The chat template of a request, chosen as transformers does: "tool_use" where tools are given and the model has it, else "default";
 * null where the model has none. Throws ERR_CHAT_TEMPLATE where it has named ones only and none of these.
 * @param tools those of the request; an empty list counts as given
 */
export function chooseTemplate(
  { chatTemplates }: Pick<TokenizerDefinition, "chatTemplates">,
  tools: unknown,
): string | null {
  const own = (name: string): string | undefined =>
    Object.hasOwn(chatTemplates, name) ? chatTemplates[name] : undefined;
  const chosen = (tools === undefined || tools === null ? undefined : own("tool_use")) ?? own("default");
  const names = Object.keys(chatTemplates);
  if (chosen !== undefined || names.length === 0) return chosen ?? null;
  throw new LowrankError(
    "ERR_CHAT_TEMPLATE",
    `Expected a template named "default" for the chat, received a model with ${names.sort().join(", ").slice(0, 200)} only. Pass one as chatTemplate.`,
    { details: { names } },
  );
}
