/** SmolLM2-135M-Instruct against transformers, 20 prompts: test/golden/make_smollm2.py. LOWRANK_FULL=1 runs every greedy text. */
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { loadModel } from "#lib/index.js";
import { GREEDY_GAP, SMOLLM2_TOLERANCE, readGolden, type Place, type ReferencePrecision } from "./golden.js";
import { expectGreedyText } from "./greedy-text.js";

interface SmolManifest {
  vocabularySize: number;
  /** float32 error of transformers itself, against float64. */
  float32Error: number;
  fixedIds: number[];
  prompts: { text: string; tokens: number[] }[];
  /** Rows of all prompts lie one after the other: [positions of all prompts, …]. */
  precisions: {
    precision: ReferencePrecision;
    topIds: Place;
    topLogits: Place;
    logSumExp: Place;
    fixedLogits: Place;
    greedyTokens: Place;
    greedyGaps: Place;
  }[];
}

const golden = readGolden<SmolManifest>(join("smollm2", "smollm2"));
const { fixedIds, precisions, prompts, vocabularySize } = golden.manifest;
const PROMPT_COUNT = 20;
/** Prompts of the greedy comparison by default: text, code, chat; no near-tie in either precision. */
const GREEDY_SUBSET = [0, 3, 18];
const greedyPrompts = process.env["LOWRANK_FULL"] === "1" ? prompts.map((_, i) => i) : GREEDY_SUBSET;
type Model = Awaited<ReturnType<typeof loadModel>>;

function logSumExp(row: Float32Array): number {
  let max = -Infinity;
  for (const value of row) max = Math.max(max, value);
  let sum = 0;
  for (const value of row) sum += Math.exp(value - max);
  return max + Math.log(sum);
}

test("the golden holds 20 prompts and leaves the bar to the engine", () => {
  expect(prompts).toHaveLength(PROMPT_COUNT);
  expect(golden.manifest.float32Error).toBeLessThan(SMOLLM2_TOLERANCE / 4);
});

describe.each(precisions)("$precision", (expected) => {
  let model: Model;
  beforeAll(async () => {
    model = await loadModel("smollm2-135m-instruct", { precision: expected.precision });
  });
  afterAll(() => model?.dispose());

  test("top 64 logits, logsumexp and 256 fixed ids of every position", { timeout: 600_000 }, async () => {
    const topIds = golden.integers(expected.topIds);
    const topLogits = golden.floats(expected.topLogits);
    const sums = golden.floats(expected.logSumExp);
    const fixedLogits = golden.floats(expected.fixedLogits);
    const top = expected.topIds.shape[1]!;
    const worst = { top: 0, fixed: 0, logSumExp: 0 };
    let row = 0;
    for (const { tokens } of prompts) {
      const result = await model.logits(tokens);
      expect(result.vocabularySize).toBe(vocabularySize);
      expect(result.logits).toHaveLength(tokens.length * vocabularySize);
      for (let position = 0; position < tokens.length; position++, row++) {
        const logits = result.logits.subarray(position * vocabularySize, (position + 1) * vocabularySize);
        for (let i = 0; i < top; i++) {
          const difference = Math.abs(logits[topIds[row * top + i]!]! - topLogits[row * top + i]!);
          worst.top = Math.max(worst.top, difference);
        }
        for (const [i, id] of fixedIds.entries()) {
          const difference = Math.abs(logits[id]! - fixedLogits[row * fixedIds.length + i]!);
          worst.fixed = Math.max(worst.fixed, difference);
        }
        worst.logSumExp = Math.max(worst.logSumExp, Math.abs(logSumExp(logits) - sums[row]!));
      }
    }
    expect(row).toBe(expected.topIds.shape[0]);
    // Written so that NaN fails too.
    expect(worst.top).toBeLessThanOrEqual(SMOLLM2_TOLERANCE);
    expect(worst.fixed).toBeLessThanOrEqual(SMOLLM2_TOLERANCE);
    expect(worst.logSumExp).toBeLessThanOrEqual(SMOLLM2_TOLERANCE);
  });

  const [, maxTokens] = expected.greedyTokens.shape as [number, number];
  test.each(greedyPrompts)(
    `greedy text of prompt %i over ${maxTokens} tokens`,
    { timeout: 600_000 },
    async (i) => {
      const tokens = golden.integers(expected.greedyTokens).subarray(i * maxTokens, (i + 1) * maxTokens);
      const gaps = golden.floats(expected.greedyGaps).subarray(i * maxTokens, (i + 1) * maxTokens);
      await expectGreedyText(model, prompts[i]!.tokens, { tokens, gaps }, GREEDY_GAP);
    },
  );
});
