// All tests: native ones (CMake), then those of the package (vitest). Arguments go to vitest. At the end it names what did not run.
// The long forms of some tests are left to `npm run verify`.
import { spawnSync } from "node:child_process";
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

/** Runs native tests, and keeps what they say about their coverage. */
function runNative(program) {
  const { status, stdout } = spawnSync(program, {
    cwd: root,
    encoding: "utf8",
    maxBuffer: 2 ** 26,
    stdio: ["ignore", "pipe", "inherit"],
  });
  process.stdout.write(stdout ?? "");
  if (status !== 0) process.exit(status ?? 1);
  coverage.push(...stdout.split("\n").filter((line) => /^(instruction sets:|SKIPPED )/.test(line)));
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
  runNative(join(root, "build-native", "lowrank_tests"));
  for (const target of cudaTargets) runNative(join(root, "build-native", "test", "cuda", target));
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
