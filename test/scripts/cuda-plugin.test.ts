// The plugin that nvcc built, where `npm run cuda:build` has left one: on a machine without a driver it loads and says why there is
// no device.
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { faultsOf } from "../../scripts/cuda/library.mjs";

const root = join(dirname(fileURLToPath(import.meta.url)), "../..");
const plugin = join(
  root,
  `packages/lowrank-cuda/prebuilds/${process.platform}-${process.arch}/liblowrank_cuda.so`,
);

const run = (...args: string[]) =>
  spawnSync(process.execPath, args, {
    cwd: root,
    encoding: "utf8",
    env: { ...process.env, LOWRANK_CUDA_PLUGIN: plugin },
  });
const found = () =>
  JSON.parse(
    run(
      "--input-type=module",
      "-e",
      'import { devices } from "./dist/index.js"; process.stdout.write(JSON.stringify(await devices()));',
    ).stdout,
  ) as { id: string; backend: string; available: boolean; reason: string; emulated: boolean }[];

describe.skipIf(!existsSync(plugin))("the plugin built by nvcc", () => {
  it("shows one symbol and needs no library of CUDA", () => {
    expect(faultsOf(plugin)).toEqual([]);
  });

  it("loads, and says what devices there are or why there are none", () => {
    const cuda = found().filter(({ backend }) => backend === "cuda");
    expect(cuda.length).toBeGreaterThan(0);
    for (const { available, reason, emulated } of cuda) {
      expect(emulated).toBe(false);
      if (!available) expect(reason).toMatch(/NVIDIA driver|compute capability/);
    }
  });

  it("makes the self-test give the same reason", ({ skip }) => {
    const unavailable = found().filter(({ backend }) => backend === "cuda");
    if (unavailable.some(({ available }) => available)) skip("there is a GPU");
    const { status, stderr } = run("scripts/cuda-selftest.mjs");
    expect(status).toBe(3);
    expect(stderr).toContain("NOTHING WAS TESTED");
    expect(stderr).toContain(unavailable[0]!.reason);
  });
});

describe("what a plugin must be", () => {
  it("is told from another library", () => {
    const addon = join(root, "build/Release/lowrank.node");
    expect(faultsOf(addon)[0]).toContain("Expected lowrank_cuda_plugin as its one symbol");
  });
});
