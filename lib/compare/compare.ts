import type { AdapterLease, LeasedAdapters } from "../adapters/index.js";
import { throwIfAborted } from "../errors/check.js";
import { expected } from "../errors/index.js";
import { Comparison } from "./comparison.js";
import type { CheckedCompareOptions } from "./options.js";
import type { ComparedPrompt, ComparedVariant } from "./result.js";
import { scoreText } from "./score.js";
import type { CompareSource } from "./source.js";
import { summarise, summariseText } from "./summary.js";
import { prepareTexts, type Text } from "./texts.js";

/** Positions that are scored at once, however small the vocabulary: what is made of them must not hold up the event loop. */
const MAX_ROWS = 512;
/** Tokens times variants. */
const MAX_MEASURES = 2 ** 21;

/** See `Model.compare`. The versions are those of the time of the call. */
export async function compare(source: CompareSource, options: CheckedCompareOptions): Promise<Comparison> {
  const { confidence, resamples, seed, signal } = options;
  throwIfAborted(signal, "The comparison");
  // One lease for all: comparisons that each had some of their adapters in memory would wait for each other.
  const lease = source.lease(options.variants.flatMap(({ adapter }) => adapter));
  try {
    const variants = describeVariants(source, options, lease);
    await lease.ready(signal, 0);
    const leased = partsOf(lease, options);
    const texts = await prepareTexts(source, options, leased);
    const prompts = await scoreTexts(source, texts, leased, options);
    const labels = variants.map(({ label }) => label);
    const { precision, kvCache, instructionSet } = source.facts;
    return new Comparison({
      model: { name: source.name, precision, kvCache, instructionSet },
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
  source: CompareSource,
  { variants }: CheckedCompareOptions,
  lease: AdapterLease,
): ComparedVariant[] {
  const contents = lease.contents.values();
  return variants.map(({ label, adapter }) => ({
    label,
    adapters: adapter.map(({ name, scale, generation }) => {
      const { contentHash, precision } = contents.next().value!;
      return { name, scale, generation: generation || source.generationOf(name), precision, contentHash };
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
  source: CompareSource,
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
  const room = { id: source.engine.openComparison({ variants: variants.length, rows }), rows };
  try {
    const prompts: ComparedPrompt[] = [];
    let done = 0;
    for (const text of texts) {
      const tokens = await scoreText(source, text, variants, room, options, (count) =>
        options.onProgress?.({ stage: "score", done: (done += count), total }),
      );
      prompts.push({
        prompt: source.tokenizer?.decode(text.prompt, { skipSpecialTokens: false }) ?? "",
        promptTokens: [...text.prompt],
        generated: text.generated,
        tokens,
        perVariant: summariseText(tokens, variants.length, options.reference),
        ...(text.generations ? { generations: text.generations } : {}),
      });
    }
    return prompts;
  } finally {
    await source.engine.closeComparison(room.id);
  }
}
