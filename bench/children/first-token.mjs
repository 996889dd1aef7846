// A fresh process: from the import to the first token, and what it then holds. Prints one line of JSON.
// Usage: node first-token.mjs [FOLDER of packed weights; none: not to use any]
import { readFileSync } from "node:fs";

const began = performance.now();
const { loadModel } = await import("lowrank");
const imported = performance.now();
const model = await loadModel("smollm2-135m-instruct", { packedDirectory: process.argv[2] ?? false });
const loaded = performance.now();
const generation = model.generate("The sky is", { maxTokens: 1 });
for await (const part of generation) void part;
const first = performance.now();

/** Kibibytes of a line of /proc/self/status as bytes; undefined where there is no such file. */
function status(name) {
  try {
    const line = new RegExp(`^${name}:\\s+(\\d+) kB$`, "m").exec(readFileSync("/proc/self/status", "utf8"));
    return line ? Number(line[1]) * 1024 : undefined;
  } catch {
    return undefined;
  }
}

const result = {
  import_ms: imported - began,
  load_ms: loaded - imported,
  first_token_ms: first - imported,
  packed: model.facts.packedWeights,
  rss: status("VmRSS") ?? process.memoryUsage.rss(),
  peak: status("VmHWM"),
  memory: model.memory(),
};
await model.dispose();
process.stdout.write(`${JSON.stringify(result)}\n`);
