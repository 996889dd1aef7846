import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { compareWrappers } from "../../scripts/cuda/wrappers.mjs";

const root = join(dirname(fileURLToPath(import.meta.url)), "../..");

interface Wrapper {
  name: string;
  ulp_of_each: number;
  ulp_of_largest: number;
  words: number[];
}
const golden = JSON.parse(readFileSync(join(root, "test/cuda/selftest/golden.json"), "utf8")) as {
  wrappers: Wrapper[];
};
const copy = () => structuredClone(golden);
const differing = (found: typeof golden) =>
  compareWrappers(golden, found)
    .filter(({ differences }) => differences.length > 0)
    .map(({ name }) => name);

describe("the wrappers of a device against the golden file", () => {
  it("holds every instruction, 32 lanes each", () => {
    expect(golden.wrappers.length).toBeGreaterThanOrEqual(12);
    for (const { name, words } of golden.wrappers) {
      expect(words.length % 32, name).toBe(0);
      expect(new Set(words).size, name).toBeGreaterThan(3);
    }
  });

  it("notices one bit in any exact wrapper", () => {
    for (const [i, one] of golden.wrappers.entries()) {
      if (one.ulp_of_each + one.ulp_of_largest > 0) continue;
      const found = copy();
      found.wrappers[i]!.words[37] = (found.wrappers[i]!.words[37]! ^ 1) >>> 0;
      expect(differing(found)).toEqual([one.name]);
    }
  });

  it("allows so many ulp in the others, and no more", () => {
    for (const [i, one] of golden.wrappers.entries()) {
      const allowed = one.ulp_of_each + one.ulp_of_largest;
      if (allowed === 0) continue;
      const floats = new Float32Array(Uint32Array.from(one.words).buffer);
      const largest = floats.reduce(
        (best, value, at) => (Math.abs(value) > Math.abs(floats[best]!) ? at : best),
        0,
      );
      for (const [steps, expected] of [
        [1, []],
        [4 * allowed, [one.name]],
      ] as const) {
        const found = copy();
        found.wrappers[i]!.words[largest]! += steps;
        expect(differing(found)).toEqual(expected);
      }
    }
  });

  it("notices NaN, a wrapper that did not run, and one with fewer words", () => {
    const nan = copy();
    nan.wrappers.find(({ name }) => name === "mma_m16n8k16_bf16")!.words[0] = 0x7fc00000;
    expect(differing(nan)).toEqual(["mma_m16n8k16_bf16"]);
    const missing = { wrappers: copy().wrappers.filter(({ name }) => name !== "__dp4a") };
    expect(differing(missing)).toEqual(["__dp4a"]);
    const short = copy();
    short.wrappers[0]!.words.pop();
    expect(differing(short)).toEqual([golden.wrappers[0]!.name]);
  });
});

describe("cuda:selftest", () => {
  const selftest = (...args: string[]) =>
    spawnSync(process.execPath, [join(root, "scripts/cuda-selftest.mjs"), ...args], {
      encoding: "utf8",
      env: { ...process.env, LOWRANK_CUDA_PLUGIN: "/nowhere/liblowrank_cuda.so" },
    });

  it("says loudly that there is no GPU, and ends with status 3", () => {
    const { status, stderr } = selftest();
    expect(status).toBe(3);
    expect(stderr).toContain("THERE IS NO GPU TO TEST ON, AND NOTHING WAS TESTED.");
    expect(stderr).toContain("/nowhere/liblowrank_cuda.so");
  });

  it("refuses a part that it does not have", () => {
    const { status, stderr } = selftest("--only", "weather");
    expect(status).toBe(2);
    expect(stderr).toContain(
      "Expected some of wrappers, ops, model, ceilings, rates for --only, received weather.",
    );
  });
});
