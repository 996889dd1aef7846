// Prefill, decode, and what an adapter costs, against peers: contenders take turns within one run, each on 1 and on 2 threads,
// and each figure is that of its better number of threads.
import { mkdtemp, rm } from "node:fs/promises";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { modelFile } from "../model-file.mjs";
import { buildNativeBench, measureCeilings, medianCeilings } from "../ceilings.mjs";
import { Contender } from "../contenders/contender.mjs";
import { decodeBytes, decodeLimit, prefillLimit } from "../limits.mjs";
import { preparePeers } from "../peers.mjs";
import { writeRandomAdapter } from "../random-adapter.mjs";
import { figure } from "../statistics.mjs";

const MODEL = "smollm2-135m-instruct";
const RANK = 16;
const DECODED = 64;
const script = (name) => fileURLToPath(new URL(`../contenders/${name}`, import.meta.url));
const tokensPerSecond = (tokens, ms) => (1000 * tokens) / ms;

/**
 * Figures by name: what is asked, and what is taken of the answer. own: peers are not asked. shareOf: another figure, beside which
 * this one is put.
 */
const FIGURES = {
  prefill_512: { suite: "prefill", context: 512, tokens: 1 },
  decode_128: { suite: "decode", context: 128, tokens: DECODED + 1 },
  decode_2048: { suite: "decode", context: 2048, tokens: DECODED + 1, shareOf: "decode_128" },
  decode_2048_int8_kv: {
    suite: "decode",
    context: 2048,
    tokens: DECODED + 1,
    kvCache: "int8",
    own: true,
    shareOf: "decode_128",
  },
  decode_128_sampled: {
    suite: "decode",
    context: 128,
    tokens: DECODED + 1,
    sampling: { temperature: 0.7, topP: 0.95, seed: 1 },
    own: true,
    shareOf: "decode_128",
  },
  prefill_512_adapter: { suite: "adapters", context: 512, tokens: 1, adapter: true, shareOf: "prefill_512" },
  decode_128_adapter: {
    suite: "adapters",
    context: 128,
    tokens: DECODED + 1,
    adapter: true,
    shareOf: "decode_128",
  },
  batch_16: { suite: "batch", task: "batch", context: 128, tokens: DECODED, own: true },
  batch_16_adapters: {
    suite: "batch",
    task: "batch",
    context: 128,
    tokens: DECODED,
    adapter: true,
    own: true,
    shareOf: "batch_16",
  },
  extraction: { suite: "prompt_lookup", task: "extract", promptLookup: false, own: true },
  prompt_lookup: {
    suite: "prompt_lookup",
    task: "extract",
    promptLookup: true,
    own: true,
    shareOf: "extraction",
  },
};

function contenders({ peers, adapter, model, threads }) {
  const list = threads.map((count) => ({
    name: "lowrank",
    threads: count,
    command: process.execPath,
    args: [script("lowrank.mjs"), MODEL, String(count), adapter],
  }));
  if (!peers) return list;
  const adapterGguf = peers.adapterToGguf(adapter);
  for (const type of ["Q8_0", "Q4_0"]) {
    const file = peers.requantize(model, type);
    for (const count of threads)
      list.push({
        name: `node-llama-cpp ${type}`,
        threads: count,
        command: process.execPath,
        args: [script("node-llama-cpp.mjs"), peers.folder, file, String(count), adapterGguf],
      });
  }
  return list;
}

/** `each` runs once a round, so that what it measures sees the same moods of the machine. */
async function rounds(started, wanted, repeats, log, each) {
  const values = new Map(); // "figure\0label" → values of all rounds
  for (let round = -1; round < repeats; round++) {
    await each();
    for (const [name, { own, task = "generate", ...asked }] of wanted)
      for (const contender of started) {
        if (own && contender.name !== "lowrank") continue;
        const answer = await contender.ask({ task, ...asked, seed: round + 2 });
        if (round < 0) continue; // a warm-up
        const value =
          asked.tokens === 1
            ? tokensPerSecond(asked.context, answer.prefill_ms)
            : tokensPerSecond(answer.decoded, answer.decode_ms);
        const key = `${name}\0${contender.label}`;
        values.set(key, [...(values.get(key) ?? []), value]);
        log(`round ${round + 1}: ${name} ${contender.label} ${value.toFixed(1)}`);
      }
  }
  return values;
}

