/** All option sets of the package, with what their bounds depend on. */
import { ALIAS, LOAD as LOAD_ADAPTER, ROLLBACK, SWAP, UNLOAD, WATCH } from "#lib/adapters/index.js";
import { TEMPLATE } from "#lib/client/index.js";
import { COMPARE } from "#lib/compare/index.js";
import { CHAT, GENERATE, LOGITS, SCORE } from "#lib/generate/index.js";
import { LOAD } from "#lib/model/index.js";
import type { OptionSet } from "#lib/schema/index.js";
import { DECODING, ENCODING } from "#lib/tokenizer/index.js";

/** By the interface that users see. */
export const SETS: Readonly<Record<string, OptionSet>> = {
  LoadModelOptions: LOAD,
  GenerateOptions: GENERATE,
  ChatOptions: CHAT,
  TemplateOptions: TEMPLATE,
  ScoreOptions: SCORE,
  LogitsOptions: LOGITS,
  CompareOptions: COMPARE,
  EncodeOptions: ENCODING,
  DecodeOptions: DECODING,
  LoadAdapterOptions: LOAD_ADAPTER,
  SwapAdapterOptions: SWAP,
  RollbackAdapterOptions: ROLLBACK,
  UnloadAdapterOptions: UNLOAD,
  AliasAdapterOptions: ALIAS,
  AdapterWatchOptions: WATCH,
};

export const CONTEXT = { vocabularySize: 272, length: 50, variants: 3 };

/** Every option of every set: a name for the test, its set, its own name. */
export const OPTIONS: [string, OptionSet, string][] = Object.entries(SETS).flatMap(([title, set]) =>
  Object.keys(set).map((name): [string, OptionSet, string] => [`${title}.${name}`, set, name]),
);

/** The schema of the numbers that an option takes, beside booleans or lists maybe. */
export function numbersOf(json: Record<string, unknown> | null): Record<string, unknown> | undefined {
  if (json === null) return undefined;
  const either = (json.anyOf as Record<string, unknown>[] | undefined) ?? [json];
  return either.find(({ type }) => type === "number" || type === "integer");
}
