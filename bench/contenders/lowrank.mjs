// This package as a contender. Arguments: model (name or file), threads, adapter folder or "": no adapter is ever loaded.
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { loadModel } from "lowrank";
import { configHash } from "../config-hash.mjs";
import { allDecoding, BATCH, promptTokens, serve } from "./protocol.mjs";

const [name, threads, folder] = process.argv.slice(2);
const models = new Map();

/** The same weights under several scalings: equal content would be one adapter, read once a step. */
async function loadAdapters(model) {
  const config = JSON.parse(await readFile(join(folder, "adapter_config.json"), "utf8"));
  const weights = new Uint8Array(await readFile(join(folder, "adapter_model.safetensors")));
  for (let i = 0; i < BATCH; i++) {
    const lora_alpha = config.lora_alpha * (1 + i / 1000);
    const source = { config: { ...config, lora_alpha }, weights };
    await model.adapters.load(`bench${i}`, source);
    await model.adapters.load(`int8-${i}`, source, { precision: "int8" });
  }
}

/** The model with one kind of KV cache, loaded when it is first asked for. */
async function modelWith(kvCache = "bfloat16") {
  if (!models.has(kvCache)) {
    const model = await loadModel(name, {
      threads: Number(threads),
      contextLength: 4096,
      maxSequences: BATCH,
      kvCache,
    });
    if (folder) await loadAdapters(model);
    models.set(kvCache, model);
  }
  return models.get(kvCache);
}

/** Milliseconds up to the first token, and from there to the last of `tokens`. */
async function generate({ context, tokens, seed, adapter, kvCache, sampling }) {
  const model = await modelWith(kvCache);
  const options = { maxTokens: tokens, ignoreEndOfText: true, prefixCache: false, ...sampling };
  if (adapter) options.adapter = adapter === "int8" ? "int8-0" : "bench0";
  const prompt = { tokens: promptTokens(context, seed) };
  const began = performance.now();
  let first;
  for await (const part of model.generate(prompt, options)) {
    first ??= performance.now();
    void part;
  }
  return { prefill_ms: first - began, decode_ms: performance.now() - first, decoded: tokens - 1 };
}

/** The adapter of one of the requests of a batch. */
const adapterOf = (adapter, i) =>
  adapter === "shared" ? "bench0" : adapter === "int8" ? `int8-${i}` : `bench${i}`;

/** 16 requests at once, each with its own prompt: how fast they go while all of them decode. */
async function batch({ context, tokens, seed, adapter }) {
  const model = await modelWith();
  const times = await Promise.all(
    Array.from({ length: BATCH }, async (_, i) => {
      const own = [];
      const options = { maxTokens: tokens, ignoreEndOfText: true, prefixCache: false };
      if (adapter) options.adapter = adapterOf(adapter, i);
      const prompt = { tokens: promptTokens(context, BATCH * seed + i) };
      for await (const part of model.generate(prompt, options))
        own.push(...part.tokens.map(() => performance.now()));
      return own;
    }),
  );
  return allDecoding(times);
}

/** The demo adapter's job: an order e-mail becomes JSON, whose values stand in the mail and whose keys in the answer before. */
async function extract({ promptLookup }) {
  const model = await modelWith();
  const adapters = new URL("../../examples/adapters/", import.meta.url);
  if (!model.adapters.list().some((adapter) => adapter.name === "order-json"))
    await model.adapters.load("order-json", new URL("order-json", adapters).pathname);
  const { prompts } = JSON.parse(await readFile(new URL("demo-prompts.json", adapters), "utf8"));
  let decoded = 0;
  let decode_ms = 0;
  for (const { message } of prompts) {
    const messages = [{ role: "user", content: message }];
    const { usage, timings } = await model
      .chat(messages, { adapter: "order-json", maxTokens: 128, promptLookup })
      .result();
    decoded += usage.completionTokens - 1;
    decode_ms += timings.decodeMs;
  }
  return { decode_ms, decoded };
}

const model = await modelWith();
await serve({ config_hash: configHash(model), facts: model.facts }, { generate, batch, extract });
for (const one of models.values()) await one.dispose();
