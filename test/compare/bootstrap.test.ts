/** The generator, the normal distribution and the bootstrap, against known figures. */
import { describe, expect, test } from "vitest";
import { bootstrapMeans, quantile, type BootstrapOptions } from "#lib/compare/bootstrap.js";
import { normalCdf, normalQuantile } from "#lib/compare/normal.js";
import { Random } from "#lib/compare/random.js";
import { failureOf } from "../generate/tiny-models.js";

const options = (more: Partial<BootstrapOptions> = {}): BootstrapOptions => ({
  confidence: 0.95,
  resamples: 2000,
  seed: 0,
  signal: undefined,
  ...more,
});
const ones = (count: number): Float64Array => new Float64Array(count).fill(1);
const intervalOf = async (
  sums: ArrayLike<number>,
  counts: Float64Array,
  more: Partial<BootstrapOptions> = {},
): Promise<[number, number] | null> =>
  (await bootstrapMeans([Float64Array.from(sums)], counts, options(more)))[0]!;

describe("the generator", () => {
  test("gives the reference implementation's numbers", () => {
    const random = new Random(Uint32Array.of(1, 2, 3, 4));
    expect(Array.from({ length: 10 }, () => random.bits())).toEqual([
      11520, 0, 5927040, 70819200, 2031721883, 1637235492, 1287239034, 3734860849, 3729100597, 4258142804,
    ]);
  });

  test("is seeded by SplitMix64, whose first words for 0 are e220a8397b1dcdaf and 6e789e6aa1b965f4", () => {
    const state = Uint32Array.of(0x7b1dcdaf, 0xe220a839, 0xa1b965f4, 0x6e789e6a);
    const [seeded, stated] = [new Random(0), new Random(state)];
    for (let i = 0; i < 100; i++) expect(seeded.bits()).toBe(stated.bits());
    expect(new Random(Number.MAX_SAFE_INTEGER).bits()).not.toBe(new Random(0).bits());
  });

  test("draws each of a few numbers equally often", () => {
    const random = new Random(3);
    const seen = new Array<number>(7).fill(0);
    for (let i = 0; i < 70_000; i++) seen[random.below(7)]!++;
    for (const count of seen) expect(Math.abs(count - 10_000)).toBeLessThan(5 * Math.sqrt(10_000));
  });
});

test.each([
  [0, 0.5],
  [1, 0.8413447460685429],
  [-1.959963984540054, 0.025],
  [3, 0.9986501019683699],
  [-5, 2.866515718791939e-7],
  [9, 1],
  [-9, 0],
])("normal distribution at %d: %d", (x, p) => {
  expect(Math.abs(normalCdf(x) - p)).toBeLessThan(1e-14);
  if (Math.abs(x) <= 5) expect(normalQuantile(p)).toBeCloseTo(x, 8);
});

test("quantiles lie between neighbours", () => {
  const values = Float64Array.of(1, 2, 4);
  expect([0, 0.25, 0.5, 0.75, 1].map((level) => quantile(values, level))).toEqual([1, 1.5, 2, 3, 4]);
  expect(quantile(Float64Array.of(7), 0.3)).toBe(7);
});

describe("the bootstrap", () => {
  // scipy.stats.bootstrap 1.17.1, paired, 400,000 resamples, statistic sum(x) / sum(n).
  const sums = [1.5, 0.2, 3.9, 0.7, 8.0, 0.1, 2.2, 5.1, 0.4, 1.0, 12.5, 0.6];
  const counts = Float64Array.of(10, 8, 20, 9, 25, 4, 16, 22, 12, 7, 30, 5);
  test.each([
    [0.95, 0.139024, 0.31581],
    [0.8, 0.164667, 0.281395],
  ])("gives scipy's BCa interval at %d", async (confidence, low, high) => {
    const found = (await intervalOf(sums, counts, { confidence, resamples: 20_000 }))!;
    expect(Math.abs(found[0] - low)).toBeLessThan(0.002);
    expect(Math.abs(found[1] - high)).toBeLessThan(0.002);
  });

  test("covers the mean of a normal sample as often as it says", async () => {
    const random = new Random(11);
    const draw = (): number => normalQuantile((random.bits() + 0.5) / 2 ** 32);
    let covered = 0;
    for (let sample = 0; sample < 200; sample++) {
      const values = Array.from({ length: 40 }, draw);
      const [low, high] = (await intervalOf(values, ones(40), { resamples: 500, seed: sample }))!;
      covered += low <= 0 && 0 <= high ? 1 : 0;
    }
    // 200 times 95 %, and four standard deviations.
    expect(covered).toBeGreaterThan(190 - 4 * Math.sqrt(200 * 0.95 * 0.05));
    expect(covered).toBeLessThan(200);
  });

  test("of equal values is that value; of a single prompt there is none", async () => {
    expect(await intervalOf([3, 3, 3, 3], ones(4))).toEqual([3, 3]);
    expect(await intervalOf([0, 0], ones(2))).toEqual([0, 0]);
    expect(await intervalOf([5], ones(1))).toBeNull();
  });

  test("is the same for the same seed, and pairs its statistics", async () => {
    const values = Float64Array.from(sums);
    const shifted = values.map((value, i) => value + 2 * counts[i]!);
    const [plain, moved] = await bootstrapMeans([values, shifted], counts, options());
    expect(moved![0]).toBeCloseTo(plain![0] + 2, 10);
    expect(moved![1]).toBeCloseTo(plain![1] + 2, 10);
    expect(await intervalOf(sums, counts)).toEqual(plain);
    expect(await intervalOf(sums, counts, { seed: 1 })).not.toEqual(plain);
  });

  test("lies within the values, also where one outweighs all others", async () => {
    const [low, high] = (await intervalOf([0, 0, 0, 0, 0, 1e6], ones(6), { confidence: 0.999 }))!;
    expect(low).toBeGreaterThanOrEqual(0);
    expect(high).toBeLessThanOrEqual(1e6);
    expect(low).toBeLessThan(high);
  });

  test("can be aborted", async () => {
    const error = await failureOf(() =>
      intervalOf(new Float64Array(5000), ones(5000), {
        resamples: 20_000,
        signal: AbortSignal.timeout(20),
      }),
    );
    expect(error.code).toBe("ERR_ABORTED");
  });
});
