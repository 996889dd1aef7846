// Loads a model, computes, and stays until it is told to end: for what its memory is meanwhile.
// Arguments: the model, a folder for packed weights, "share" or "own". Lines of stdin: "generate" computes again, an end of it ends.
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { loadModel } from "lowrank";

const [, , path, packedDirectory, mode] = process.argv;
const model = await loadModel(path, {
  packedDirectory,
  shareWeights: mode === "share",
  threads: 1,
  contextLength: 64,
  maxSequences: 1,
});

/** PSS and private memory, in bytes. */
function memory() {
  const text = readFileSync("/proc/self/smaps_rollup", "utf8");
  const kilobytes = (name) => Number(new RegExp(`^${name}: +(\\d+) kB`, "m").exec(text)[1]);
  return {
    pss: 1024 * kilobytes("Pss"),
    private: 1024 * (kilobytes("Private_Clean") + kilobytes("Private_Dirty")),
  };
}

async function report() {
  const { tokens } = await model.generate({ tokens: [1, 2, 3, 4] }, { maxTokens: 8 }).result();
  const { packedWeights, sharedWeights, weightBytes } = model.facts;
  const facts = { packedWeights, sharedWeights, weightBytes };
  console.log(JSON.stringify({ ...facts, tokens, ...memory() }));
}

await report();
for await (const line of createInterface({ input: process.stdin })) if (line === "generate") await report();
await model.dispose();
