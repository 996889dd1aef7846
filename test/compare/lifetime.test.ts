/** What a comparison holds while it runs, and gives back however it ends. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { loadModel, type CompareProgress, type Model } from "#lib/index.js";
import { forcingAdapter } from "../adapters/forcing-adapter.js";
import { failureOf, someTokens, tinyModel, untilIdle } from "../generate/tiny-models.js";

let model: Model;
beforeEach(async () => {
  model = await loadModel(tinyModel("llama"), { threads: 1, contextLength: 400 });
  await model.adapters.load("a", forcingAdapter(model.facts, 5));
});
afterEach(() => model?.dispose());

const prompts = [1, 2, 3].map((seed) => ({
  prompt: { tokens: someTokens(20, seed) },
  completion: { tokens: someTokens(100, seed + 10) },
}));
/** Ten positions at a time. */
const pieces = (): { logitMemory: number } => ({ logitMemory: 10 * 2 * 4 * model.facts.vocabularySize });

async function expectNothingHeld(): Promise<void> {
  await untilIdle(model);
  expect(model.memory().comparisonBytes).toBe(0);
  for (const { users } of model.adapters.list()) expect(users).toBe(0);
  expect(model.statistics().active).toBe(0);
}

test("a swap or an unload in the middle changes nothing: one version from the first token to the last", async () => {
  const { contentHash } = model.adapters.get("a");
  let swapped: Promise<unknown> | undefined;
  let unloaded = false;
  const found = await model.compare(prompts, [null, "a"], {
    ...pieces(),
    onProgress: ({ done }) => {
      if (done === 10) swapped = model.adapters.swap("a", forcingAdapter(model.facts, 9));
      if (done === 30)
        swapped = swapped!.then(() => model.adapters.unload("a")).then(() => (unloaded = true));
    },
  });
  for (const { tokens } of found.prompts)
    for (const { perVariant } of tokens) expect(perVariant[1]!.top1).toBe(5);
  expect(found.variants[1]!.adapters[0]).toMatchObject({ generation: 1, contentHash });
  await swapped;
  expect(unloaded).toBe(true);
  expect(model.memory().adapterBytes).toBe(0);
  await expectNothingHeld();
});

test("a swap right after the call comes too late", async () => {
  const comparing = model.compare(prompts, [null, "a"]);
  await model.adapters.swap("a", forcingAdapter(model.facts, 9));
  const found = await comparing;
  for (const { tokens } of found.prompts)
    for (const { perVariant } of tokens) expect(perVariant[1]!.top1).toBe(5);
  const after = await model.compare(prompts, [null, "a"]);
  expect(after.prompts[0]!.tokens[0]!.perVariant[1]!.top1).toBe(9);
  expect(after.variants[1]!.adapters[0]!.generation).toBe(2);
});

test("generations of one name are compared with each other", async () => {
  // An earlier generation from memory lasts while a name holds its content.
  await model.adapters.load("kept", forcingAdapter(model.facts, 5));
  await model.adapters.swap("a", forcingAdapter(model.facts, 9));
  const found = await model.compare(prompts, [
    "a",
    { name: "a", generation: 1 },
    { name: "a", generation: 2 },
  ]);
  expect(found.variants.map(({ label }) => label)).toEqual(["a", "a (generation 1)", "a (generation 2)"]);
  expect(found.variants.map(({ adapters }) => adapters[0]!.generation)).toEqual([2, 1, 2]);
  const hashes = found.variants.map(({ adapters }) => adapters[0]!.contentHash);
  expect(hashes[2]).toBe(hashes[0]);
  expect(hashes[1]).not.toBe(hashes[0]);
  for (const { tokens } of found.prompts)
    for (const { perVariant } of tokens) expect(perVariant.map(({ top1 }) => top1)).toEqual([9, 5, 9]);
});

