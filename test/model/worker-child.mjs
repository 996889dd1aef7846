// What runs in the workers of workers.test.ts. `workerData.action` says what; messages tell how far it is.
import { parentPort, workerData } from "node:worker_threads";
import { loadModel } from "#lib/index.js";

const { action, path, adapter } = workerData;
const prompt = { tokens: [1, 2, 3] };
const endless = { maxTokens: 2 ** 31 - 1 };
const load = () => loadModel(path, { threads: workerData.threads ?? 1, contextLength: 2 ** 20 });
const tell = (message) => parentPort.postMessage(message);
/** Keeps the worker alive until it is terminated. */
const wait = () => new Promise((resolve) => setTimeout(resolve, 2 ** 30));

switch (action) {
  case "generate": {
    const model = await load();
    const { tokens } = await model.generate(prompt, { maxTokens: 20, adapter: undefined }).result();
    tell([...tokens]);
    if (workerData.dispose) await model.dispose();
    break;
  }
  case "load": {
    tell("running");
    const model = await loadModel(path);
    tell(model.facts.layers);
    await wait();
    break;
  }
  case "generate for ever": {
    const model = await load();
    for (let i = 0; i < 3; i++) void model.generate({ tokens: [i + 1] }, endless).result();
    for await (const part of model.generate(prompt, endless)) if (part.tokens.length > 0) tell("running");
    break;
  }
  case "adapters for ever": {
    const model = await load();
    tell("running");
    for (let i = 0; ; i++) {
      await model.adapters.load(`a${i}`, adapter);
      void model.generate(prompt, { adapter: `a${i}`, maxTokens: 3 }).result();
      await model.adapters.unload(`a${i}`);
    }
  }

  case "disposed": {
    // The engine's object is still there when the worker ends.
    globalThis.kept = await load();
    await globalThis.kept.dispose();
    tell("running");
    await wait();
    break;
  }
  case "disposing": {
    const model = await load();
    void model.generate(prompt, endless).result();
    void model.checksum();
    void model.dispose();
    tell("running");
    await wait();
    break;
  }
  case "throw": {
    const model = await load();
    void model.generate(prompt, endless).result();
    tell("running");
    setTimeout(() => {
      throw new Error("own");
    }, 5);
    break;
  }
}
