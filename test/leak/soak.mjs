#!/usr/bin/env node
// Random load on one engine for some time: requests of all kinds come, end, are cut off, with adapters being swapped
// beneath them; each result must be what the same request gives alone, and memory must stay where it is.
//
//   node test/leak/soak.mjs [SECONDS] [SEED]      (default 120 and 1)
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { loadModel } from "#lib/index.js";

const data = fileURLToPath(new URL("../golden/data/", import.meta.url));
const seconds = Number(process.argv[2] ?? 120);
let state = Number(process.argv[3] ?? 1) >>> 0;
if (!(seconds > 0)) {
  process.stderr.write("Expected a number of seconds above 0.\n");
  process.exit(2);
}

/** A whole number below `below`; the load is the same for the same seed. */
function random(below) {
  state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
  return Math.floor((state / 2 ** 32) * below);
}

const model = await loadModel(`${data}tiny-models/llama`, {
  threads: 2,
  maxSequences: 6,
  contextLength: 700,
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

async function outcomeOf(number) {
  const { tokens, options } = requestOf(number);
  if (number % 7 === 6) {
    const { logprob } = await model.score({ tokens }, { tokens: [1, 2, 3] }, { adapter: options.adapter });
    return String(logprob);
  }
  const result = await model.generate({ tokens }, options).result();
  return JSON.stringify([[...result.tokens], result.finishReason, result.logprobs]);
}
for (let number = 0; number < KINDS; number++) alone.set(number, await outcomeOf(number));

let done = 0;
let cut = 0;
let swaps = 0;
const until = Date.now() + seconds * 1000;

async function client() {
  while (Date.now() < until) {
    const number = random(KINDS);
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

/** Swaps each name to the same numbers again and again, under another content hash: another version, the same result. */
async function swapper() {
  const files = (name, file) => readFileSync(`${data}tiny-adapters/${name}/${file}`);
  while (Date.now() < until) {
    const name = ADAPTERS[random(ADAPTERS.length)];
    const config = JSON.parse(files(name, "adapter_config.json").toString("utf8"));
    const weights = new Uint8Array(files(name, "adapter_model.safetensors"));
    await model.adapters.swap(name, { config: { ...config, base_model_name_or_path: `${swaps}` }, weights });
    swaps++;
    await new Promise((resolve) => setTimeout(resolve, random(5)));
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
      `${done} requests, ${cut} cut off, ${swaps} swaps, ${memory.at(-1).toFixed(0)} MiB\n`,
    );
  },
  Math.max(1000, (seconds * 1000) / 12),
);
await Promise.all([...Array.from({ length: 12 }, client), swapper()]);
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
await model.dispose();
process.stdout.write(`${done} requests as alone, ${cut} cut off, ${swaps} swaps\n`);
for (const problem of problems) process.stderr.write(`Expected a quiet end, but ${problem}.\n`);
process.exit(problems.length === 0 && done > 0 ? 0 : 1);
