#!/usr/bin/env node
// Loads, uses and disposes a small model again and again, and fails where the process grows:
//
//   node --expose-gc test/leak/cycles.mjs [CYCLES]      (default 1000; below 50 is refused)
//
// Each cycle loads the model and an adapter, generates with and without it, leaves a loop early, aborts a request and
// disposes. Resident memory is compared after a tenth of the cycles, when caches and heaps have their size, with the end.
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { loadModel } from "#lib/index.js";

/** Growth that is put down to fragmentation and to V8, in MiB. A forgotten engine would cost 1.7, a forgotten adapter 0.03 per cycle. */
const ALLOWED_MIB = 12;
const data = fileURLToPath(new URL("../golden/data/", import.meta.url));
const cycles = Number(process.argv[2] ?? 1000);
if (!Number.isInteger(cycles) || cycles < 50 || typeof globalThis.gc !== "function") {
  process.stderr.write("Expected at least 50 cycles, and node's option --expose-gc.\n");
  process.exit(2);
}

const prompt = { tokens: [1, 2, 3] };

async function cycle() {
  const model = await loadModel(`${data}tiny-models/llama`, { threads: 1 });
  await model.adapters.load("a", `${data}tiny-adapters/plain`);
  const runs = [
    model.generate(prompt, { maxTokens: 4 }),
    model.generate(prompt, { maxTokens: 4, adapter: "a" }),
  ];
  await Promise.all(runs.map((run) => run.result()));
  await model.adapters.swap("a", `${data}tiny-adapters/dora`);
  for await (const part of model.generate(prompt, { maxTokens: 500, adapter: "a" }))
    if (part.tokens.length > 0) break;
  void model.generate(prompt, { maxTokens: 500 });
  await model.logits(prompt.tokens);
  await model.dispose();
}

/** Resident memory in MiB, without what other processes share. */
function residentMib() {
  for (let i = 0; i < 3; i++) globalThis.gc();
  if (process.platform !== "linux") return process.memoryUsage.rss() / 2 ** 20;
  return Number(/RssAnon:\s+(\d+)/.exec(readFileSync("/proc/self/status", "utf8"))[1]) / 1024;
}

const warmUp = Math.ceil(cycles / 10);
for (let i = 0; i < warmUp; i++) await cycle();
const before = residentMib();
for (let i = warmUp; i < cycles; i++) {
  await cycle();
  if (process.stdout.isTTY && i % 20 === 0) process.stdout.write(`\rcycle ${i} of ${cycles}`);
}
const after = residentMib();
const grown = after - before;
process.stdout.write(
  `${cycles} cycles: ${before.toFixed(1)} MiB after ${warmUp}, ${after.toFixed(1)} MiB at the end, ${grown.toFixed(1)} MiB more\n`,
);
if (grown > ALLOWED_MIB) {
  process.stderr.write(`Expected at most ${ALLOWED_MIB} MiB of growth, received ${grown.toFixed(1)} MiB.\n`);
  process.exit(1);
}
