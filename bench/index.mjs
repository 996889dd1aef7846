// The benchmarks. Usage: npm run bench -- [SUITE …] [options]; see --help and README.md.
import { writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { machine } from "../scripts/lib/machine.mjs";
import { benchModel, MODELS } from "./models.mjs";
import { PEER_NAMES } from "./peers.mjs";
import { plot } from "./plot.mjs";
import { print, printRun } from "./print.mjs";
import { adapterLayerSuite } from "./suites/adapter-layer.mjs";
import { GENERATION_SUITES } from "./suites/figures.mjs";
import { generationSuite } from "./suites/generation.mjs";
import { loadSuite } from "./suites/load.mjs";
import { opsSuite } from "./suites/ops.mjs";
import { servingSuite } from "./suites/serving.mjs";

// These suites know SmolLM2's shapes, and adapters trained on it.
const SMALLEST_ONLY = ["load", "ops", "prompt_lookup"];
const SUITES = [...new Set([...SMALLEST_ONLY, ...GENERATION_SUITES, "serving"])];
const HELP = `npm run bench -- [SUITE …] [options]

Suites (default: all that the model has)
  load          from the GGUF file to the first token, memory, adapters from disk, swaps
  ops           the int8 product alone, beside the ceiling
  prefill       a prompt of 512 tokens, and with AVX2 alone
  decode        64 tokens after a prompt of 128, and of 2,048, also with an int8 KV cache; and sampled
  adapters      a rank-16 adapter on all seven projections, loaded, used, merged, unfused
  batch         16 requests at once, without an adapter, with one for all, with sixteen different ones
  serving       16 streams: prefix hits, long prompts beside them, 10,000 swaps, 8 to 1,000 loaded adapters
  prompt_lookup an e-mail into JSON, without and with prompt lookup

Options
  --peers[=LIST]  peers in the same run (fetched into build/peers; needs python3 and a network): all, or some of
                  ${PEER_NAMES.join(", ")}
  --model NAME    ${MODELS.join(", ")} (default ${MODELS[0]}); the larger two are random weights
  --repeats N     fresh processes or rounds (default 5)
  --json FILE     write the figures there
  --plot FILE     write a chart of them there, as SVG
  --help
`;

function refuse(message) {
  process.stderr.write(`bench: ${message}\n`);
  process.exit(2);
}

/** `--peers` alone is all of them: parseArgs knows no option with an optional value. */
const withAllPeers = (args) =>
  args.map((arg, i) => {
    const list = args[i + 1]?.split(",");
    return arg === "--peers" && !list?.every((name) => PEER_NAMES.includes(name))
      ? `--peers=${PEER_NAMES.join(",")}`
      : arg;
  });

function readArguments() {
  const options = {
    json: { type: "string" },
    plot: { type: "string" },
    model: { type: "string", default: MODELS[0] },
    peers: { type: "string", default: "" },
    repeats: { type: "string", default: "5" },
    help: { type: "boolean", default: false },
  };
  try {
    return parseArgs({ args: withAllPeers(process.argv.slice(2)), options, allowPositionals: true });
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
if (!MODELS.includes(values.model))
  refuse(`Expected one of ${MODELS.join(", ")} for --model, received ${values.model}.`);
const peers = values.peers === "" ? [] : values.peers.split(",");
for (const name of peers)
  if (!PEER_NAMES.includes(name))
    refuse(`Expected some of ${PEER_NAMES.join(", ")} for --peers, received ${name}.`);
const available = SUITES.filter((name) => values.model === MODELS[0] || !SMALLEST_ONLY.includes(name));
for (const name of positionals)
  if (!available.includes(name))
    refuse(`Expected one of ${available.join(", ")} for ${values.model}, received ${name}.`);
const chosen = positionals.length > 0 ? positionals : available;
const log = (text) => process.stderr.write(`  ${text}\n`);

const model = await benchModel(values.model, log);
const report = { machine: machine(), model: model.title, figures: [] };
process.stdout.write(
  `${report.model} on ${report.machine.cpu}, ${report.machine.cores} cores, ${report.machine.memoryGiB} GiB\n`,
);

function add({ figures, ...rest }) {
  Object.assign(report, rest);
  report.figures.push(...figures);
  for (const figure of figures) print(figure);
}
if (chosen.includes("load")) add(await loadSuite({ repeats }));
if (chosen.includes("ops")) add(await opsSuite({ repeats }));
if (chosen.includes("adapters") && values.model === MODELS[0]) add(await adapterLayerSuite({ repeats }));
const suites = GENERATION_SUITES.filter((name) => chosen.includes(name));
if (suites.length > 0) add(await generationSuite({ suites, repeats, model, peers, log }));
if (chosen.includes("serving")) add(await servingSuite({ model, log }));
printRun(report);
if (values.json) writeFileSync(values.json, `${JSON.stringify(report, null, 2)}\n`);
if (values.plot) writeFileSync(values.plot, await plot(report));
