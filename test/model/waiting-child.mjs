// A process that does nothing but wait for one promise of the package; watched by waiting.test.ts. It must not end before it settles.
import { copyFileSync, cpSync, mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { loadModel } from "#lib/index.js";

const [mode, path, adapter, home] = process.argv.slice(2);
const prompt = { tokens: [1, 2, 3] };
const long = { maxTokens: 400, ignoreEndOfText: true };

function write(folder) {
  mkdirSync(folder, { recursive: true });
  for (const name of readdirSync(adapter)) copyFileSync(join(adapter, name), join(folder, name));
}

const model = await loadModel(path, {
  threads: 1,
  adapterMemory: 64 * 2 ** 20,
  adapterDirectory: join(home, "spill"),
});
const { adapters } = model;

/** The model with a tokenizer and a chat template. */
async function textModel() {
  const folder = join(home, "text");
  cpSync(path, folder, { recursive: true });
  const letters = Array.from({ length: 94 }, (_, i) => String.fromCharCode(33 + i)).concat("Ġ");
  const byteLevel = { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: true };
  const vocab = Object.fromEntries(letters.map((letter, id) => [letter, id]));
  const tokenizer = {
    version: "1.0",
    added_tokens: [],
    normalizer: null,
    pre_tokenizer: byteLevel,
    post_processor: null,
    decoder: byteLevel,
    model: { type: "BPE", vocab, merges: [] },
  };
  writeFileSync(join(folder, "tokenizer.json"), JSON.stringify(tokenizer));
  const template = "{% for message in messages %}{{ message.content }}{% endfor %}";
  writeFileSync(join(folder, "tokenizer_config.json"), JSON.stringify({ chat_template: template }));
  return loadModel(folder, { threads: 1 });
}
const withText = ["chat", "tokenize"].includes(mode) ? await textModel() : null;

const waits = {
  load: () => loadModel(path, { precision: "float32" }),
  generate: () => model.generate(prompt, long).result(),
  stream: async () => {
    for await (const part of model.generate(prompt, long)) if (part.tokens.length === 0) break;
  },
  score: () => model.score(prompt, prompt),
  logits: () => model.logits([1, 2, 3]),
  timeout: () =>
    model
      .generate(prompt, { maxTokens: 2 ** 20, timeoutMs: 50 })
      .result()
      .catch(() => {}),
  adapter: () => adapters.load("a", adapter),
  "adapter from memory": () =>
    adapters.load("a", {
      config: { peft_type: "LORA", r: 1, target_modules: ["q_proj"], layers_to_transform: [0] },
      tensors: {
        "model.layers.0.self_attn.q_proj.lora_A.weight": { data: new Float32Array(64), shape: [1, 64] },
        "model.layers.0.self_attn.q_proj.lora_B.weight": { data: new Float32Array(64), shape: [64, 1] },
      },
    }),
  swap: () => adapters.load("a", adapter).then(() => adapters.swap("a", adapter, { precision: "int8" })),
  unload: async () => {
    await adapters.load("a", adapter);
    void model.generate(prompt, { ...long, adapter: "a" }).result();
    await adapters.unload("a");
  },
  prefetch: () => adapters.load("a", adapter).then(() => adapters.prefetch("a")),
  watch: async () => {
    write(join(home, "watched", "one"));
    const watch = await adapters.watch(join(home, "watched"), { settleMs: 300 });
    if (!adapters.has("one")) throw new Error("Expected the adapter to be loaded.");
    await watch.close();
  },
  "watch of many": async () => {
    for (let i = 0; i < 20; i++) write(join(home, "watched", `a${i}`));
    await adapters.watch(join(home, "watched"), { settleMs: 300 });
    if (adapters.list().length !== 20) throw new Error("Expected 20 adapters to be loaded.");
  },
  "watch with polling": async () => {
    write(join(home, "watched", "one"));
    await adapters.watch(join(home, "watched"), { settleMs: 300, pollMs: 100 });
    if (!adapters.has("one")) throw new Error("Expected the adapter to be loaded.");
  },
  "end of a watch": async () => {
    mkdirSync(join(home, "watched"));
    const signal = AbortSignal.timeout(500); // which keeps nothing running itself
    await (
      await adapters.watch(join(home, "watched"), { signal })
    ).closed;
  },
  compare: () => model.compare([prompt], [null, { label: "again", adapter: null }], { maxTokens: 8 }),
  checksum: () => model.checksum(),
  tokenize: () => withText.tokenize("a ".repeat(10_000)),
  chat: () => withText.chat([{ role: "user", content: "Hello" }], long).result(),
  dispose: async () => {
    void model
      .generate(prompt, { maxTokens: 2 ** 20 })
      .result()
      .catch(() => {});
    await model.dispose();
  },
};

await waits[mode]();
writeFileSync(1, "settled\n");
