// All tests: native ones (CMake), then those of the package (vitest). Arguments go to vitest.
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { checkTools } from "./tools.mjs";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");

function run(command, ...args) {
  const result = spawnSync(command, args, { cwd: root, stdio: ["ignore", "inherit", "inherit"] });
  if (result.status !== 0) process.exit(result.status ?? 1);
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
  run(join(root, "build-native", "lowrank_tests"));
  for (const target of cudaTargets) run(join(root, "build-native", "test", "cuda", target));
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

// The real model is the point: a test of it that did not run is a failure.
const { testResults } = JSON.parse(readFileSync(report, "utf8"));
const skipped = testResults.flatMap(({ name, assertionResults }) =>
  assertionResults
    .filter(({ status, fullName }) => status !== "passed" && /smollm2/i.test(`${name} ${fullName}`))
    .map(({ fullName }) => fullName),
);
if (skipped.length > 0) {
  process.stderr.write(`Tests of the real model were skipped:\n  ${skipped.join("\n  ")}\n`);
  process.exit(1);
}
