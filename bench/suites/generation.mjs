// Prefill, decode, and what an adapter costs, against peers: contenders take turns within one run, each on 1 and on 2 threads,
// and each figure is that of its better number of threads.
import { mkdtemp, rm } from "node:fs/promises";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import { checkAnchors } from "../anchors.mjs";
import { buildNativeBench, measureCeilings, medianCeilings } from "../ceilings.mjs";
import { closeAll, Contender } from "../contenders/contender.mjs";
import { processor } from "../../scripts/lib/machine.mjs";
import { preparePeers } from "../peers.mjs";
import { writeRandomAdapter } from "../../scripts/lib/random-adapter.mjs";
import { figure, meanRatio, ratioInterval } from "../statistics.mjs";
import { figuresOf, rateOf, requestOf } from "./figures.mjs";
import { limitOf, raiseCeilings } from "./figure-limits.mjs";
import { ownContenders } from "./own-contenders.mjs";
import { pairedRounds } from "./paired.mjs";
import { sharesInTurns } from "./shares.mjs";
import { comparisonsOf, inOneProcess } from "./turns.mjs";

const RANK = 16;
/** Of two rounds, an interval would be wider than anything that is to be told apart. */
const LEAST_ROUNDS = 3;

/**
 * Starts each contender with each number of threads. One that fails to start is added to `missing`, with all its processes; without our plain
 * process there is nothing to compare with.
 */
async function start(contenders, threads, missing) {
  const started = contenders.flatMap((one) =>
    threads.map((count) => new Contender({ ...one, threads: count })),
  );
  const failed = new Set();
  for (const one of started)
    try {
      await one.ready();
    } catch (error) {
      if (one.kind === "plain") throw error;
      if (!failed.has(one.name)) missing.push({ name: one.name, reason: error.message });
      failed.add(one.name);
    }
  return started.filter((one) => !failed.has(one.name));
}

/** Who answers for a figure: one kind of our own processes, and peers where they are asked and have the task. */
const answers = ({ by = "plain", own, task = "generate" }, contender) =>
  contender.kind ? contender.kind === by : !own && contender.tasks.includes(task);

/**
 * "figure\0label" → the values of all rounds. Peers that fail are added to `missing` and asked no more. `each` runs once a round, so that
 * what it measures sees the same moods of the machine.
 */
async function rounds(started, wanted, { repeats, missing, log }, each) {
  const values = new Map();
  const failed = new Set();
  for (let round = -1; round < repeats; round++) {
    await each();
    for (const [index, [name, asked]] of wanted.entries())
      for (const contender of started) {
        if (!answers(asked, contender) || failed.has(contender.label)) continue;
        let answer;
        try {
          // No two prompts are the same: nothing is found in a cache of prefixes.
          answer = await contender.ask(requestOf(asked, (round + 1) * wanted.length + index));
        } catch (error) {
          if (contender.kind) throw error;
          missing.push({ name: contender.label, reason: error.message });
          failed.add(contender.label);
          continue;
        }
        const value = rateOf(asked, answer);
        log(
          `${round < 0 ? "warm-up" : `round ${round + 1}`}: ${name} ${contender.label} ${value.toFixed(1)}`,
        );
        if (round < 0) continue;
        const key = `${name}\0${contender.label}`;
        values.set(key, [...(values.get(key) ?? []), value]);
      }
  }
  return values;
}

/** Of some contenders, those with different numbers of threads, the figure of the best; undefined where none has all rounds. */
function best(name, contenders, values, repeats) {
  const figures = contenders
    .map((one) => [one, values.get(`${name}\0${one.label}`) ?? []])
    .filter(([, measured]) => measured.length === repeats)
    .map(([one, measured]) => figure(name, "tokens/s", measured, { threads: one.threads }));
  return figures.length === 0 ? undefined : figures.reduce((a, b) => (b.median > a.median ? b : a));
}

/** The best of each peer by its name. */
function peersOf(name, started, values, repeats) {
  const names = [...new Set(started.filter((one) => !one.kind).map((one) => one.name))];
  const found = names.map((peer) => [
    peer,
    best(
      name,
      started.filter((one) => one.name === peer),
      values,
      repeats,
    )?.median,
  ]);
  return Object.fromEntries(found.filter(([, median]) => median !== undefined));
}

