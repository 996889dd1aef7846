#!/usr/bin/env node
// Loads, uses and disposes a small model again and again, and fails where the process grows:
//
//   node test/leak/cycles.mjs [CYCLES]      (default 1000, at least 50)
//
// Each cycle loads the model and adapters, generates with and without them, leaves a loop early, leaves a request behind
// and disposes. Resident memory after the first cycles, when caches and heaps have their size, is compared with the end.
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { loadModel } from "#lib/index.js";

/** Growth put down to fragmentation, in MiB. A forgotten engine would cost 1.7 in each cycle, a forgotten adapter 0.03. */
const ALLOWED_MIB = 4;
const WARM_UP = 30;
const data = fileURLToPath(new URL("../golden/data/", import.meta.url));
const cycles = Number(process.argv[2] ?? 1000);
if (!Number.isInteger(cycles) || cycles < 50) {
  process.stderr.write("Expected at least 50 cycles.\n");
  process.exit(2);
}
if (typeof globalThis.gc !== "function") {
  // A young generation and an allocator that take their final size at once: V8 would let the one grow over hundreds of
  // cycles, glibc gives each new thread an arena of its own.
  const flags = ["--expose-gc", "--max-semi-space-size=1"];
  const { status } = spawnSync(process.execPath, [...flags, ...process.argv.slice(1)], {
    stdio: "inherit",
    env: { ...process.env, MALLOC_ARENA_MAX: "1" },
  });
  process.exit(status ?? 1);
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

for (let i = 0; i < WARM_UP; i++) await cycle();
const before = residentMib();
for (let i = WARM_UP; i < cycles; i++) {
  await cycle();
  if (process.stdout.isTTY && i % 20 === 0) process.stdout.write(`\rcycle ${i} of ${cycles}`);
}
const after = residentMib();
const grown = after - before;
process.stdout.write(
  `${cycles} cycles: ${before.toFixed(1)} MiB after ${WARM_UP}, ${after.toFixed(1)} MiB at the end, ${grown.toFixed(1)} MiB more\n`,
);
if (grown > ALLOWED_MIB) {
  process.stderr.write(`Expected at most ${ALLOWED_MIB} MiB of growth, received ${grown.toFixed(1)} MiB.\n`);
  process.exit(1);
}
