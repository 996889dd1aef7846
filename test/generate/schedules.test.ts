/**
 * Batch invariance: whatever is scheduled with whom, in chunks of whatever size, with a prefix hit or without, before or after a
 * preemption, with 1 to 4 threads: each request gets the bits that it gets alone.
 */
import { createHash } from "node:crypto";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { loadModel, type AdapterSelection, type Model } from "#lib/index.js";
import { someTokens, tinyAdapter, tinyModel, untilIdle } from "./tiny-models.js";

const CONTEXT = 256;
/** Pages of 32 tokens: two texts of 218 tokens with a common beginning do not fit together. */
const PAGES = 8;
/** Threads, maxSequences, maxStepTokens. */
const ENGINES = [
  [1, 8, 40],
  [2, 3, 512],
  [1, 6, 7],
  [3, 5, 33],
  [4, 16, 100],
] as const;
/** More threads than cores are slow: one schedule in twelve. */
const TURNS = [0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 3, 2, 0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 4, 2];
const ADAPTERS = ["plain", "rslora", "dora"];
/** LOWRANK_FULL=1, as `npm run verify` sets it, runs all. */
const SCHEDULES = process.env["LOWRANK_FULL"] === "1" ? 500 : 60;

interface Piece {
  /** Which common beginning, and how many tokens of it. */
  stem: number;
  stemTokens: number;
  /** Tokens behind it, from this seed. */
  tail: number;
  seed: number;
  adapter: AdapterSelection | undefined;
  /** 0: logits of all positions in place of an answer. */
  maxTokens: number;
  temperature: number;
  promptLookup: boolean;
}

/** How a piece is served: nothing here may change what it gets. */
interface Served {
  piece: Piece;
  priority: number;
  prefixCache: boolean;
  cacheSalt: string;
  abort: boolean;
}

const tokensOf = (piece: Piece): number[] => [
  ...someTokens(64, 1000 + piece.stem).slice(0, piece.stemTokens),
  ...someTokens(piece.tail, piece.seed),
];

const hash = (...arrays: (ArrayBufferView | number[])[]): string => {
  const sum = createHash("sha256");
  for (const array of arrays)
    sum.update(
      ArrayBuffer.isView(array)
        ? new Uint8Array(array.buffer, array.byteOffset, array.byteLength)
        : JSON.stringify(array),
    );
  return sum.digest("hex");
};

async function run(model: Model, { piece, abort, ...serving }: Served): Promise<string | null> {
  const tokens = tokensOf(piece);
  if (piece.maxTokens === 0) {
    const { logits } = await model.logits(tokens, { adapter: piece.adapter, ...serving });
    return hash(logits);
  }
  const generation = model.generate(
    { tokens },
    {
      ...serving,
      adapter: piece.adapter,
      maxTokens: piece.maxTokens,
      temperature: piece.temperature,
      promptLookup: piece.promptLookup,
      seed: piece.seed,
      ignoreEndOfText: true,
      logprobs: 2,
    },
  );
  if (abort) {
    for await (const part of generation) if (part.tokens.length > 0) break;
    return null;
  }
  const result = await generation.result();
  const logprobs = result.logprobs!;
  return hash(
    [...result.tokens],
    Float32Array.from(logprobs.flatMap((one) => [one.logprob, one.entropy, one.logsumexp])),
    logprobs.map((one) => one.top.map(({ id, logprob }) => [id, logprob])).flat(2),
  );
}

const piece = fc.record<Piece>({
  stem: fc.integer({ min: 0, max: 2 }),
  stemTokens: fc.constantFrom(0, 31, 40, 64),
  tail: fc.integer({ min: 1, max: 60 }),
  seed: fc.integer({ min: 0, max: 20 }),
  adapter: fc.constantFrom<AdapterSelection | undefined>(
    undefined,
    "plain",
    "dora",
    { name: "plain", scale: 0.5 },
    ["plain", "rslora"],
    {
      name: "rslora",
      scale: [
        { fromToken: 0, scale: 1 },
        { fromToken: 3, scale: -0.5 },
        { fromToken: 40, scale: 2 },
      ],
    },
  ),
  maxTokens: fc.constantFrom(0, 1, 5, 30),
  temperature: fc.constantFrom(0, 1),
  promptLookup: fc.boolean(),
});

