#!/usr/bin/env node
// Random load on one engine for some time: requests of all kinds come, end, are cut off, run out of time, give way to others, with
// adapters being swapped, evicted and unloaded beneath them, and a second model that comes and goes; each result must be what
// the same request gives alone, no error may come that was not asked for, and memory must stay where it is.
//
//   npm run soak -- --minutes 2 [--seed 1]
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { loadModel } from "#lib/index.js";

const data = fileURLToPath(new URL("../golden/data/", import.meta.url));
const { values } = parseArgs({
  options: {
    minutes: { type: "string", default: "2" },
    seed: { type: "string", default: "1" },
    help: { type: "boolean", default: false },
  },
});
if (values.help) {
  process.stdout.write("npm run soak -- [--minutes N] [--seed N]      (default 2 and 1)\n");
  process.exit(0);
}
const seconds = 60 * Number(values.minutes);
let state = Number(values.seed) >>> 0;
if (!(seconds > 0)) {
  process.stderr.write(`Expected a number above 0 for --minutes, received ${values.minutes}.\n`);
  process.exit(2);
}

/** A whole number below `below`; the load is the same for the same seed. */
function random(below) {
  state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
  return Math.floor((state / 2 ** 32) * below);
}

/** Of the small model: keys and values of a token; and about what one of its adapters takes. */
const KV_BYTES_PER_TOKEN = 256;
const ADAPTER_BYTES = 64 * 1024;

const model = await loadModel(`${data}tiny-models/llama`, {
  threads: 2,
  maxSequences: 6,
  contextLength: 700,
  maxStepTokens: 64,
  kvCacheMemory: 2 * 704 * KV_BYTES_PER_TOKEN, // two contexts for six requests
  adapterMemory: 6 * ADAPTER_BYTES,
});
const ADAPTERS = ["plain", "dora", "rslora", "lora-bias"];
for (const name of ADAPTERS) await model.adapters.load(name, `${data}tiny-adapters/${name}`);
const checksum = await model.checksum();

/** Every request that may come, by its number; its outcome alone. */
const alone = new Map();
const KINDS = 60;
function requestOf(number) {
  const tokens = Array.from(
    { length: 1 + ((number * 37) % (number % 10 === 0 ? 640 : 60)) },
    (_, i) => (number * 7 + i * 13) % 250,
  );
  const options = {
    maxTokens: 1 + ((number * 11) % 50),
    temperature: number % 2,
    seed: number,
    logprobs: number % 5 === 0 ? 2 : false,
    adapter:
      number % 3 === 0
        ? undefined
        : [{ name: ADAPTERS[number % ADAPTERS.length], scale: 1 - (number % 4) / 4 }],
  };
  return { tokens, options };
}

/** How a request is served: none of it changes the outcome. */
const serving = () => ({
  priority: random(3) - 1,
  prefixCache: random(4) > 0,
  cacheSalt: random(8) === 0 ? "another" : "",
});

async function outcomeOf(number) {
  const { tokens, options } = requestOf(number);
  Object.assign(options, serving());
  if (number % 7 === 6) {
    const { logprob } = await model.score(
      { tokens },
      { tokens: [1, 2, 3] },
      { adapter: options.adapter, ...serving() },
    );
    return String(logprob);
  }
  const result = await model.generate({ tokens }, options).result();
  return JSON.stringify([[...result.tokens], result.finishReason, result.logprobs]);
}
for (let number = 0; number < KINDS; number++) alone.set(number, await outcomeOf(number));

let done = 0;
let cut = 0;
let swaps = 0;
let late = 0;
let comings = 0;
const until = Date.now() + seconds * 1000;

async function client() {
  while (Date.now() < until) {
    const number = random(KINDS);
    if (random(16) === 0) {
      const { tokens, options } = requestOf(number);
      const timeoutMs = 1 + random(20);
      const outcome = await model
        .generate({ tokens }, { ...options, maxTokens: 600, timeoutMs })
        .result()
        .catch(codeOf);
      if (outcome === "ERR_TIMEOUT") late++;
      else if (typeof outcome === "string")
        throw new Error(`Expected an answer or ERR_TIMEOUT, received ${outcome}.`);
      continue;
    }
    if (random(4) === 0) {
      // Cut off: by leaving the loop, by a signal, at once.
      const { tokens, options } = requestOf(number);
      const controller = new AbortController();
      const generation = model.generate(
        { tokens },
        { ...options, maxTokens: 600, signal: controller.signal },
      );
      const most = random(20);
      if (most < 3) controller.abort();
      else {
        let count = 0;
        for await (const part of generation) if ((count += part.tokens.length) > most) break;
      }
      await generation.result();
      cut++;
      continue;
    }
    const outcome = await outcomeOf(number);
    if (outcome !== alone.get(number)) {
      process.stderr.write(`Expected ${alone.get(number)} of request ${number}, received ${outcome}.\n`);
      process.exit(1);
    }
    done++;
  }
}

