#!/usr/bin/env node
// Loads, uses and unloads adapters in one engine again and again, and fails where the process grows or an unload frees nothing:
//
//   node test/leak/adapters.mjs [CYCLES]      (default 1000, at least 50)
//
// First a large adapter on a real model (rank 256 on all projections of SmolLM2): what its unload gives back to the system is measured. Then
// each cycle, on a small model, loads from typed arrays and from a folder, generates, swaps, rolls back, lets adapters be evicted and read
// again under a memory limit, and unloads everything.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { loadModel } from "#lib/index.js";
import { writeRandomAdapter } from "../../scripts/lib/random-adapter.mjs";
import { cyclesWanted, expectFlat, residentMib, withCollector } from "./resident.mjs";

/** Growth put down to fragmentation, in MiB. A forgotten adapter would cost 0.03 in each cycle, its numbers in JavaScript as much. */
const ALLOWED_MIB = 6;
/** What of the large adapter may stay in MiB: slabs of huge pages that it shares with others, which are 32 MiB. */
const ALLOWED_LEFT_MIB = 32;
const LARGE_RANK = 256;
const data = fileURLToPath(new URL("../golden/data/", import.meta.url));
const cycles = cyclesWanted();
withCollector();

const prompt = { tokens: [1, 2, 3] };
const scratch = await mkdtemp(join(tmpdir(), "lowrank-leak-"));

/** MiB that the adapter takes by the engine's account, adds to the process, and leaves there after its unload. */
async function largeAdapter(model) {
  const settled = async () => {
    residentMib();
    await sleep(100); // buffers are freed behind the collector, and the engine's thread lets go of the request
    return residentMib();
  };
  const before = await settled();
  const { bytes } = await model.adapters.load("large", join(scratch, "large"));
  await model.generate(prompt, { maxTokens: 2, adapter: "large" }).result();
  const loaded = await settled();
  await model.adapters.unload("large");
  if (model.memory().adapterBytes !== 0)
    throw new Error("Expected no adapter to be counted after the unload.");
  return { mib: bytes / 2 ** 20, taken: loaded - before, left: (await settled()) - before };
}

const real = await loadModel("smollm2-135m-instruct");
await writeRandomAdapter(join(scratch, "large"), real.facts, LARGE_RANK);
await largeAdapter(real); // scratch and heaps take their size
const { mib, taken, left } = await largeAdapter(real);
await real.dispose();
process.stdout.write(
  `a large adapter: ${mib.toFixed(1)} MiB, ${taken.toFixed(1)} resident, ${left.toFixed(1)} after its unload\n`,
);
if (taken < mib / 2 || left > ALLOWED_LEFT_MIB) {
  process.stderr.write(`Expected at most ${ALLOWED_LEFT_MIB} MiB after the unload.\n`);
  process.exit(1);
}

// Less than the adapters of a cycle take together, so that some are evicted.
const model = await loadModel(`${data}tiny-models/llama`, {
  threads: 1,
  adapterMemory: 40_000,
  adapterDirectory: join(scratch, "copies"),
});
const { adapters, facts } = model;

/** q_proj and v_proj of every layer, all numbers alike but for `value`. */
function pairs(rank, value) {
  const tensors = {};
  for (let layer = 0; layer < facts.layers; layer++)
    for (const [module, rows] of [
      ["q_proj", facts.heads * facts.headDim],
      ["v_proj", facts.kvHeads * facts.headDim],
    ]) {
      const name = `base_model.model.model.layers.${layer}.self_attn.${module}`;
      const { hiddenSize } = facts;
      tensors[`${name}.lora_A.weight`] = {
        data: new Float32Array(rank * hiddenSize).fill(value),
        shape: [rank, hiddenSize],
      };
      tensors[`${name}.lora_B.weight`] = {
        data: new Float32Array(rows * rank).fill(1 / 64),
        shape: [rows, rank],
      };
    }
  return {
    config: { peft_type: "LORA", r: rank, lora_alpha: rank, target_modules: ["q_proj", "v_proj"] },
    tensors,
  };
}

async function cycle(i) {
  const use = (adapter) => model.generate(prompt, { maxTokens: 2, adapter }).result();
  await model.adapters.load("a", pairs(4, 1 / (1 + (i % 64))));
  await model.adapters.load("b", `${data}tiny-adapters/plain`);
  await model.adapters.load("c", pairs(8, 1 / 64));
  await Promise.all(["a", "b", "c", "a"].map(use));
  await model.adapters.swap("a", `${data}tiny-adapters/rslora`);
  await use("a");
  if (model.adapters.list().every(({ state }) => state === "resident"))
    throw new Error("Expected an eviction.");
  await model.adapters.rollback("a");
  await use([{ name: "a" }, { name: "b", scale: 0.5 }]);
  await model.adapters.alias("d", "c");
  await use("d");
  await model.adapters.unload("d");
  for (const { name } of model.adapters.list()) await model.adapters.unload(name);
  const { adapterBytes } = model.memory();
  if (adapterBytes !== 0) throw new Error(`Expected no adapter in memory, ${adapterBytes} bytes are left.`);
}

await expectFlat({ cycles, warmUp: 30, allowedMib: ALLOWED_MIB, cycle });
await model.dispose();
await rm(scratch, { recursive: true });
