// How many requests with many adapters get along on one engine: a part at a time, each result a line of JSON.
// Usage: node bench/children/serving.mjs MODEL PART [NUMBER]
import { monitorEventLoopDelay } from "node:perf_hooks";
import { loadModel } from "lowrank";
import { randomConfig, randomTensors } from "../../scripts/lib/random-adapter.mjs";

const [, , path, part, number = "0"] = process.argv;
const STREAMS = 16;
const model = await loadModel(path, { maxSequences: 32 });
const { facts } = model;

let state = 1;
function random(below) {
  state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
  return Math.floor((state / 2 ** 32) * below);
}
const someTokens = (count) =>
  Array.from({ length: count }, () => 100 + random(Math.min(facts.vocabularySize, 40_000) - 100));
const quantile = (values, p) =>
  [...values].sort((a, b) => a - b)[Math.min(values.length - 1, Math.floor(p * values.length))];
const randomAdapter = (rank, seed, more = {}) => ({
  config: { ...randomConfig(rank), ...more },
  tensors: randomTensors(facts, rank, seed),
});

async function firstToken(tokens, options = {}) {
  const began = performance.now();
  const { usage } = await model.generate({ tokens }, { maxTokens: 1, ...options }).result();
  return { ms: performance.now() - began, cached: usage.cachedTokens };
}

/** The same 1,000 tokens, and then some others, cold and as a prefix hit. */
async function prefix() {
  const cold = [];
  const hit = [];
  await firstToken(someTokens(64));
  for (let round = 0; round < 5; round++) {
    const shared = someTokens(1000);
    cold.push((await firstToken([...shared, ...someTokens(8)])).ms);
    const again = await firstToken([...shared, ...someTokens(8)]);
    if (again.cached < 1000)
      throw new Error(`Expected a prefix hit of 1,000 tokens, it was ${again.cached}.`);
    hit.push(again.ms);
  }
  return { prefix_cold_ms: cold, prefix_hit_ms: hit };
}

/** An activated adapter that wakes behind 1,000 tokens that the base has computed. */
async function activated() {
  const wakes = someTokens(4);
  await model.adapters.load("activated", randomAdapter(16, 1, { alora_invocation_tokens: wakes }));
  const switched = [];
  for (let round = 0; round < 6; round++) {
    const talk = someTokens(1000);
    await firstToken(talk);
    const first = await firstToken([...talk, ...wakes], { adapter: "activated" });
    if (first.cached < 990) throw new Error(`Expected the base's 1,000 tokens, ${first.cached} were found.`);
    if (round > 0) switched.push(first.ms); // the first one composes the adapter
  }
  return { activated_switch_ms: switched };
}

/** Runs `count` endless streams until `stop` resolves, then gives the milliseconds between the tokens of each. */
async function streams(count, stop, options = () => ({})) {
  const gaps = [];
  let stopped = false;
  void stop.then(() => (stopped = true));
  await Promise.all(
    Array.from({ length: count }, async (_, i) => {
      let last;
      const request = { maxTokens: 7000, ignoreEndOfText: true, ...options(i) };
      for await (const { tokens } of model.generate({ tokens: someTokens(64) }, request)) {
        const now = performance.now();
        if (last !== undefined && tokens.length > 0) gaps.push(now - last);
        last = now;
        if (stopped) break;
      }
    }),
  );
  return gaps;
}

const seconds = (count) => new Promise((resolve) => setTimeout(resolve, count * 1000));

/** Time between tokens of 16 streams while prompts of 1,500 tokens arrive, and how long the event loop is held up. */
async function pace() {
  const delay = monitorEventLoopDelay({ resolution: 1 });
  await streams(STREAMS, seconds(2)); // the engine learns what a step costs
  delay.enable();
  const alone = await streams(STREAMS, seconds(6));
  delay.disable();
  const stop = seconds(12);
  let ended = false;
  void stop.then(() => (ended = true));
  const prompts = [];
  const [gaps] = await Promise.all([
    streams(STREAMS, stop),
    (async () => {
      while (!ended) prompts.push((await firstToken(someTokens(1500))).ms);
    })(),
  ]);
  return {
    event_loop_p99_ms: [delay.percentile(99) / 1e6],
    token_gap_alone_ms: [quantile(alone, 0.5)],
    token_gap_ms: [quantile(gaps, 0.5)],
    token_gap_p99_ms: [quantile(gaps, 0.99)],
    long_prompt_ms: prompts,
  };
}

