// Builds the addon with the address and undefined-behaviour sanitizers in a copy of the sources, build-native/addon, and
// runs the tests that end engines, workers and processes in every way on it. A part of `npm run verify`.
import { spawnSync } from "node:child_process";
import { cpSync, existsSync, mkdirSync, readdirSync, rmSync, symlinkSync } from "node:fs";
import { dirname, isAbsolute, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const copy = join(root, "build-native", "addon");
const TESTS = [
  "test/model/workers",
  "test/model/lifecycle",
  "test/model/process-exit",
  "test/model/load",
  "test/model/bad-models",
  "test/model/changed-files",
  "test/adapters",
  "test/generate/abort",
  "test/generate/concurrency",
  "test/generate/evaluate",
  "test/generate/stopping",
  "test/fidelity/tiny",
];

function fail(message) {
  process.stderr.write(`verify-addon: ${message}\n`);
  process.exit(1);
}

/** The sanitizer's runtime must be loaded before Node itself. */
function runtime(name) {
  const { stdout } = spawnSync("c++", [`-print-file-name=${name}`], { encoding: "utf8" });
  const path = stdout?.trim() ?? "";
  return isAbsolute(path)
    ? path
    : fail(
        `Expected ${name} beside the compiler, there is none. Use g++ with its sanitizers (Debian, Ubuntu: apt-get install g++).`,
      );
}

function run(args, env) {
  const { status, signal } = spawnSync(process.execPath, args, {
    cwd: copy,
    stdio: "inherit",
    env: { ...process.env, ...env },
  });
  if (status !== 0) fail(`${args.join(" ")} ended with ${signal ?? status}.`);
}

if (process.platform !== "linux") fail("Expected Linux: the runtime is preloaded by LD_PRELOAD.");
const preload = ["libasan.so", "libubsan.so"].map(runtime).join(" ");

// Times are kept, so that only what changed is built again.
mkdirSync(copy, { recursive: true });
for (const name of readdirSync(copy))
  if (name !== "build") rmSync(join(copy, name), { recursive: true, force: true });
const copied = [
  "binding.gyp",
  "package.json",
  "vitest.config.ts",
  "scripts",
  "native",
  "lib",
  "dist",
  "test",
];
for (const name of copied)
  cpSync(join(root, name), join(copy, name), { recursive: true, preserveTimestamps: true });
symlinkSync(join(root, "node_modules"), join(copy, "node_modules"));

const sanitizers = "-fsanitize=address,undefined";
run(["scripts/build-native.mjs"], {
  CXXFLAGS: `${sanitizers} -fno-sanitize-recover=all -fno-omit-frame-pointer -g1 -O1`,
  LDFLAGS: sanitizers,
});
if (!existsSync(join(copy, "build/Release/lowrank.node"))) fail("Expected build/Release/lowrank.node.");

run(["node_modules/vitest/vitest.mjs", "run", ...TESTS], {
  LD_PRELOAD: preload,
  // Node itself leaks at its end. A small quarantine, since some tests look at the memory of the process.
  ASAN_OPTIONS:
    "detect_leaks=0:halt_on_error=1:allocator_may_return_null=1:quarantine_size_mb=4:thread_local_quarantine_size_kb=64",
  UBSAN_OPTIONS: "halt_on_error=1:print_stacktrace=1",
});
