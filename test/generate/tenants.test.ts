/** Requests of different salts share nothing: neither prefixes nor the answers that prompt lookup drafts from. */
import { afterEach, beforeEach, expect, test } from "vitest";
import { loadModel, type GenerateOptions, type Model, type Usage } from "#lib/index.js";
import { someTokens, tinyAdapter, tinyModel } from "./tiny-models.js";

let model: Model;
beforeEach(async () => {
  model = await loadModel(tinyModel("llama"), { threads: 1 });
  await model.adapters.load("task", tinyAdapter("plain"));
});
afterEach(() => model.dispose());

const prompt = { tokens: someTokens(40, 5) };
const usageOf = async (options: GenerateOptions): Promise<Usage> => {
  const base = { adapter: "task", promptLookup: 7, maxTokens: 60, ignoreEndOfText: true };
  return (await model.generate(prompt, { ...base, ...options }).result()).usage;
};

test("a probe sees the drafts and cached tokens of a run alone, whatever another salt has asked", async () => {
  const alone = await usageOf({ cacheSalt: "b" });
  expect(alone.cachedTokens).toBe(0);
  await model.dispose();

  model = await loadModel(tinyModel("llama"), { threads: 1 });
  await model.adapters.load("task", tinyAdapter("plain"));
  const first = await usageOf({ cacheSalt: "a" });
  expect(await usageOf({ cacheSalt: "b" })).toEqual(alone);
  expect(await usageOf({ cacheSalt: "" })).toEqual(alone);

  // The same salt sees the answer: the probe would have told.
  const again = await usageOf({ cacheSalt: "a" });
  expect(again.acceptedTokens).toBeGreaterThan(first.acceptedTokens + 20);
  expect(again.cachedTokens).toBeGreaterThan(0);
});

test("the answers of an adapter's earlier version are not drafted from", async () => {
  const alone = await usageOf({});
  await model.adapters.swap("task", tinyAdapter("rslora"));
  const other = await usageOf({ prefixCache: false });
  await model.dispose();
  model = await loadModel(tinyModel("llama"), { threads: 1 });
  await model.adapters.load("task", tinyAdapter("rslora"));
  expect(await usageOf({ prefixCache: false })).toEqual(other);
  expect(alone.draftedTokens).toBeGreaterThan(0);
});
