// The whole model with an adapter on the emulated GPU, through the public API, against the CPU. See --help.
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { parseArgs } from "node:util";
import { Comparison, compareLogits } from "./lib/compare-logits.mjs";
import { randomConfig, randomTensors } from "./lib/random-adapter.mjs";
import { checkTools } from "./lib/tools.mjs";

const HELP = `npm run cuda:emulate -- [options]

Runs SmolLM2-135M with a random adapter on all seven projections on the EMULATED GPU (kernels as C++, a fiber for each CUDA
thread) and on the CPU, and compares them:
  w8-float32  the same greedy tokens; no logit further off than 2e-3
  int8        KL(CPU || GPU) no larger than KL(float32 || int8) on the CPU; ops layer by layer, each on the CPU's own input
and small models of every architecture with adapters of every kind with the golden files of transformers and PEFT.
Exits with 1 where a comparison fails.

  --model NAME         alias, folder or .gguf file               default smollm2-135m-instruct
  --prompt N           tokens of the prompt                      default 32
  --tokens N           tokens generated                          default 16
  --rank N             of the adapter; 0: no adapter             default 16
  --precision LIST     w8-float32, int8 or both, by commas       default w8-float32,int8
  --no-layers          leave out the comparison layer by layer
  --no-tiny            leave out the small models and their adapters
  --device cuda        a real GPU in place of the emulated one   default: the emulated one
  --json FILE          write the figures
`;

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const TEXT =
  "The pump in hall two was stopped on Monday because its bearing ran hot. The crew replaced the seal, filled in new oil and " +
  "measured the temperature for an hour before they handed the line back to production. What should the report say?";
const MAX_LOGIT_DIFFERENCE = 2e-3;

const { values: options } = parseArgs({
  options: {
    help: { type: "boolean", default: false },
    model: { type: "string", default: "smollm2-135m-instruct" },
    prompt: { type: "string", default: "32" },
    tokens: { type: "string", default: "16" },
    rank: { type: "string", default: "16" },
    precision: { type: "string", default: "w8-float32,int8" },
    "no-layers": { type: "boolean", default: false },
    "no-tiny": { type: "boolean", default: false },
    device: { type: "string", default: "emulated" },
    json: { type: "string" },
  },
});
if (options.help) {
  process.stdout.write(HELP);
  process.exit(0);
}

function fail(message) {
  process.stderr.write(`${message}\n`);
  process.exit(2);
}
function integer(name, least, most) {
  const value = Number(options[name]);
  if (!Number.isInteger(value) || value < least || value > most)
    fail(`Expected an integer from ${least} to ${most} for --${name}, received ${options[name]}.`);
  return value;
}
const promptLength = integer("prompt", 1, 1000);
const generated = integer("tokens", 1, 1000);
const rank = integer("rank", 0, 256);
const precisions = options.precision.split(",");
for (const precision of precisions)
  if (!["w8-float32", "int8"].includes(precision))
    fail(`Expected w8-float32 or int8 for --precision, received ${precision}.`);
if (!["emulated", "cuda"].includes(options.device))
  fail(`Expected emulated or cuda for --device, received ${options.device}.`);
const emulated = options.device === "emulated";
const label = emulated ? "EMULATED GPU" : "GPU";

const say = (line) => process.stdout.write(`${line}\n`);
const seconds = (ms) => `${(ms / 1000).toFixed(2)} s`;

/** Builds targets of the native tests; returns the folder that they lie in. */
function build(...targets) {
  checkTools(["cmake", "c++"]);
  const run = (...args) => {
    const { status } = spawnSync("cmake", args, { cwd: root, stdio: ["ignore", "inherit", "inherit"] });
    if (status !== 0) process.exit(1);
  };
  const configure = ["-DCMAKE_BUILD_TYPE=Release", "-Wno-dev", "--log-level=WARNING"];
  run("-S", ".", "-B", "build-native", ...configure);
  run(
    ...["--build", "build-native", "--parallel", String(availableParallelism()), "--target", ...targets],
    ...["--", "--no-print-directory", "-s"],
  );
  return join(root, "build-native", "test", "cuda");
}

say(
  emulated
    ? "EMULATED: CUDA kernels compiled as C++ and run on the CPU. Times say nothing about a GPU."
    : "Kernels on the GPU of this machine.",
);
const began = performance.now();
const targets = [
  ...(emulated ? ["lowrank_cuda_emulated"] : []),
  ...(options["no-layers"] || !precisions.includes("int8") ? [] : ["lowrank_cuda_layers"]),
];
const folder = targets.length > 0 ? build(...targets) : "";
if (emulated) process.env.LOWRANK_CUDA_PLUGIN = join(folder, "liblowrank_cuda_emulated.so");

const { devices, loadModel } = await import(pathToFileURL(join(root, "dist/index.js")));
const gpu = (await devices()).find(({ backend, available }) => backend === "cuda" && available);
if (!gpu) fail(`No ${label}: ${(await devices()).find(({ backend }) => backend === "cuda").reason}`);
if (gpu.emulated !== emulated)
  fail(`Expected ${emulated ? "an emulated" : "a real"} device, found ${gpu.name}.`);
say(`${gpu.id}: ${gpu.name}, compute capability ${gpu.computeCapability}`);

async function load(device, precision) {
  const start = performance.now();
  const model = await loadModel(options.model, {
    device,
    precision,
    contextLength: promptLength + generated,
    maxSequences: 1,
    packedDirectory: false,
  });
  if (rank > 0)
    await model.adapters.load("random", {
      tensors: randomTensors(model.facts, rank),
      config: randomConfig(rank),
    });
  say(
    `  loaded on ${device === "cpu" ? "the CPU" : `the ${label}`} in ${seconds(performance.now() - start)}`,
  );
  return model;
}

