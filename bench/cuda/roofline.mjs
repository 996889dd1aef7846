// Expected rates of the CUDA kernels on GPUs that nobody here has: docs/cuda-roofline.md and its chart.
//
// Usage: npm run cuda:roofline -- --help. Status 1: the page could not be made, or with --check is not the one that is there; 2:
// wrong arguments.
import { spawnSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { readArguments } from "../../scripts/lib/arguments.mjs";
import { demangle, shortName } from "../../scripts/lib/kernel-names.mjs";
import { checkTools } from "../../scripts/lib/tools.mjs";
import { chart } from "./chart.mjs";
import { GPUS } from "./gpus.mjs";
import { page } from "./page.mjs";
import { timeOfStep } from "./time-model.mjs";

const SCRIPT = "cuda:roofline";
const root = join(dirname(fileURLToPath(import.meta.url)), "../..");
const tool = join(root, "build-native", "bench", "native", "cuda", "lowrank_cuda_roofline");
const markdown = join(root, "docs", "cuda-roofline.md");
const svg = join(root, "docs", "cuda-roofline.svg");

const HELP = `npm run cuda:roofline -- [options]: docs/cuda-roofline.md, a model of what the CUDA kernels reach

  --json FILE    every step's ops, launches, costs and modelled times as JSON
  --check        write nothing; fail where the page is not the one that these sources give
  --help

No GPU and no CUDA toolkit is needed.
`;

const values = readArguments(SCRIPT, HELP, {
  json: { type: "string", default: "" },
  check: { type: "boolean", default: false },
});
checkTools(["cmake", "c++"]);

function run(command, args, options = {}) {
  const { status, stdout, stderr } = spawnSync(command, args, {
    cwd: root,
    encoding: "utf8",
    maxBuffer: 1 << 30,
    ...options,
  });
  if (status === 0) return stdout;
  process.stderr.write(`${stdout ?? ""}${stderr ?? ""}${SCRIPT}: ${[command, ...args].join(" ")} failed.\n`);
  return process.exit(1);
}

process.stdout.write(`${SCRIPT}: building the recorder …\n`);
run("cmake", [
  "-S",
  ".",
  "-B",
  "build-native",
  "-DCMAKE_BUILD_TYPE=Release",
  "-Wno-dev",
  "--log-level=WARNING",
]);
run("cmake", [
  "--build",
  "build-native",
  "--parallel",
  String(availableParallelism()),
  "--target",
  "lowrank_cuda_roofline",
]);
const report = JSON.parse(
  run(
    tool,
    GPUS.map(({ name, multiprocessors, sharedOfBlock }) => `${name}:${multiprocessors}:${sharedOfBlock}`),
  ),
);

// The tool names kernels by where they lie in their library.
const mangled = new Map(
  run("nm", [report.library])
    .split("\n")
    .map((line) => /^([0-9a-f]+) [tTwW] (\S+)$/.exec(line))
    .filter(Boolean)
    .map(([, address, name]) => [Number.parseInt(address, 16), name]),
);
const addresses = [
  ...new Set(
    report.steps.flatMap(({ ops }) => ops.flatMap(({ launches }) => launches.map(({ kernel }) => kernel))),
  ),
];
const short = demangle(addresses.map((address) => mangled.get(address))).map(shortName);
const nameOf = new Map(addresses.map((address, i) => [address, short[i]]));
for (const step of report.steps) {
  for (const op of step.ops) for (const launch of op.launches) launch.name = nameOf.get(launch.kernel);
  step.time = timeOfStep(
    step,
    GPUS.find(({ name }) => name === step.device),
  );
}

// The launches of these steps ask for no more shared memory than budgets.json, by which cuda:check computes occupancy, says.
const budgets = JSON.parse(readFileSync(join(root, "native", "cuda", "budgets.json"), "utf8"));
const launches = report.steps.flatMap(({ ops }) => ops.flatMap((op) => op.launches));
const beyond = launches.filter(({ name, shared }) => !(shared <= (budgets[name]?.dynamic_shared ?? -1)));
if (beyond.length > 0) {
  const sentences = beyond.map(
    ({ name, shared }) =>
      `Expected at most ${budgets[name]?.dynamic_shared ?? "(no entry)"} bytes of dynamic shared memory for ${name}, received ${shared}.`,
  );
  process.stderr.write(
    `${[...new Set(sentences)].join("\n")}\nnative/cuda/budgets.json says how much a kernel may ask for.\n`,
  );
  process.exit(1);
}
if (values.json !== "") writeFileSync(values.json, `${JSON.stringify(report)}\n`);

const text = page(report, GPUS);
if (values.check) {
  if (readFileSync(markdown, "utf8") === text) process.exit(0);
  process.stderr.write(
    `${SCRIPT}: docs/cuda-roofline.md is not what these sources give. Run npm run cuda:roofline.\n`,
  );
  process.exit(1);
}
writeFileSync(markdown, text);
writeFileSync(svg, await chart(report, GPUS));
process.stdout.write(`${SCRIPT}: docs/cuda-roofline.md and docs/cuda-roofline.svg (model, not measured)\n`);
