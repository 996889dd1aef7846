// The benchmarks. Usage: npm run bench -- [SUITE …] [--peers] [--json FILE]; see --help and README.md.
import { writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { machine } from "./machine.mjs";
import { generationSuite } from "./suites/generation.mjs";
import { loadSuite } from "./suites/load.mjs";
import { opsSuite } from "./suites/ops.mjs";

const GENERATION = ["prefill", "decode", "adapters", "batch", "prompt_lookup"];
const SUITES = ["load", "ops", ...GENERATION];
const HELP = `npm run bench -- [SUITE …] [options]

Suites (default: all)
  load          from the GGUF file to the first token, memory, adapters from disk, swaps
  ops           the int8 product alone, beside the ceiling
  prefill       a prompt of 512 tokens
  decode        64 tokens after a prompt of 128, and of 2,048, also with an int8 KV cache; and sampled
  adapters      both with a rank-16 adapter on all seven projections
  batch         16 requests at once, without and with four adapters
  prompt_lookup an e-mail into JSON, without and with prompt lookup

Options
  --peers       node-llama-cpp in the same run (fetched into build/peers; needs python3 and a network)
  --repeats N   fresh processes or rounds (default 5)
  --json FILE   write the figures there
  --help
`;

function refuse(message) {
  process.stderr.write(`bench: ${message}\n`);
  process.exit(2);
}

function readArguments() {
  const options = {
    json: { type: "string" },
    peers: { type: "boolean", default: false },
    repeats: { type: "string", default: "5" },
    help: { type: "boolean", default: false },
  };
  try {
    return parseArgs({ options, allowPositionals: true });
  } catch (error) {
    return refuse(error.message);
  }
}

const { values, positionals } = readArguments();
if (values.help) {
  process.stdout.write(HELP);
  process.exit(0);
}
const repeats = Number(values.repeats);
if (!Number.isSafeInteger(repeats) || repeats < 1 || repeats > 1000)
  refuse(`Expected 1 to 1000 for --repeats, received ${values.repeats}.`);
for (const name of positionals)
  if (!SUITES.includes(name)) refuse(`Expected one of ${SUITES.join(", ")}, received ${name}.`);
const chosen = positionals.length > 0 ? positionals : SUITES;

const report = { machine: machine(), model: "smollm2-135m-instruct", figures: [] };
process.stdout.write(
  `${report.machine.cpu}, ${report.machine.cores} cores, ${report.machine.memoryGiB} GiB\n`,
);
const log = (text) => process.stderr.write(`  ${text}\n`);

function add({ figures, ...rest }) {
  Object.assign(report, rest);
  report.figures.push(...figures);
  for (const figure of figures) print(figure);
}
if (chosen.includes("load")) add(await loadSuite({ repeats }));
if (chosen.includes("ops")) add(await opsSuite({ repeats }));
const suites = GENERATION.filter((name) => chosen.includes(name));
if (suites.length > 0) add(await generationSuite({ suites, repeats, peers: values.peers, log }));
if (report.ceilings) process.stdout.write(`ceilings ${JSON.stringify(report.ceilings)}\n`);
if (values.json) writeFileSync(values.json, `${JSON.stringify(report, null, 2)}\n`);

function print({ name, unit, median, min, max, limit, peers, share }) {
  const shown = (value) => (Math.abs(value) < 10 ? value.toFixed(3) : value.toFixed(1));
  const parts = [
    name.padEnd(20),
    `${shown(median).padStart(8)} ${unit} (${shown(min)} … ${shown(max)})`,
    ...(limit === undefined ? [] : [`limit ${shown(limit)}`]),
    ...(/^tokens|^Gop/.test(unit) && limit ? [`${((100 * median) / limit).toFixed(0)} % of it`] : []),
    ...(share ? [`${(100 * share.ratio).toFixed(1)} % of ${share.of}`] : []),
    ...Object.entries(peers ?? {}).map(
      ([peer, value]) => `${(median / value).toFixed(2)}x ${peer} (${shown(value)})`,
    ),
  ];
  process.stdout.write(`  ${parts.join(", ")}\n`);
}
