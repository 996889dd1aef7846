// Fuzzes what strangers send: chat templates, messages, tokenizers and adapters, in child processes whose end, memory and event loop are
// watched.
//
//   node test/fuzz/field/run.mjs [--inputs N] [--first SEED] [--only KIND,…]
//
// N inputs in all (default 20,000), shared out by kind. Status 1: an input ended its process, was answered by no LowrankError, took too long,
// blocked the event loop or took too much memory; it is named with its seed, and `child.mjs KIND SEED SEED+1` runs it alone.
import { spawn } from "node:child_process";
import { availableParallelism } from "node:os";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

/** Shares of the inputs: a tokenizer takes a worker of its own, and with it most of the time. */
const SHARES = { templates: 0.4, messages: 0.35, adapters: 0.15, tokenizers: 0.1 };
const BATCH = 250;
/** Milliseconds for which a child may be silent. */
const SILENCE = 120_000;

const { values } = parseArgs({
  options: {
    inputs: { type: "string", default: "20000" },
    first: { type: "string", default: "1" },
    only: { type: "string", default: Object.keys(SHARES).join() },
  },
});
const inputs = Number(values.inputs);
const first = Number(values.first);
const kinds = values.only.split(",");
if (!(inputs >= 1) || !(first >= 0) || !kinds.every((kind) => kind in SHARES)) {
  process.stderr.write(`Expected --inputs N, --first SEED and --only of ${Object.keys(SHARES).join()}.\n`);
  process.exit(2);
}

const total = kinds.reduce((sum, kind) => sum + SHARES[kind], 0);
const batches = kinds.flatMap((kind) => {
  const count = Math.max(1, Math.round((inputs * SHARES[kind]) / total));
  return Array.from({ length: Math.ceil(count / BATCH) }, (_, i) => ({
    kind,
    from: first + i * BATCH,
    to: first + Math.min(count, (i + 1) * BATCH),
  }));
});

const faults = [];
const codes = {};
let done = 0;

/** Runs a batch; where its process dies, the rest of it in another one. */
async function run({ kind, from, to }) {
  let last = from;
  const end = await new Promise((resolve) => {
    const child = spawn(
      process.execPath,
      [fileURLToPath(new URL("child.mjs", import.meta.url)), kind, String(from), String(to)],
      {
        stdio: ["ignore", "pipe", "pipe"],
      },
    );
    let timer;
    const alive = () => {
      clearTimeout(timer);
      timer = setTimeout(() => child.kill("SIGKILL"), SILENCE);
    };
    alive();
    let rest = "";
    let errors = "";
    child.stderr.on("data", (data) => (errors = (errors + data).slice(-2_000)));
    child.stdout.on("data", (data) => {
      alive();
      const lines = (rest + data).split("\n");
      rest = lines.pop();
      for (const line of lines) {
        const told = JSON.parse(line);
        if (typeof told === "number") last = told;
        else if (told.fault) faults.push(told);
        else for (const [code, count] of Object.entries(told.codes)) codes[code] = (codes[code] ?? 0) + count;
      }
    });
    child.on("close", (code, signal) => {
      clearTimeout(timer);
      resolve({ code, signal, errors });
    });
  });
  done += (end.code === 0 ? to : last + 1) - from;
  if (end.code === 0) return;
  faults.push({ kind, seed: last, fault: `ended the process with ${end.signal ?? end.code}: ${end.errors}` });
  if (last + 1 < to) await run({ kind, from: last + 1, to });
}

const began = Date.now();
const report = setInterval(
  () =>
    process.stdout.write(
      `${Math.round((Date.now() - began) / 1000)} s: ${done} of ${inputs} inputs, ${faults.length} faults\n`,
    ),
  15_000,
);
await Promise.all(
  Array.from({ length: Math.max(1, Math.min(2, availableParallelism() - 1)) }, async () => {
    for (let batch; (batch = batches.shift());) await run(batch);
  }),
);
clearInterval(report);
for (const { kind, seed, fault } of faults) process.stdout.write(`FAULT ${kind} ${seed}: ${fault}\n`);
process.stdout.write(
  `${done} inputs: ${Object.entries(codes)
    .map(([code, count]) => `${code} ${count}`)
    .join(", ")}\n`,
);
process.stdout.write(
  `${faults.length === 0 ? "no faults" : `${faults.length} faults`} in ${Math.round((Date.now() - began) / 1000)} s\n`,
);
process.exit(faults.length === 0 ? 0 : 1);