test("adapters that are evicted come back for it; too many for the memory are refused", async () => {
  const bytes = model.adapters.get("a").bytes;
  const folder = await mkdtemp(join(tmpdir(), "lowrank-compare-"));
  const small = await loadModel(tinyModel("llama"), {
    threads: 1,
    contextLength: 400,
    adapterMemory: Math.ceil(2.5 * bytes),
    adapterDirectory: folder,
  });
  try {
    for (const token of [5, 6, 7]) await small.adapters.load(`a${token}`, forcingAdapter(small.facts, token));
    expect(small.adapters.list().map(({ state }) => state)).toContain("evicted");
    const found = await small.compare(prompts, [null, "a5", { name: "a7", scale: 2 }]);
    expect(found.prompts[0]!.tokens[0]!.perVariant.slice(1).map(({ top1 }) => top1)).toEqual([5, 7]);
    const error = await failureOf(() => small.compare(prompts, ["a5", "a6", "a7"]));
    expect(error.code).toBe("ERR_OUT_OF_MEMORY");
    // Each needs what the other has: they take turns.
    const [one, other] = await Promise.all([
      small.compare(prompts, ["a5", "a6"]),
      small.compare(prompts, ["a6", "a7"]),
    ]);
    expect([one, other].map(({ prompts: [first] }) => first!.tokens[0]!.perVariant[1]!.top1)).toEqual([6, 7]);
    for (const { users } of small.adapters.list()) expect(users).toBe(0);
  } finally {
    await small.dispose();
    await rm(folder, { recursive: true, force: true });
  }
});

describe("ends early", () => {
  test.each(["generate", "score"])("by its signal, while it is at: %s", async (stage) => {
    const reason = new Error("enough");
    const control = new AbortController();
    const seen: CompareProgress[] = [];
    const error = await failureOf(() =>
      model.compare([...prompts, { tokens: [1, 2] }, { tokens: [3] }], [null, "a"], {
        ...pieces(),
        maxTokens: 200,
        signal: control.signal,
        onProgress: (step) => {
          seen.push(step);
          if (step.stage === stage) control.abort(reason);
        },
      }),
    );
    expect(error).toMatchObject({ code: "ERR_ABORTED", cause: reason });
    expect(seen.filter((step) => step.stage === stage)).toHaveLength(1);
    await expectNothingHeld();
  });

  test("at once, where the signal was aborted before", async () => {
    const error = await failureOf(() =>
      model.compare(prompts, [null, "a"], { signal: AbortSignal.abort("no") }),
    );
    expect(error).toMatchObject({ code: "ERR_ABORTED", cause: "no" });
    await expectNothingHeld();
  });

  test("by an error of onProgress", async () => {
    for (const stage of ["generate", "score"]) {
      const comparing = model.compare([...prompts, { tokens: [1] }], [null, "a"], {
        onProgress: (step) => {
          if (step.stage === stage) throw new Error(`at ${stage}`);
        },
      });
      await expect(comparing).rejects.toThrow(`at ${stage}`);
      await expectNothingHeld();
    }
  });

  test("by the end of the model", async () => {
    let disposing: Promise<void> | undefined;
    const error = await failureOf(() =>
      model.compare(prompts, [null, "a"], {
        ...pieces(),
        onProgress: () => void (disposing ??= model.dispose()),
      }),
    );
    expect(error.code).toBe("ERR_DISPOSED");
    await disposing;
    expect((await failureOf(() => model.compare(prompts, [null, "a"]))).code).toBe("ERR_DISPOSED");
  });

  test("where the queue is full", async () => {
    const small = await loadModel(tinyModel("llama"), {
      threads: 1,
      contextLength: 400,
      maxSequences: 1,
      maxQueue: 1,
    });
    try {
      const error = await failureOf(() =>
        small.compare(prompts, [null, [], { label: "third", adapter: null }]),
      );
      expect(error.code).toBe("ERR_QUEUE_FULL");
      await untilIdle(small);
      expect(small.memory().comparisonBytes).toBe(0);
      expect((await small.compare(prompts, [null, []])).summary[1]!.meanKl.value).toBe(0);
    } finally {
      await small.dispose();
    }
  });
});
