import type { AdapterLease, LeasedAdapters } from "../adapters/index.js";
import type { EngineClient } from "../client/index.js";
import { throwIfAborted } from "../errors/check.js";
import { expected } from "../errors/index.js";
import { Comparison } from "./comparison.js";
import {
  checkCompareOptions,
  type CheckedCompareOptions,
  type CompareOptions,
  type ComparePrompt,
  type CompareVariant,
} from "./options.js";
import type { ComparedPrompt, ComparedVariant } from "./result.js";
import { scoreText } from "./score.js";
import { summarise, summariseText } from "./summary.js";
import { prepareTexts, type Text } from "./texts.js";

/** Positions that are scored at once, however small the vocabulary: what is made of them must not hold up the event loop. */
const MAX_ROWS = 512;
/** Tokens times variants. */
const MAX_MEASURES = 2 ** 21;

/** See `Model.compare`. The versions are those of the time of the call. */
export async function compare(
  client: EngineClient,
  texts: readonly ComparePrompt[],
  adapters: readonly CompareVariant[],
  given: CompareOptions,
): Promise<Comparison> {
  client.requireAlive();
  const options = checkCompareOptions(texts, adapters, given, client.facts.vocabularySize);
  const { confidence, resamples, seed, signal } = options;
  throwIfAborted(signal, "The comparison");
  // One lease for all: comparisons that each had some of their adapters in memory would wait for each other.
  const lease = client.lease(options.variants.flatMap(({ adapter }) => adapter));
  try {
    const variants = describeVariants(client, options, lease);
    await lease.ready(signal, 0);
    const leased = partsOf(lease, options);
    const prepared = await prepareTexts(client, options, leased);
    const prompts = await scoreTexts(client, prepared, leased, options);
    const labels = variants.map(({ label }) => label);
    const { precision, kvCache, instructionSet } = client.facts;
    return new Comparison({
      model: { name: client.name, precision, kvCache, instructionSet },
      reference: options.reference,
      variants,
      prompts,
      summary: await summarise(prompts, labels, { confidence, resamples, seed, signal }),
      bootstrap: { method: "BCa", confidence, resamples, seed },
    });
  } finally {
    lease.release();
  }
}

function describeVariants(
  client: EngineClient,
  { variants }: CheckedCompareOptions,
  lease: AdapterLease,
): ComparedVariant[] {
  const contents = lease.contents.values();
  return variants.map(({ label, adapter }) => ({
    label,
    adapters: adapter.map(({ name, scale, generation }) => {
      const { contentHash, precision } = contents.next().value!;
      return {
        name,
        scale,
        generation: generation || client.adapters.get(name).generation,
        precision,
        contentHash,
      };
    }),
  }));
}

/** What requests of each variant hold; the lease itself outlives them. */
function partsOf(lease: AdapterLease, { variants }: CheckedCompareOptions): LeasedAdapters[] {
  let next = 0;
  return variants.map(({ adapter }) => {
    const begin = next;
    const end = (next += adapter.length);
    return {
      applied: (tokens, promptTokens) => lease.applied(tokens, promptTokens, begin, end),
      release: () => {},
    };
  });
}

async function scoreTexts(
  client: EngineClient,
  texts: readonly Text[],
  variants: readonly LeasedAdapters[],
  options: CheckedCompareOptions,
): Promise<ComparedPrompt[]> {
  const total = texts.reduce((sum, { completion }) => sum + completion.length, 0);
  if (total * variants.length > MAX_MEASURES)
    throw expected(
      `at most ${Math.floor(MAX_MEASURES / variants.length)} tokens to score`,
      "prompts",
      total,
      "Compare in several calls.",
    );
  const longest = Math.max(...texts.map(({ completion }) => completion.length));
  const rows = Math.min(options.rows, MAX_ROWS, longest);
  const room = { id: client.logitRooms.openComparison({ variants: variants.length, rows }), rows };
  try {
    const prompts: ComparedPrompt[] = [];
    let done = 0;
    for (const text of texts) {
      const tokens = await scoreText(client, text, variants, room, options, (count) =>
        options.onProgress?.({ stage: "score", done: (done += count), total }),
      );
      prompts.push({
        prompt: client.tokenizer?.decode(text.prompt, { skipSpecialTokens: false }) ?? "",
        promptTokens: [...text.prompt],
        generated: text.generated,
        tokens,
        perVariant: summariseText(tokens, variants.length, options.reference),
        ...(text.generations ? { generations: text.generations } : {}),
      });
    }
    return prompts;
  } finally {
    await client.logitRooms.closeComparison(room.id);
  }
}