/** Of a contender's runs with different numbers of threads, the figure of the best. */
function best(name, contenderName, started, values) {
  const figures = started
    .filter((one) => one.name === contenderName)
    .map((one) => figure(name, "tokens/s", values.get(`${name}\0${one.label}`), { threads: one.threads }));
  return figures.reduce((a, b) => (b.median > a.median ? b : a));
}

/** Of a figure that is one request by random tokens: what the machine would allow at most. Undefined for the others. */
function limitOf({ task, context, tokens, adapter, kvCache }, facts, ceilings, adapterBytes) {
  if (task) return undefined;
  if (tokens === 1) return prefillLimit(facts, ceilings);
  return decodeLimit(withCache(facts, kvCache), ceilings, context + DECODED / 2, adapter ? adapterBytes : 0);
}

/** The facts with the bytes of an int8 KV cache: 1 for each of bfloat16's 2, and a float32 scale a head. */
const withCache = (facts, kvCache) =>
  kvCache === "int8"
    ? { ...facts, kvBytesPerToken: (facts.kvBytesPerToken / 2) * (1 + 4 / facts.headDim) }
    : facts;

/** suites: some of "prefill", "decode", "adapters", "batch", "prompt_lookup". */
export async function generationSuite({ suites, repeats, peers: wantsPeers, log }) {
  const wanted = Object.entries(FIGURES).filter(
    ([name, { suite }]) =>
      suites.includes(suite) ||
      (suites.includes("adapters") &&
        Object.values(FIGURES).some(({ suite: other, shareOf }) => other === "adapters" && shareOf === name)),
  );
  const threads = availableParallelism() > 1 ? [1, 2] : [1];
  buildNativeBench();
  const { file, facts } = await modelFile(MODEL);
  const folder = await mkdtemp(join(tmpdir(), "lowrank-bench-"));
  const started = [];
  try {
    const adapterBytes = await writeRandomAdapter(folder, facts, RANK);
    const peers = wantsPeers ? preparePeers(log) : undefined;
    for (const one of contenders({ peers, adapter: folder, model: file, threads }))
      started.push(new Contender(one));
    for (const contender of started) await contender.ready();
    const measurements = [];
    const values = await rounds(started, wanted, repeats, log, async () => {
      measurements.push(await measureCeilings(threads.at(-1)));
    });
    const ceilings = medianCeilings(measurements);
    const names = [...new Set(started.map(({ name }) => name))].filter((name) => name !== "lowrank");
    const own = new Map(wanted.map(([name]) => [name, best(name, "lowrank", started, values)]));
    // What a figure reads or computes proves that it can be done: no ceiling is lower.
    for (const [name, { task, context, tokens, adapter, kvCache }] of wanted) {
      if (task) continue;
      const { median } = own.get(name);
      if (tokens === 1) ceilings.int8_gop_per_s *= Math.max(1, median / prefillLimit(facts, ceilings));
      else
        ceilings.read_gb_per_s = Math.max(
          ceilings.read_gb_per_s,
          (median *
            decodeBytes(withCache(facts, kvCache), context + DECODED / 2, adapter ? adapterBytes : 0)) /
            1e9,
        );
    }
    const figures = wanted.map(([name, asked]) => ({
      ...own.get(name),
      limit: limitOf(asked, facts, ceilings, adapterBytes),
      peers: asked.own
        ? {}
        : Object.fromEntries(names.map((peer) => [peer, best(name, peer, started, values).median])),
      ...(own.has(asked.shareOf)
        ? { share: { of: asked.shareOf, ratio: own.get(name).median / own.get(asked.shareOf).median } }
        : {}),
    }));
    return { config_hash: started[0].facts.config_hash, ceilings, figures, versions: peers?.versions };
  } finally {
    await Promise.all(started.map((contender) => contender.close().catch(() => {})));
    await rm(folder, { recursive: true });
  }
}
