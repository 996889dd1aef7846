// One process that measures a model on a device: prefill and decode, without and with an adapter. Prints JSON.
// Usage: node scripts/cuda/rates.mjs DEVICE MODEL ADAPTER ROUNDS CONTEXT,… TOKENS (ADAPTER a folder, or "")
import { loadModel } from "../../dist/index.js";

const [device, name, folder, rounds, contexts, tokens] = process.argv.slice(2);
const BATCH = 16;
const NAME = "selftest";

const median = (values) => values.sort((a, b) => a - b)[Math.floor(values.length / 2)];

/** Prompt tokens that no cache has seen, all of them below the vocabulary of any model. */
const prompt = (length, seed) => ({
  tokens: Int32Array.from({ length }, (_, i) => 4 + ((i * 7919 + seed * 104729) % 200)),
});

const model = await loadModel(name, { device, contextLength: 4096, maxSequences: BATCH });
const adapters = folder === "" ? [undefined] : [undefined, NAME];
if (folder !== "") await model.adapters.load(NAME, folder);

async function generate(context, count, seed, adapter) {
  const options = { maxTokens: count, ignoreEndOfText: true, prefixCache: false, temperature: 0 };
  const { timings } = await model
    .generate(prompt(context, seed), adapter === undefined ? options : { ...options, adapter })
    .result();
  return timings;
}

const rates = [];
let seed = 0;
for (const context of contexts.split(",").map(Number))
  for (const adapter of adapters) {
    const single = [];
    for (let round = 0; round <= Number(rounds); ++round) {
      const timings = await generate(context, Number(tokens), ++seed, adapter);
      if (round > 0 || rounds === "0") single.push(timings); // the first one builds graphs
    }
    const together = await Promise.all(
      Array.from({ length: BATCH }, () => generate(context, Number(tokens), ++seed, adapter)),
    );
    rates.push({
      context,
      adapter: adapter !== undefined,
      prefill_tokens_per_second: median(single.map((one) => one.prefillTokensPerSecond)),
      decode_tokens_per_second: median(single.map((one) => one.decodeTokensPerSecond)),
      // The slowest of them decoded beside all the others.
      decode_16_tokens_per_second: BATCH * Math.min(...together.map((one) => one.decodeTokensPerSecond)),
    });
  }
const { weightBytes, adapterBytes } = model.memory();
process.stdout.write(`${JSON.stringify({ device: model.device, weightBytes, adapterBytes, rates })}\n`);
await model.dispose();