/** Generated tokens a second of 16 requests with 8 adapters in turn, while so many are loaded. */
async function registered(count) {
  for (let i = 0; i < count; i++) await model.adapters.load(`a${i}`, randomAdapter(1, i));
  const rates = [];
  for (let round = 0; round < 4; round++) {
    const began = performance.now();
    const results = await Promise.all(
      Array.from({ length: STREAMS }, (_, i) =>
        model
          .generate(
            { tokens: someTokens(64) },
            {
              maxTokens: 96,
              ignoreEndOfText: true,
              prefixCache: false,
              adapter: `a${Math.floor(((i % 8) * count) / 8)}`,
            },
          )
          .result(),
      ),
    );
    const tokens = results.reduce((sum, { usage }) => sum + usage.completionTokens, 0);
    if (round > 0) rates.push((tokens / (performance.now() - began)) * 1000);
  }
  return { [`registered_${count}`]: rates };
}

/** A LoRA on lm_head whose bias lifts one token above all others. */
function forcing(token) {
  const { vocabularySize, hiddenSize } = facts;
  const bias = new Float32Array(vocabularySize);
  bias[token] = 1e4;
  const prefix = "base_model.model.lm_head.lora_";
  return {
    config: { peft_type: "LORA", r: 1, lora_alpha: 1, target_modules: ["lm_head"], lora_bias: true },
    tensors: {
      [`${prefix}A.weight`]: { data: new Float32Array(hiddenSize), shape: [1, hiddenSize] },
      [`${prefix}B.weight`]: { data: new Float32Array(vocabularySize), shape: [vocabularySize, 1] },
      [`${prefix}B.bias`]: { data: bias, shape: [vocabularySize] },
    },
  };
}

/** Swaps a name between versions that force a token each, under 16 streams of short answers: no answer may mix them. */
async function swaps(count) {
  const VERSIONS = 4;
  const version = (i) => 200 + i;
  const tokenOf = new Map();
  for (let i = 0; i < VERSIONS; i++)
    tokenOf.set((await model.adapters.load(`v${i}`, forcing(version(i)))).contentHash, version(i));
  await model.adapters.load("live", forcing(version(0)));
  // The prefix cache keeps keys and values of every answer, up to its budget: they are counted apart.
  const memory = () => {
    const { adapterBytes, kvCacheBytes } = model.memory();
    return { adapters: adapterBytes, rest: process.memoryUsage().rss - kvCacheBytes };
  };
  let done = false;
  let answers = 0;
  let before;
  const load = Array.from({ length: STREAMS }, async () => {
    while (!done) {
      const expected = tokenOf.get(model.adapters.get("live").contentHash); // what the name means at the call
      const { tokens } = await model
        .generate({ tokens: someTokens(8) }, { adapter: "live", maxTokens: 12, ignoreEndOfText: true })
        .result();
      const wrong = tokens.findIndex((token) => token !== expected);
      if (wrong >= 0)
        throw new Error(`Token ${wrong} of an answer is ${tokens[wrong]}, its version forces ${expected}.`);
      answers++;
    }
  });
  const times = [];
  await Promise.race([
    Promise.all(load),
    (async () => {
      for (let i = 1; i <= count; i++) {
        const began = performance.now();
        await model.adapters.swap("live", { name: `v${i % VERSIONS}` });
        times.push(performance.now() - began);
        if (i === Math.ceil(count / 10)) before = memory();
        await seconds(0.002);
      }
      done = true;
    })(),
  ]);
  await Promise.all(load);
  const after = memory();
  if (after.adapters !== before.adapters) throw new Error("The adapters' memory changed under swaps.");
  return {
    swap_under_load_ms: [quantile(times, 0.5)],
    swap_under_load_p99_ms: [quantile(times, 0.99)],
    swap_under_load_answers: [answers],
    swap_under_load_growth_mb: [(after.rest - before.rest) / 1e6],
  };
}

const parts = { prefix, activated, pace, registered, swaps };
process.stdout.write(`${JSON.stringify(await parts[part](Number(number)))}\n`);
await model.dispose();