const adapter = rank > 0 ? { adapter: "random" } : {};

/** Greedy tokens of a prompt and the logits of every position of prompt and answer. */
async function run(model, prompt, name) {
  const start = performance.now();
  let first = 0;
  const tokens = [];
  const generation = model.generate({ tokens: prompt }, { ...adapter, maxTokens: generated, stopTokens: [] });
  for await (const part of generation) {
    tokens.push(...part.tokens);
    first ||= performance.now();
  }
  const end = performance.now();
  const each = tokens.length > 1 ? (end - first) / (tokens.length - 1) : 0;
  say(
    `  ${name}: ${promptLength} tokens read in ${seconds(first - start)}, ${tokens.length} generated, ${seconds(each)} each`,
  );
  return { tokens, prefillMs: first - start, tokenMs: each };
}

const logitsOf = (model, tokens) => model.logits(tokens, adapter);

function largestDifference(a, b) {
  let largest = 0;
  for (let i = 0; i < a.logits.length; i++) largest = Math.max(largest, Math.abs(a.logits[i] - b.logits[i]));
  return largest;
}

function divergence(reference, measured, tokens) {
  const comparison = new Comparison();
  compareLogits(reference, measured, tokens, comparison);
  return comparison.summary();
}

const results = { device: gpu, emulated, promptLength, generated, rank, precisions: {} };
let passed = true;
function check(name, ok, facts) {
  passed &&= ok;
  say(`  ${ok ? "ok  " : "FAIL"} ${name}: ${facts}`);
  return ok;
}

/** The text's first tokens; for a model that has no tokenizer, some token ids. */
async function promptFor(model) {
  try {
    const tokens = await model.tokenize(TEXT.repeat(Math.ceil(promptLength / 30)));
    return [...tokens].slice(0, promptLength);
  } catch (error) {
    if (error.code !== "ERR_TOKENIZER") throw error;
    return Array.from({ length: promptLength }, (_, i) => (37 * i + 11) % model.facts.vocabularySize);
  }
}

for (const precision of precisions) {
  say(`\n${precision}`);
  const cpu = await load("cpu", precision);
  const prompt = await promptFor(cpu);
  const onCpu = await run(cpu, prompt, "CPU");
  const all = [...prompt, ...onCpu.tokens];
  const expected = await logitsOf(cpu, all);
  await cpu.dispose();

  const model = await load("cuda", precision);
  const onGpu = await run(model, prompt, label);
  const measured = await logitsOf(model, all);
  await model.dispose();

  const difference = largestDifference(expected, measured);
  const same = onGpu.tokens.every((token, i) => token === onCpu.tokens[i]);
  const kl = divergence(expected, measured, all);
  const result = { cpu: onCpu, gpu: onGpu, sameTokens: same, largestLogitDifference: difference, kl };
  results.precisions[precision] = result;
  if (precision === "w8-float32") {
    check(
      "the same greedy tokens",
      same,
      same ? `${onCpu.tokens.length} of them` : `${onCpu.tokens} on the CPU, ${onGpu.tokens} there`,
    );
    check(
      "logits",
      difference <= MAX_LOGIT_DIFFERENCE,
      `largest difference ${difference.toExponential(2)} over ${expected.positions} positions, bound ${MAX_LOGIT_DIFFERENCE}`,
    );
    continue;
  }
  const float32 = await load("cpu", "float32");
  const own = divergence(await logitsOf(float32, all), expected, all);
  await float32.dispose();
  result.klOfInt8 = own;
  check(
    "KL(CPU || GPU)",
    kl.kl_mean <= own.kl_mean,
    `${kl.kl_mean.toExponential(2)} nats, that of int8 against float32 is ${own.kl_mean.toExponential(2)}; ` +
      `top-1 ${(100 * kl.top1).toFixed(1)} %, ${same ? "the same" : "other"} greedy tokens`,
  );
}

if (targets.includes("lowrank_cuda_layers")) {
  say("\nint8, layer by layer");
  const { resolveModel } = await import(pathToFileURL(join(root, "dist/model/index.js")));
  const { path } = await resolveModel(options.model, {});
  const { status } = spawnSync(
    join(folder, "lowrank_cuda_layers"),
    [path, String(promptLength), String(rank)],
    {
      stdio: ["ignore", "inherit", "inherit"],
    },
  );
  results.layersPassed = status === 0;
  check("every op of every layer on the same input", status === 0, "within the tolerance of its contract");
}

if (!options["no-tiny"]) {
  say("\nsmall models and adapters of every kind, against transformers and PEFT");
  const vitest = join(root, "node_modules", "vitest", "vitest.mjs");
  const { status } = spawnSync(
    process.execPath,
    [
      vitest,
      "run",
      "--reporter=dot",
      "test/fidelity/tiny-models.test.ts",
      "test/fidelity/tiny-adapters.test.ts",
    ],
    {
      cwd: root,
      stdio: ["ignore", "inherit", "inherit"],
      env: { ...process.env, LOWRANK_TEST_DEVICE: "cuda" },
    },
  );
  results.tinyPassed = status === 0;
  check("golden logits and greedy texts", status === 0, "in float32 and with int8 weights");
}

results.seconds = (performance.now() - began) / 1000;
if (options.json) {
  mkdirSync(dirname(options.json), { recursive: true });
  writeFileSync(options.json, `${JSON.stringify({ ...results, passed }, null, 2)}\n`);
}
say(
  `\n${emulated ? "EMULATED: " : ""}${passed ? "equal within the bounds" : "NOT EQUAL"}, ${seconds(results.seconds * 1000)} in all`,
);
process.exit(passed ? 0 : 1);
