// The figures of the generation suites by name.

const DECODED = 64;
const prefill = (context) => ({ context, tokens: 1 });
const decode = (context) => ({ context, tokens: DECODED + 1 });
// Short prompts: they are all done before the first answer ends.
const batch = { suite: "batch", task: "batch", context: 32, tokens: 97 };
const extract = { suite: "prompt_lookup", task: "extract", own: true, by: "adapters" };

/**
 * What is asked, and what is taken of the answer.
 * - by: which of our own processes answers, see own-contenders.mjs; "plain" where it is not said
 * - adapter: true; "int8": its A and B in int8; of a batch true and "int8" are 16 different ones, "shared" is one for all
 * - own: peers are not asked; peersOf: they were, for another figure, which this one is put beside
 * - pairedWith: a figure of the plain process, measured in turn with this one alone: see paired.mjs
 * - shareOf: another figure, of which this one is a share, measured apart in turn with it: see turns.mjs
 */
export const FIGURES = {
  prefill_512: { suite: "prefill", ...prefill(512) },
  prefill_512_avx2: {
    suite: "prefill",
    ...prefill(512),
    by: "avx2",
    own: true,
    peersOf: "prefill_512",
    shareOf: "prefill_512",
  },
  decode_128: { suite: "decode", ...decode(128) },
  decode_2048: { suite: "decode", ...decode(2048), shareOf: "decode_128" },
  decode_2048_int8_kv: {
    suite: "decode",
    ...decode(2048),
    kvCache: "int8",
    own: true,
    shareOf: "decode_128",
  },
  decode_128_sampled: {
    suite: "decode",
    ...decode(128),
    sampling: { temperature: 0.7, topP: 0.95, seed: 1 },
    own: true,
    shareOf: "decode_128",
  },
  prefill_512_adapter: {
    suite: "adapters",
    ...prefill(512),
    by: "adapters",
    adapter: true,
    shareOf: "prefill_512",
  },
  decode_128_adapter: {
    suite: "adapters",
    ...decode(128),
    by: "adapters",
    adapter: true,
    shareOf: "decode_128",
  },
  prefill_512_merged: { suite: "adapters", ...prefill(512), by: "merged", own: true, shareOf: "prefill_512" },
  decode_128_merged: { suite: "adapters", ...decode(128), by: "merged", own: true, shareOf: "decode_128" },
  prefill_512_adapter_loaded: {
    suite: "adapters",
    ...prefill(512),
    by: "adapters",
    own: true,
    pairedWith: "prefill_512",
  },
  decode_128_adapter_loaded: {
    suite: "adapters",
    ...decode(128),
    by: "adapters",
    own: true,
    pairedWith: "decode_128",
  },
  prefill_512_adapter_int8: {
    suite: "adapters",
    ...prefill(512),
    by: "adapters",
    adapter: "int8",
    own: true,
    peersOf: "prefill_512_adapter",
    shareOf: "prefill_512",
  },
  decode_128_adapter_int8: {
    suite: "adapters",
    ...decode(128),
    by: "adapters",
    adapter: "int8",
    own: true,
    peersOf: "decode_128_adapter",
    shareOf: "decode_128",
  },
  batch_16: batch,
  batch_16_shared: { ...batch, by: "adapters", adapter: "shared", shareOf: "batch_16" },
  batch_16_adapters: { ...batch, by: "adapters", adapter: true, own: true, shareOf: "batch_16" },
  batch_16_adapters_int8: { ...batch, by: "adapters", adapter: "int8", own: true, shareOf: "batch_16" },
  extraction: { ...extract, promptLookup: false },
  prompt_lookup: { ...extract, promptLookup: true, shareOf: "extraction" },
};

export const GENERATION_SUITES = [...new Set(Object.values(FIGURES).map(({ suite }) => suite))];

/** The figures of some suites, and those that they are put beside: [name, figure]. */
export function figuresOf(suites) {
  const chosen = Object.entries(FIGURES).filter(([, { suite }]) => suites.includes(suite));
  const beside = new Set(chosen.flatMap(([, { shareOf, peersOf }]) => [shareOf, peersOf]));
  return Object.entries(FIGURES).filter(([name, { suite }]) => suites.includes(suite) || beside.has(name));
}

/** What a contender is asked. */
export function requestOf(
  { task = "generate", context, tokens, kvCache, sampling, adapter, promptLookup },
  seed,
) {
  return { task, context, tokens, kvCache, sampling, adapter, promptLookup, seed };
}

/** Prompt tokens a second where one token is asked for, else generated tokens a second. */
export const rateOf = ({ context, tokens }, { prefill_ms, decode_ms, decoded }) =>
  tokens === 1 ? (1000 * context) / prefill_ms : (1000 * decoded) / decode_ms;

/** The context in the middle of decoding. */
export const middleContext = ({ context }) => context + DECODED / 2;
