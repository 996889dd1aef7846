// All tests: native ones (CMake), then those of the package (vitest). Arguments go to vitest. At the end it names what did not run.
// The long forms of some tests are left to `npm run verify`.
import { spawn, spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { checkTools } from "./lib/tools.mjs";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");

function run(command, ...args) {
  const result = spawnSync(command, args, { cwd: root, stdio: ["ignore", "inherit", "inherit"] });
  if (result.status !== 0) process.exit(result.status ?? 1);
}

/** What native tests did not run, and on which instruction sets they ran: a line each. */
const coverage = [];

/** Runs a program of native tests. Resolves with its status and all that it printed. */
function runNative(program) {
  return new Promise((resolve) => {
    const child = spawn(program, { cwd: root, stdio: ["ignore", "pipe", "pipe"] });
    let text = "";
    for (const stream of [child.stdout, child.stderr]) stream.on("data", (data) => (text += data));
    child.on("error", (error) => resolve({ status: 1, text: `${program}: ${error.message}\n` }));
    child.on("close", (code) => resolve({ status: code ?? 1, text }));
  });
}

/** Runs programs of native tests side by side, as each computes on one thread most of the time, and keeps what they say about their coverage. */
async function runAllNative(programs) {
  const results = await Promise.all(programs.map(runNative));
  for (const { text } of results) {
    process.stdout.write(text);
    coverage.push(...text.split("\n").filter((line) => /^(instruction sets:|SKIPPED )/.test(line)));
  }
  const failed = results.find(({ status }) => status !== 0);
  if (failed) process.exit(failed.status);
}

// The CUDA backend on an emulated device: see test/cuda.
const cudaTargets = process.platform === "linux" ? ["lowrank_cuda_tests"] : [];

const filters = process.argv.slice(2);
if (filters.length === 0) {
  checkTools(["cmake", "c++"]);
  run(
    "cmake",
    "-S",
    ".",
    "-B",
    "build-native",
    "-DCMAKE_BUILD_TYPE=Release",
    "-Wno-dev",
    "--log-level=WARNING",
  );
  run(
    "cmake",
    "--build",
    "build-native",
    "--parallel",
    String(availableParallelism()),
    "--target",
    "all",
    ...cudaTargets,
    "--",
    "--no-print-directory",
    "-s",
  );
  await runAllNative([
    join(root, "build-native", "lowrank_tests"),
    ...cudaTargets.map((target) => join(root, "build-native", "test", "cuda", target)),
  ]);
}
const report = join(root, "build", "test-report.json");
const vitest = join(root, "node_modules/vitest/vitest.mjs");
run(
  process.execPath,
  vitest,
  "run",
  "--reporter=default",
  "--reporter=json",
  `--outputFile.json=${report}`,
  ...filters,
);

const { testResults } = JSON.parse(readFileSync(report, "utf8"));
const skipped = testResults.flatMap(({ name, assertionResults }) =>
  assertionResults
    .filter(({ status }) => status !== "passed")
    .map(({ fullName }) => `${relative(root, name)}: ${fullName}`),
);
coverage.push(...skipped.map((name) => `SKIPPED ${name}`));
if (coverage.length > 0) process.stdout.write(`\n${coverage.join("\n")}\n`);

// The real model is the point, and the emulated device was built above: a test of them that did not run is a failure.
const needed = cudaTargets.length > 0 && filters.length === 0 ? /smollm2|emulated-device/i : /smollm2/i;
const missing = skipped.filter((name) => needed.test(name));
if (missing.length > 0) {
  process.stderr.write(`Tests that must run were skipped:\n  ${missing.join("\n  ")}\n`);
  process.exit(1);
}
