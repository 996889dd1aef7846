import { describe, expect, it } from "vitest";
import { lineOf } from "../../bench/print.mjs";
import { meanRatio } from "../../bench/statistics.mjs";
import { FIGURES, figuresOf, GENERATION_SUITES } from "../../bench/suites/figures.mjs";
import { sharesInTurns } from "../../bench/suites/shares.mjs";
import { comparisonsOf, inOneProcess, pairsFor, takeTurns } from "../../bench/suites/turns.mjs";

type Request = { context: number; tokens: number; adapter?: boolean | string; seed: number };

/** A process that notes what it is asked. Its 64 tokens take a second, with an adapter a quarter longer, and `drift` is a factor for each question. */
function fakeProcess(kind: string, drift = 1) {
  const asked: Request[] = [];
  const ask = async (request: Request) => {
    asked.push(request);
    const decode_ms = 1000 * (request.adapter ? 1.25 : 1) * drift ** asked.length;
    return { prefill_ms: 1, decode_ms, decoded: 64 };
  };
  return { kind, asked, ask };
}

type Side = { kind: string; asked: object };
type Comparison = { name: string; of: string; sides: [Side, Side] };
const all: Comparison[] = comparisonsOf(figuresOf(GENERATION_SUITES));
const comparison = (name: string) => all.find((one) => one.name === name)!;
const kindsOf = (name: string) => comparison(name).sides.map(({ kind }) => kind);

describe("comparisonsOf", () => {
  it("compares every figure that has something to be compared with", () => {
    const wanted = Object.entries(
      FIGURES as Record<string, { shareOf?: string; pairedWith?: string }>,
    ).filter(([, { shareOf, pairedWith }]) => shareOf ?? pairedWith);
    expect(all.map(({ name, of }) => [name, of])).toEqual(
      wanted.map(([name, { shareOf, pairedWith }]) => [name, shareOf ?? pairedWith]),
    );
  });

  it("asks one process where it can answer both", () => {
    expect(kindsOf("decode_2048")).toEqual(["plain", "plain"]);
    expect(kindsOf("decode_2048_int8_kv")).toEqual(["plain", "plain"]);
    expect(kindsOf("decode_128_adapter")).toEqual(["adapters", "adapters"]);
    expect(kindsOf("batch_16_shared")).toEqual(["adapters", "adapters"]);
    expect(kindsOf("prompt_lookup")).toEqual(["adapters", "adapters"]);
  });

  it("asks two where the processes are what differs", () => {
    expect(kindsOf("prefill_512_avx2")).toEqual(["plain", "avx2"]);
    expect(kindsOf("decode_128_merged")).toEqual(["plain", "merged"]);
    expect(kindsOf("decode_128_adapter_loaded")).toEqual(["plain", "adapters"]);
    expect(inOneProcess(comparison("decode_128_merged"))).toBe(false);
    expect(inOneProcess(comparison("decode_128_adapter"))).toBe(true);
  });
});

describe("pairsFor", () => {
  it("is three for each repeat, from 6 to 12, and even", () => {
    expect([1, 2, 3, 4, 5, 1000].map(pairsFor)).toEqual([6, 6, 10, 12, 12, 12]);
  });
});

describe("takeTurns", () => {
  it("lets each side begin in turn, after a warm-up, and repeats no prompt", async () => {
    const one = fakeProcess("adapters");
    const { values, logarithms } = await takeTurns(comparison("decode_128_adapter"), [one], {
      pairs: 4,
      seed: 7,
    });
    const order = one.asked.map(({ adapter }) => (adapter ? "B" : "A")).join("");
    expect(order).toBe("BA" + "ABBAABBA");
    expect(one.asked.map(({ seed }) => seed)).toEqual(Array.from({ length: 10 }, (_, i) => 7 + i));
    expect(values).toEqual(Array(4).fill(64 / 1.25));
    expect(logarithms).toHaveLength(4);
  });

  it("gives the figure divided by its base, and is not moved by a machine that slows down", async () => {
    const slowing = fakeProcess("adapters", 1.05);
    const turns = await takeTurns(comparison("decode_128_adapter"), [slowing], { pairs: 6, seed: 0 });
    const { ratio, low, high } = meanRatio(turns.logarithms);
    expect(ratio).toBeCloseTo(0.8, 10);
    expect(low).toBeLessThan(0.8);
    expect(high).toBeGreaterThan(0.8);
  });

  it("asks each process for its own side", async () => {
    const [merged, plain] = [fakeProcess("merged"), fakeProcess("plain")];
    await takeTurns(comparison("prefill_512_merged"), [merged, plain], { pairs: 2, seed: 0 });
    for (const { asked } of [merged, plain])
      expect(asked.map(({ context, tokens }) => [context, tokens])).toEqual(Array(3).fill([512, 1]));
  });
});

describe("sharesInTurns", () => {
  it("takes the pairs of each comparison, with other prompts for each", async () => {
    const one = fakeProcess("adapters");
    const lines: string[] = [];
    const wanted = [comparison("decode_128_adapter"), comparison("decode_128_adapter_int8")];
    const log = (line: string) => lines.push(line);
    const shares = await sharesInTurns(wanted, [one], { repeats: 2, seed: 3, log });
    expect([...shares].map(([name, { logarithms }]) => [name, logarithms.length])).toEqual([
      ["decode_128_adapter", 6],
      ["decode_128_adapter_int8", 6],
    ]);
    expect(new Set(one.asked.map(({ seed }) => seed)).size).toBe(28);
    expect(lines[0]).toBe("6 pairs: decode_128_adapter 0.8000 of decode_128");
  });
});

describe("lineOf", () => {
  const figure = { name: "decode_2048", unit: "tokens/s", median: 80, min: 79, max: 81 };
  const nothing = { limit: undefined, peers: {}, share: undefined, ratio: undefined };

  it("shows a share with its interval, where it has one", () => {
    const share = { of: "decode_128", ratio: 0.8, low: 0.7912, high: 0.8088 };
    expect(lineOf({ ...nothing, ...figure, share })).toContain(
      ", 80.0 % of decode_128 (95 %: 79.1 to 80.9)\n",
    );
    expect(lineOf({ ...nothing, ...figure, share: { of: "decode_128", ratio: 0.8 } })).toContain(
      ", 80.0 % of decode_128\n",
    );
  });
});