/**
 * By figure, the logarithms of its ratio to what it is compared with. `started` are closed before pairs of processes are started anew, so that
 * those have the memory to themselves.
 */
async function compare(figures, started, contenders, { repeats, seed, threads, log }) {
  const runs = started.filter((one) => one.kind && one.threads === threads);
  const comparisons = comparisonsOf(figures).filter(({ sides }) =>
    sides.every((side) => runs.some(({ kind }) => kind === side.kind)),
  );
  const ofOne = comparisons.filter(inOneProcess);
  const ofTwo = comparisons.filter((one) => !inOneProcess(one));
  const shares = await sharesInTurns(ofOne, runs, { repeats, seed, log });
  await closeAll(started);
  const rounds = Math.max(LEAST_ROUNDS, repeats);
  const pairs = await pairedRounds(ofTwo, contenders, { rounds, threads, log });
  return new Map([...shares, ...pairs]);
}

/** suites: some of GENERATION_SUITES; model: of benchModel; peers: names of preparePeers. */
export async function generationSuite({ suites, repeats, model, peers: peerNames, log }) {
  const all = figuresOf(suites);
  const wanted = all.filter(([, { pairedWith }]) => !pairedWith);
  const threads = availableParallelism() > 1 ? [1, 2] : [1];
  buildNativeBench();
  const folder = await mkdtemp(join(tmpdir(), "lowrank-bench-"));
  let started = [];
  try {
    const adapterBytes = await writeRandomAdapter(folder, model.facts, RANK);
    const needsAdapter = wanted.some(([, { adapter, own }]) => adapter && !own);
    const kinds = [...new Set(all.map(([, { by = "plain" }]) => by).concat("plain"))];
    const own = ownContenders(kinds, { model, adapter: folder, log });
    const peers = preparePeers(peerNames, { model, adapter: needsAdapter ? folder : undefined, log });
    const missing = [...own.missing, ...peers.missing];

    started = await start([...own.contenders, ...peers.contenders], threads, missing);
    const measurements = [];
    const values = await rounds(started, wanted, { repeats, missing, log }, async () => {
      const ceilings = await measureCeilings(threads.at(-1));
      const avx2 = started.some(({ kind }) => kind === "avx2")
        ? await measureCeilings(threads.at(-1), "avx2")
        : undefined;
      measurements.push({ ...ceilings, ...(avx2 ? { avx2_int8_gop_per_s: avx2.int8_gop_per_s } : {}) });
    });

    const ours = new Map();
    for (const [name, asked] of wanted) {
      const one = best(
        name,
        started.filter((contender) => contender.kind && answers(asked, contender)),
        values,
        repeats,
      );
      if (one) ours.set(name, one);
    }
    const compared = await compare(all, started, own.contenders, {
      repeats,
      seed: (repeats + 1) * wanted.length,
      threads: threads.at(-1),
      log,
    });
    for (const [name, { pairedWith }] of all.filter(([, asked]) => asked.pairedWith)) {
      if (!compared.has(name)) continue;
      const { values: measured, logarithms } = compared.get(name);
      const ratio = { of: pairedWith, ...ratioInterval(logarithms) };
      ours.set(name, figure(name, "tokens/s", measured, { threads: threads.at(-1), ratio }));
    }
    const measured = all.filter(([name]) => ours.has(name));
    const ceilings = medianCeilings(measurements);
    for (const [name, asked] of measured)
      raiseCeilings(ceilings, asked, ours.get(name).median, model.facts, adapterBytes);
    const figures = measured.map(([name, asked]) => ({
      ...ours.get(name),
      limit: limitOf(asked, model.facts, ceilings, adapterBytes),
      peers: asked.own && !asked.peersOf ? {} : peersOf(asked.peersOf ?? name, started, values, repeats),
      ...(asked.shareOf && compared.has(name)
        ? { share: { of: asked.shareOf, ...meanRatio(compared.get(name).logarithms) } }
        : {}),
    }));
    return {
      config_hash: started.find(({ kind }) => kind === "plain").facts.config_hash,
      ceilings,
      figures,
      versions: peers.versions,
      missing,
      ...checkAnchors(processor(), model.name, figures),
    };
  } finally {
    await closeAll(started);
    await rm(folder, { recursive: true });
  }
}
