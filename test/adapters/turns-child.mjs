// Loads adapters in every way and prints, for each, the processor time of the longest turn of the event loop in ms: unlike the time on
// the wall, it does not depend on what else runs on the machine. Watched by turns.test.ts.
import { cpSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { loadModel } from "#lib/index.js";

const [path, adapters, gguf, home] = process.argv.slice(2);

/** Processor time of the main thread so far, in ms. */
const spent = () =>
  Number(readFileSync(`/proc/self/task/${process.pid}/schedstat`, "latin1").split(" ")[0]) / 1e6;
const nextTurn = () => new Promise((resolve) => setImmediate(resolve));
const longest = {};

async function measure(name, action) {
  let most = 0;
  let last = spent();
  let goesOn = true;
  const tick = () => {
    const now = spent();
    most = Math.max(most, now - last);
    last = now;
    if (goesOn) setImmediate(tick);
  };
  setImmediate(tick);
  await nextTurn();
  most = 0;
  await action();
  await nextTurn();
  await nextTurn();
  goesOn = false;
  longest[name] = most;
  await nextTurn();
}

// The meter itself: what holds up the event loop is seen.
await measure("busy loop", () => {
  const end = performance.now() + 200;
  while (performance.now() < end);
});
const model = await loadModel(path, { threads: 1 });
const { facts } = model;
await measure("first load", () => model.adapters.load("first", join(adapters, "patterns")));
await measure("another load", () => model.adapters.load("other", join(adapters, "dora")));
await measure("swap", () => model.adapters.swap("first", join(adapters, "plain")));
await measure("GGUF file", () => model.adapters.load("gguf", gguf));
for (let i = 0; i < 100; i++)
  cpSync(join(adapters, ["plain", "rslora", "second-layer"][i % 3]), join(home, "watched", `a${i}`), {
    recursive: true,
  });
await measure("watch of 100", () => model.adapters.watch(join(home, "watched"), { settleMs: 10 }));

// Every module in the highest rank: 95 MB.
const rank = 8192;
const { hiddenSize: hidden, intermediateSize: inner, vocabularySize: vocabulary } = facts;
const [queries, keys] = [facts.heads * facts.headDim, facts.kvHeads * facts.headDim];
const sizes = {
  "self_attn.q_proj": [hidden, queries],
  "self_attn.k_proj": [hidden, keys],
  "self_attn.v_proj": [hidden, keys],
  "self_attn.o_proj": [queries, hidden],
  "mlp.gate_proj": [hidden, inner],
  "mlp.up_proj": [hidden, inner],
  "mlp.down_proj": [inner, hidden],
};
const tensors = {};
const add = (name, ...shape) => {
  tensors[name] = { data: new Float32Array(shape[0] * shape[1]).fill(1e-3), shape };
};
for (let layer = 0; layer < facts.layers; layer++)
  for (const [module, [input, output]] of Object.entries(sizes)) {
    add(`model.layers.${layer}.${module}.lora_A.weight`, rank, input);
    add(`model.layers.${layer}.${module}.lora_B.weight`, output, rank);
  }
add("model.embed_tokens.lora_embedding_A", rank, vocabulary);
add("model.embed_tokens.lora_embedding_B", hidden, rank);
add("lm_head.lora_A.weight", rank, hidden);
add("lm_head.lora_B.weight", vocabulary, rank);
const modules = [...Object.keys(sizes).map((name) => name.split(".")[1]), "embed_tokens", "lm_head"];
const config = { peft_type: "LORA", r: rank, target_modules: modules };
await measure("tensors of 95 MB", () => model.adapters.load("tensors", { config, tensors }));

const header = {};
let offset = 0;
for (const [name, { data, shape }] of Object.entries(tensors)) {
  header[name] = { dtype: "F32", shape, data_offsets: [offset, offset + data.byteLength] };
  offset += data.byteLength;
}
const text = Buffer.from(JSON.stringify(header));
const weights = Buffer.alloc(8 + text.length + offset);
weights.writeBigUInt64LE(BigInt(text.length));
text.copy(weights, 8);
await measure("bytes of 95 MB", () => model.adapters.load("bytes", { config, weights }));
mkdirSync(join(home, "large"));
writeFileSync(join(home, "large", "adapter_config.json"), JSON.stringify({ ...config, lora_alpha: 16 }));
writeFileSync(join(home, "large", "adapter_model.safetensors"), weights);
await measure("folder of 95 MB", () => model.adapters.load("folder", join(home, "large")));
await measure("swap to what is known", () => model.adapters.swap("folder", { name: "bytes" }));
await model.dispose();
console.log(JSON.stringify({ bytes: weights.length, longest }));
