#!/usr/bin/env node
// Loads, uses and disposes a small model again and again, and fails where the process grows:
//
//   node test/leak/cycles.mjs [CYCLES]      (default 1000, at least 50)
//
// Each cycle loads the model and adapters, generates with and without them, leaves a loop early, leaves a request behind
// and disposes. Resident memory after the first cycles, when caches and heaps have their size, is compared with the end.
import { fileURLToPath } from "node:url";
import { loadModel } from "#lib/index.js";
import { cyclesWanted, expectFlat, withCollector } from "./resident.mjs";

/** Growth put down to fragmentation, in MiB. A forgotten engine would cost 1.7 in each cycle, a forgotten adapter 0.03. */
const ALLOWED_MIB = 4;
const data = fileURLToPath(new URL("../golden/data/", import.meta.url));
const cycles = cyclesWanted();
withCollector();

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

await expectFlat({ cycles, warmUp: 30, allowedMib: ALLOWED_MIB, cycle });
