/** PEFT adapters with settings and tensors changed; what can be loaded answers, and is unloaded. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { loadModel } from "../../../dist/index.js";
import { DATA } from "./files.mjs";

const FOLDER = join(DATA, "tiny-adapters");
const SOURCES = [
  "plain",
  "rslora",
  "dora",
  "patterns",
  "regular-expression",
  "saved-modules",
  "bias-all",
  "embedding",
  "activated",
].filter((name) => readdirSync(FOLDER).includes(name));
const PATTERNS = [
  "(a+)+$",
  "(?i)Q_PROJ",
  "(.*)*x",
  ".*q_proj",
  "\\d++",
  "(q_proj|v_proj",
  "[",
  ".*(?=q)",
  "(a|a)*b",
  "all-linear",
];

/** Changes bytes: a few anywhere, or lengths and types in the header. */
function damage(random, bytes) {
  const copy = new Uint8Array(bytes);
  const header = Number(new DataView(copy.buffer).getBigUint64(0, true));
  for (let i = random.below(5); i > 0; i--)
    copy[random.chance(0.7) ? random.below(Math.min(header + 8, copy.length)) : random.below(copy.length)] =
      random.below(256);
  return random.chance(0.1) ? copy.subarray(0, random.below(copy.length)) : copy;
}

export async function createAdapters() {
  const model = await loadModel(join(DATA, "tiny-models", "llama"), { threads: 1, contextLength: 64 });
  return {
    async run(random) {
      const folder = join(FOLDER, random.pick(SOURCES));
      let config = JSON.parse(readFileSync(join(folder, "adapter_config.json"), "utf8"));
      if (random.chance(0.5)) config = random.mutate(config);
      if (random.chance(0.2))
        config[random.pick(["target_modules", "exclude_modules", "layers_pattern"])] = random.pick(PATTERNS);
      if (random.chance(0.1)) config.rank_pattern = { [random.pick(PATTERNS)]: random.number() };
      const weights = damage(random, readFileSync(join(folder, "adapter_model.safetensors")));
      await model.adapters.load("fuzzed", { config, weights });
      try {
        await model.generate({ tokens: [1, 2, 3] }, { adapter: "fuzzed", maxTokens: 2 }).result();
      } finally {
        await model.adapters.unload("fuzzed");
      }
    },
    dispose: () => model.dispose(),
  };
}
