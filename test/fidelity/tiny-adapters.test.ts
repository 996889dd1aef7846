/** Every kind of adapter against PEFT, on small random models: test/golden/make_tiny_adapters.py. */
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { loadModel } from "#lib/index.js";
import { failureOf } from "../generate/tiny-models.js";
import {
  DATA,
  DEVICE,
  TINY_TOLERANCE,
  maxDifference,
  readGolden,
  type Place,
  type ReferencePrecision,
} from "./golden.js";
import { expectGreedyText } from "./greedy-text.js";

interface AdapterCase {
  base: string;
  precision: ReferencePrecision;
  adapters: { name: string; scale: number }[];
  tokens: number[];
  maxAbs: number;
  /** How far the adapters move the logits in PEFT; 0 where an activated adapter stays asleep. */
  effect: number;
  /** float32 [tokens, vocabulary]. */
  logits: Place;
  /** Greedy continuation, and the gap of the top two logits at each step. */
  greedy?: { tokens: number[]; gaps: number[] };
}

const golden = readGolden<{ cases: AdapterCase[] }>(join("tiny-adapters", "tiny-adapters"));
const { cases } = golden.manifest;
const folderOf = (adapter: string): string => join(DATA, "tiny-adapters", adapter);
type Model = Awaited<ReturnType<typeof loadModel>>;

/** Refused: PEFT's results for these depend on more than the contract promises. */
const REFUSED = new Set(["embedding-dora", "plain+dora", "dora+plain"]);
const isRefused = ({ adapters }: AdapterCase): boolean =>
  REFUSED.has(adapters.map(({ name }) => name).join("+"));

function titleOf({ adapters, tokens }: AdapterCase): string {
  return `${adapters.map(({ name, scale }) => `${name} x ${scale}`).join(" + ")} over ${tokens.length} tokens`;
}

test("the goldens hold every case", () => {
  expect(cases.length).toBeGreaterThanOrEqual(41);
  expect(cases.filter(isRefused)).toHaveLength(3);
});

const groups = [...new Set(cases.map((item) => `${item.base} ${item.precision}`))];

describe.each(groups)("%s", (group) => {
  const members = cases.filter((item) => `${item.base} ${item.precision}` === group);
  const { base, precision } = members[0]!;
  let model: Model;

  beforeAll(async () => {
    model = await loadModel(join(DATA, "tiny-models", base), { precision, device: DEVICE });
  });
  afterAll(() => model?.dispose());

  /** Runs `body` with the adapters of the case loaded. */
  async function withAdapters(item: AdapterCase, body: () => Promise<void>): Promise<void> {
    const loaded: string[] = [];
    try {
      for (const { name } of item.adapters) {
        await model.adapters.load(name, folderOf(name));
        loaded.push(name);
      }
      await body();
    } finally {
      for (const name of loaded) await model.adapters.unload(name);
    }
  }

  for (const item of members.filter(isRefused)) {
    test(`refuses ${titleOf(item)}`, async () => {
      const error = await failureOf(() =>
        withAdapters(item, async () => {
          await model.logits(item.tokens, { adapter: item.adapters });
        }),
      );
      expect(error.code).toBe("ERR_ADAPTER_UNSUPPORTED");
      expect(error.message).toMatch(/dora/i);
    });
  }

  for (const item of members.filter((one) => !isRefused(one))) {
    test(`logits of ${titleOf(item)}`, async () => {
      await withAdapters(item, async () => {
        const expected = golden.floats(item.logits);
        const { logits } = await model.logits(item.tokens, { adapter: item.adapters });
        expect(maxDifference(logits, expected)).toBeLessThanOrEqual(TINY_TOLERANCE * item.maxAbs);

        // Switched off, the golden fails, by as much as in PEFT.
        const { logits: off } = await model.logits(item.tokens);
        const effect = maxDifference(off, expected);
        expect(Math.abs(effect - item.effect)).toBeLessThanOrEqual(4 * TINY_TOLERANCE * item.maxAbs);
        if (item.effect !== 0) expect(effect).toBeGreaterThan(100 * TINY_TOLERANCE * item.maxAbs);
      });
    });

    const { greedy } = item;
    if (greedy !== undefined) {
      test(`greedy text of ${titleOf(item)}`, async () => {
        await withAdapters(item, async () => {
          const gap = 2 * TINY_TOLERANCE * item.maxAbs;
          await expectGreedyText(model, item.tokens, greedy, gap, { adapter: item.adapters });
        });
      });
    }
  }
});
