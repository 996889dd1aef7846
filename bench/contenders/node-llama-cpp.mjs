// node-llama-cpp as a contender. Arguments: its folder, GGUF model, threads, GGUF adapter or "".
import { createRequire } from "node:module";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { promptTokens, serve } from "./protocol.mjs";

const [folder, modelPath, threads, adapter] = process.argv.slice(2);
const require = createRequire(join(folder, "package.json"));
const { getLlama } = await import(pathToFileURL(require.resolve("node-llama-cpp")));
const llama = await getLlama({ gpu: false, build: "never", maxThreads: Number(threads), logLevel: "error" });
const model = await llama.loadModel({ modelPath, gpuLayers: 0 });
const contextWith = (lora) =>
  model.createContext({ contextSize: 4096, batchSize: 512, sequences: 1, threads: Number(threads), ...lora });
const plain = await contextWith({});
const adapted = adapter ? await contextWith({ lora: { adapters: [{ filePath: adapter }] } }) : undefined;
const sequences = { plain: plain.getSequence(), adapted: adapted?.getSequence() };

async function generate({ context, tokens, seed, adapter: wanted }) {
  const sequence = wanted ? sequences.adapted : sequences.plain;
  await sequence.clearHistory();
  const began = performance.now();
  let first;
  let count = 0;
  for await (const token of sequence.evaluate(promptTokens(context, seed), {
    temperature: 0,
    yieldEogToken: true,
  })) {
    first ??= performance.now();
    void token;
    if (++count === tokens) break;
  }
  return { prefill_ms: first - began, decode_ms: performance.now() - first, decoded: count - 1 };
}

await serve({ threads: plain.currentThreads }, { generate });
await llama.dispose();