const codeOf = (error) => error.code ?? String(error);
const pause = (most) => new Promise((resolve) => setTimeout(resolve, random(most)));

/** Loads an adapter under a name of its own, runs requests with it and unloads it beneath them. */
async function visitor() {
  const options = { adapter: "visitor", maxTokens: 20, ignoreEndOfText: true };
  while (Date.now() < until) {
    await model.adapters.load("visitor", `${data}tiny-adapters/patterns`);
    const running = [1, 2, 3].map((token) => model.generate({ tokens: [token] }, options).result());
    await Promise.all([model.adapters.unload("visitor"), ...running]);
    await pause(40);
  }
}

/** A second model that is loaded, used and disposed of in the middle of its work. */
async function guest() {
  while (Date.now() < until) {
    const other = await loadModel(`${data}tiny-models/qwen2`, { threads: 2, contextLength: 512 });
    const running = [1, 2, 3].map((token) =>
      other.generate({ tokens: [token] }, { maxTokens: 500, ignoreEndOfText: true }).result(),
    );
    await pause(30);
    await other.dispose();
    for (const { finishReason } of await Promise.all(running))
      if (finishReason !== "aborted" && finishReason !== "length")
        throw new Error(`Expected the guest's requests to be aborted, one ended with ${finishReason}.`);
    comings++;
    await pause(200);
  }
}

/** Swaps each name to the same numbers again and again, under another content hash: another version, the same result. */
async function swapper() {
  const files = (name, file) => readFileSync(`${data}tiny-adapters/${name}/${file}`);
  while (Date.now() < until) {
    const name = ADAPTERS[random(ADAPTERS.length)];
    const config = JSON.parse(files(name, "adapter_config.json").toString("utf8"));
    const weights = new Uint8Array(files(name, "adapter_model.safetensors"));
    await model.adapters.swap(name, { config: { ...config, base_model_name_or_path: `${swaps}` }, weights });
    swaps++;
    await pause(5);
  }
}

function residentMib() {
  if (process.platform !== "linux") return process.memoryUsage.rss() / 2 ** 20;
  return Number(/RssAnon:\s+(\d+)/.exec(readFileSync("/proc/self/status", "utf8"))[1]) / 1024;
}

const memory = [];
const sampler = setInterval(
  () => {
    memory.push(residentMib());
    process.stdout.write(
      `${done} requests, ${cut} cut off, ${late} late, ${swaps} swaps, ${comings} guests, ` +
        `${model.statistics().preemptions} preemptions, ${memory.at(-1).toFixed(0)} MiB\n`,
    );
  },
  Math.max(1000, (seconds * 1000) / 12),
);
await Promise.all([...Array.from({ length: 12 }, client), swapper(), visitor(), guest()]);
clearInterval(sampler);

const { adapterBytes } = model.memory();
const kept = ADAPTERS.reduce((sum, name) => sum + model.adapters.get(name).bytes, 0);
const problems = [];
if (model.activeRequests !== 0) problems.push(`${model.activeRequests} requests are left`);
if (adapterBytes !== kept) problems.push(`adapters hold ${adapterBytes} bytes in place of ${kept}`);
if ((await model.checksum()) !== checksum) problems.push("the base weights changed");
// The first third is warm-up. The garbage collector's saw-tooth is a few MiB.
const settled = memory.slice(Math.ceil(memory.length / 3));
if (settled.length > 1 && settled.at(-1) > Math.max(...settled.slice(0, -1)) + 24)
  problems.push(`memory grows: ${memory.map((mib) => mib.toFixed(0)).join(", ")} MiB`);
const { preemptions, cachedTokens, promptTokens, waiting, active, kvCache } = model.statistics();
if (preemptions === 0 || cachedTokens === 0)
  problems.push("nothing was preempted, or nothing found in the prefix cache");
if (waiting + active !== 0 || kvCache.usedBytes !== 0)
  problems.push(`${kvCache.usedBytes} bytes of keys and values are left`);
await model.dispose();
process.stdout.write(
  `${done} requests as alone, ${cut} cut off, ${late} late, ${swaps} swaps, ${comings} guests, ${preemptions} preemptions, ` +
    `${cachedTokens} of ${promptTokens} prompt tokens cached\n`,
);
for (const problem of problems) process.stderr.write(`Expected a quiet end, but ${problem}.\n`);
process.exit(problems.length === 0 && done > 0 ? 0 : 1);
