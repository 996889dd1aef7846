// The benchmarks. Usage: npm run bench -- [SUITE …] [--json FILE] [--repeats N]; see --help and README.md.
import { writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { machine } from "./machine.mjs";
import { loadSuite } from "./suites/load.mjs";

const SUITES = { load: loadSuite };
const HELP = `npm run bench -- [SUITE …] [options]

Suites (default: all)
  load          from the GGUF file to the first token, memory, adapters from disk, swaps

Options
  --repeats N   fresh processes or repetitions a figure (default 5)
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
  if (!Object.hasOwn(SUITES, name))
    refuse(`Expected one of ${Object.keys(SUITES).join(", ")}, received ${name}.`);

const report = { machine: machine(), figures: [] };
process.stdout.write(
  `${report.machine.cpu}, ${report.machine.cores} cores, ${report.machine.memoryGiB} GiB\n`,
);
for (const name of positionals.length > 0 ? positionals : Object.keys(SUITES)) {
  process.stdout.write(`\n${name}\n`);
  const { config_hash, figures } = await SUITES[name]({ repeats });
  report.config_hash = config_hash;
  report.figures.push(...figures);
  for (const figure of figures) print(figure);
}
if (values.json) writeFileSync(values.json, `${JSON.stringify(report, null, 2)}\n`);

function print({ name, unit, median, min, max, limit }) {
  const shown = (value) => (Math.abs(value) < 10 ? value.toFixed(3) : value.toFixed(1));
  const bound = limit === undefined ? "" : `   limit ${shown(limit)}`;
  process.stdout.write(
    `  ${name.padEnd(24)} ${shown(median).padStart(9)} ${unit.padEnd(6)} (${shown(min)} … ${shown(max)})${bound}\n`,
  );
}
