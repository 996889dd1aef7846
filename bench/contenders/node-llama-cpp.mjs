// node-llama-cpp as a contender. Arguments: its folder, GGUF model, threads, GGUF adapter or "".
import { createRequire } from "node:module";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { allDecoding, BATCH, promptTokens, serve } from "./protocol.mjs";

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

/** The same with 16 sequences of one context, which it evaluates together. */
const many = new Map();
async function sequencesOf(adapted) {
  const key = Boolean(adapted);
  if (!many.has(key)) {
    const lora = adapted ? { lora: { adapters: [{ filePath: adapter }] } } : {};
    const context = await model.createContext({
      contextSize: 512,
      batchSize: 512,
      sequences: BATCH,
      threads: Number(threads),
      ...lora,
    });
    many.set(
      key,
      Array.from({ length: BATCH }, () => context.getSequence()),
    );
  }
  return many.get(key);
}

async function batch({ context, tokens, seed, adapter: wanted }) {
  const times = await Promise.all(
    (await sequencesOf(wanted)).map(async (sequence, i) => {
      await sequence.clearHistory();
      const own = [];
      const prompt = promptTokens(context, BATCH * seed + i);
      for await (const token of sequence.evaluate(prompt, { temperature: 0, yieldEogToken: true })) {
        own.push(performance.now());
        void token;
        if (own.length === tokens) break;
      }
      return own;
    }),
  );
  return allDecoding(times);
}

await serve({ threads: plain.currentThreads }, { generate, batch });
await llama.dispose();
