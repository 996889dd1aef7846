// A process that is watched by process-exit.test.ts: the last line of its output says how far it came.
import { loadModel } from "#lib/index.js";

const [mode, path] = process.argv.slice(2);
const prompt = { tokens: [1, 2, 3] };
const endless = { maxTokens: 2 ** 31 - 1 };
const model = await loadModel(path, { threads: 2, contextLength: 2 ** 20 });
console.log((await model.generate(prompt, { maxTokens: 3 }).result()).tokens.length);

switch (mode) {
  case "dispose":
    await model.dispose();
    break;
  case "idle":
    break;
  case "request":
    // Nobody awaits it, and still it is done before the process ends.
    void model
      .generate(prompt, { maxTokens: 300 })
      .result()
      .then(({ tokens }) => console.log(tokens.length));
    break;
  case "exit while generating":
    for await (const part of model.generate(prompt, endless)) if (part.tokens.length > 0) process.exit(7);
    break;
  case "exit while loading":
    void loadModel(path);
    process.exit(7);
    break;
  case "throw while generating":
    void model.generate(prompt, endless).result();
    setTimeout(() => {
      throw new Error("own");
    }, 10);
    break;
  case "failing requests": {
    // Nobody listens to any of them.
    model.generate(prompt, { adapter: "none" });
    model.generate({ tokens: [] });
    model.generate(prompt, { ...endless, signal: AbortSignal.timeout(20) });
    for await (const part of model.generate(prompt, endless)) if (part.tokens.length > 0) break;
    break;
  }
  case "collect": {
    // Engines that were never disposed go with their objects.
    const before = process.memoryUsage.rss();
    for (let i = 0; i < 25; i++) {
      const forgotten = await loadModel(path, { threads: 1 });
      await forgotten.generate(prompt, { maxTokens: 2 }).result();
      globalThis.gc();
      await new Promise((resolve) => setImmediate(resolve));
    }
    console.log(((process.memoryUsage.rss() - before) / 2 ** 20).toFixed(1));
    break;
  }
}
console.log("end");
