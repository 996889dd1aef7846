import { execFile, spawnSync } from "node:child_process";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { median } from "./statistics.mjs";

const root = fileURLToPath(new URL("..", import.meta.url));

/** What a native benchmark prints: see bench/native/main.cpp. */
export const runNativeBench = (...parameters) => runNativeBenchWith({}, ...parameters);

async function runNativeBenchWith(env, ...parameters) {
  const program = join(root, "build-native", "lowrank_bench");
  const { stdout } = await promisify(execFile)(program, parameters.map(String), {
    env: { ...process.env, ...env },
  });
  return JSON.parse(stdout);
}

/** Builds the native benchmarks. */
export function buildNativeBench() {
  const run = (...args) => {
    const { status } = spawnSync("cmake", args, { cwd: root, stdio: ["ignore", "ignore", "inherit"] });
    if (status !== 0)
      throw new Error(`Expected cmake ${args.join(" ")} to succeed. Is cmake 3.18 or newer installed?`);
  };
  run("-S", ".", "-B", "build-native", "-DCMAKE_BUILD_TYPE=Release", "-Wno-dev");
  run("--build", "build-native", "--target", "lowrank_bench", "--parallel", "2");
}

/** The ceilings on `threads` threads, those of an instruction set where one is named; see bench/native/ceilings.h. */
export const measureCeilings = (threads, instructionSet) =>
  runNativeBenchWith(instructionSet ? { LOWRANK_ISA: instructionSet } : {}, "ceilings", threads);

/** The median of each over several measurements. */
export const medianCeilings = (measurements) =>
  Object.fromEntries(
    Object.keys(measurements[0]).map((key) => [key, median(measurements.map((one) => one[key]))]),
  );
