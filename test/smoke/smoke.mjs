// A short tour of the package for one Node version; prints what it computed, for node-versions.mjs to compare.
import { fileURLToPath } from "node:url";
import { isMainThread, Worker, parentPort } from "node:worker_threads";
import { loadModel, LowrankError } from "#lib/index.js";

const data = fileURLToPath(new URL("../golden/data/", import.meta.url));

async function tour() {
  const model = await loadModel(`${data}tiny-gguf/llama-f16.gguf`, { threads: 2 });
  const options = { maxTokens: 24, temperature: 0.8, seed: 1, ignoreEndOfText: true };
  await model.adapters.load("a", `${data}tiny-gguf/plain-f32.gguf`);
  let text = "";
  for await (const part of model.generate("Once upon a time", options)) text += part.text;
  const adapted = await model.generate("Once upon a time", { ...options, adapter: "a" }).result();
  const { logprob } = await model.score("Once upon", " a time");
  let code = "";
  try {
    await model.adapters.load("a", "/nowhere");
  } catch (error) {
    if (LowrankError.isInstance(error)) code = error.code;
  }
  const running = model.generate("Once", { maxTokens: 1000, ignoreEndOfText: true });
  await model.dispose();
  const { finishReason } = await running.result();
  return { text, adapted: [...adapted.tokens], logprob, code, finishReason };
}

if (isMainThread) {
  const here = await tour();
  const there = await new Promise((resolve, reject) => {
    new Worker(new URL(import.meta.url)).on("message", resolve).on("error", reject);
  });
  if (JSON.stringify(here) !== JSON.stringify(there))
    throw new Error(`Expected the same in a worker, received ${JSON.stringify(there)}.`);
  console.log(JSON.stringify(here));
} else {
  parentPort.postMessage(await tour());
}