const served = fc.record<Served>({
  piece,
  priority: fc.integer({ min: -1, max: 1 }),
  prefixCache: fc.boolean(),
  cacheSalt: fc.constantFrom("", "a"),
  abort: fc.boolean(),
});

/** Two long answers that do not fit into the cache together, and a short one that begins as they do. */
function pressing(seed: number): { long: Served[]; short: Served } {
  const one = (own: number, maxTokens: number): Served => ({
    piece: {
      stem: 0,
      stemTokens: 64,
      tail: 4 + own,
      seed: (seed % 7) + own,
      adapter: ADAPTERS[seed % 4],
      maxTokens,
      temperature: 1,
      promptLookup: false,
    },
    priority: 0,
    prefixCache: true,
    cacheSalt: "",
    abort: false,
  });
  return { long: [one(0, 150), one(1, 150)], short: one(2, 1) };
}

describe("random schedules", () => {
  let reference: Model;
  const engines: Model[] = [];
  const alone = new Map<string, Promise<string | null>>();

  const withAdapters = async (model: Model): Promise<Model> => {
    for (const name of ADAPTERS) await model.adapters.load(name, tinyAdapter(name));
    return model;
  };
  beforeAll(async () => {
    reference = await withAdapters(
      await loadModel(tinyModel("llama"), { threads: 1, contextLength: CONTEXT, maxSequences: 1 }),
    );
    const kvCacheMemory = PAGES * 32 * reference.facts.kvBytesPerToken;
    for (const [threads, maxSequences, maxStepTokens] of ENGINES)
      engines.push(
        await withAdapters(
          await loadModel(tinyModel("llama"), {
            threads,
            maxSequences,
            maxStepTokens,
            kvCacheMemory,
            contextLength: CONTEXT,
          }),
        ),
      );
  });
  afterAll(async () => {
    for (const model of [reference, ...engines]) await model?.dispose();
  });

  const expected = (wanted: Piece): Promise<string | null> => {
    const key = JSON.stringify(wanted);
    let found = alone.get(key);
    if (!found) {
      found = run(reference, { piece: wanted, priority: 0, prefixCache: false, cacheSalt: "", abort: false });
      alone.set(key, found);
    }
    return found;
  };

  test(
    `${SCHEDULES} of them, each with chunks, a prefix hit and a preemption`,
    { timeout: 600_000 },
    async () => {
      let schedules = 0;
      await fc.assert(
        fc.asyncProperty(fc.array(served, { minLength: 1, maxLength: 6 }), fc.nat(), async (others, seed) => {
          const model = engines[TURNS[schedules++ % TURNS.length]!]!;
          const before = model.statistics();
          const check = async (served: Served[]): Promise<void> => {
            const results = await Promise.all(served.map((one) => run(model, one)));
            for (const [i, one] of served.entries())
              if (results[i] !== null) expect(results[i]).toBe(await expected(one.piece));
          };
          const { long, short } = pressing(seed);
          await check([...long, ...others]);
          // The others, or the machine, may have kept the two apart; and what they left in the cache may be used up.
          for (let i = 0; i < 10 && model.statistics().preemptions === before.preemptions; i++)
            await check(long);
          await check([short]);
          await check([short]);
          await untilIdle(model);
          const after = model.statistics();
          expect(after.preemptions).toBeGreaterThan(before.preemptions);
          expect(after.cachedTokens).toBeGreaterThan(before.cachedTokens);
          expect(after.kvCache.usedBytes).toBe(0);
          expect(after.waiting + after.active).toBe(0);
        }),
        { numRuns: SCHEDULES, endOnFailure: true },
      );
    },
  );
});
