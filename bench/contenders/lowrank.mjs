// This package as a contender. Arguments: model, threads, adapter folder or "".
import { loadModel } from "lowrank";
import { configHash } from "../config-hash.mjs";
import { promptTokens, serve } from "./protocol.mjs";

const [name, threads, folder] = process.argv.slice(2);
const model = await loadModel(name, { threads: Number(threads), contextLength: 4096 });
if (folder) await model.adapters.load("bench", folder);

/** Milliseconds up to the first token, and from there to the last of `tokens`. */
async function generate({ context, tokens, seed, adapter }) {
  const began = performance.now();
  const generation = model.generate(
    { tokens: promptTokens(context, seed) },
    { maxTokens: tokens, ignoreEndOfText: true, ...(adapter ? { adapter: "bench" } : {}) },
  );
  let first;
  for await (const part of generation) {
    first ??= performance.now();
    void part;
  }
  return { prefill_ms: first - began, decode_ms: performance.now() - first, decoded: tokens - 1 };
}

await serve({ config_hash: configHash(model), facts: model.facts }, { generate });
await model.dispose();
