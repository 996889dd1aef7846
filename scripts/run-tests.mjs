// All tests: native ones (CMake), then those of the package (vitest). Arguments go to vitest.
import { spawnSync } from "node:child_process";
import { availableParallelism } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { checkTools } from "./tools.mjs";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");

function run(command, ...args) {
  const result = spawnSync(command, args, { cwd: root, stdio: ["ignore", "inherit", "inherit"] });
  if (result.status !== 0) process.exit(result.status ?? 1);
}

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
    "--",
    "--no-print-directory",
    "-s",
  );
  run(join(root, "build-native", "lowrank_tests"));
}
run(process.execPath, join(root, "node_modules/vitest/vitest.mjs"), "run", ...filters);
