import { describe, expect, it } from "vitest";
import { checkAnchors } from "../../bench/anchors.mjs";
import { meanRatio, median, ratioInterval } from "../../bench/statistics.mjs";

describe("median", () => {
  it("takes the middle, or the mean of the middle two, and leaves its input as it was", () => {
    const values = [3, 1, 2];
    expect(median(values)).toBe(2);
    expect(values).toEqual([3, 1, 2]);
    expect(median([4, 1, 2, 3])).toBe(2.5);
  });
});

describe("ratioInterval", () => {
  it("is Student's t on the logarithms", () => {
    // Five values of mean 0.01 and deviation 0.01: half the width is 2.776 * 0.01 / sqrt(5).
    const deviations = [-1.5, -0.5, 0, 0.5, 1.5].map((x) => x / Math.sqrt(5 / 4));
    const { low, high, median: middle } = ratioInterval(deviations.map((x) => 0.01 + 0.01 * x));
    const half = (2.776 * 0.01) / Math.sqrt(5);
    expect(Math.log(low)).toBeCloseTo(0.01 - half, 10);
    expect(Math.log(high)).toBeCloseTo(0.01 + half, 10);
    expect(Math.log(middle)).toBeCloseTo(0.01, 10);
  });

  it("covers the truth in 95 of 100 runs", () => {
    let state = 1;
    const uniform = () => (state = (Math.imul(state, 1664525) + 1013904223) >>> 0) / 2 ** 32;
    const normal = () => Math.sqrt(-2 * Math.log(uniform() + 2 ** -33)) * Math.cos(2 * Math.PI * uniform());
    const RUNS = 4000;
    let covered = 0;
    for (let i = 0; i < RUNS; i++) {
      const { low, high } = ratioInterval(Array.from({ length: 4 }, () => 0.02 * normal()));
      if (low <= 1 && high >= 1) covered++;
    }
    expect(covered / RUNS).toBeGreaterThan(0.935);
    expect(covered / RUNS).toBeLessThan(0.965);
  });
});

describe("meanRatio", () => {
  it("is the geometric mean, in the middle of ratioInterval's logarithms", () => {
    const logarithms = [Math.log(0.5), Math.log(0.5), Math.log(2)];
    const { ratio, low, high } = meanRatio(logarithms);
    expect(ratio).toBeCloseTo(0.5 ** (1 / 3), 10);
    expect(Math.sqrt(low * high)).toBeCloseTo(ratio, 10);
    expect(ratioInterval(logarithms)).toEqual({ median: 0.5, low, high });
  });
});

describe("checkAnchors", () => {
  const zen4 = { vendor: "AuthenticAMD", family: 25, flags: ["avx512_vnni"], cores: 2 };
  const figure = (value: number) => [{ name: "prefill_512", peers: { "node-llama-cpp Q8_0": value } }];

  it("finds a peer that is more than 10 % below its anchor", () => {
    expect(checkAnchors(zen4, "135m", figure(600))).toEqual({ valid: true, reasons: [] });
    const { valid, reasons } = checkAnchors(zen4, "135m", figure(570));
    expect(valid).toBe(false);
    expect(reasons).toEqual(["node-llama-cpp Q8_0 reached 570.0 for prefill_512, 11 % below 640"]);
  });

  it("says nothing of other machines, and without peers", () => {
    expect(checkAnchors({ ...zen4, cores: 4 }, "135m", figure(1)).valid).toBeNull();
    expect(checkAnchors({ ...zen4, flags: undefined }, "135m", figure(1)).valid).toBeNull();
    expect(checkAnchors(zen4, "135m", [{ name: "prefill_512", peers: {} }]).valid).toBeNull();
  });
});
