/** Files that are truncated, replaced or removed while the engine runs or loads: no fault, no change of what was loaded. */
import { readFileSync, renameSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { loadModel, type Model } from "#lib/index.js";
import { tinyAdapter, tinyGguf } from "../generate/tiny-models.js";
import { AlteredModel } from "./altered-model.js";

const prompt = { tokens: [1, 2, 3] };
let copy: AlteredModel;
beforeAll(() => {
  copy = new AlteredModel();
});
afterEach(() => copy.restore());
afterAll(() => copy.remove());

const text = async (model: Model, adapter?: string): Promise<string> =>
  (await model.generate(prompt, { maxTokens: 12, adapter }).result()).tokens.join();

const changes: [string, (path: string) => void][] = [
  ["truncated to nothing", (path) => truncateSync(path, 0)],
  ["truncated in the middle", (path) => truncateSync(path, 5000)],
  ["overwritten", (path) => writeFileSync(path, readFileSync(path).fill(0x55))],
  ["removed", (path) => rmSync(path)],
  [
    "replaced",
    (path) => {
      writeFileSync(`${path}.new`, "something else");
      renameSync(`${path}.new`, path);
    },
  ],
];

test.each(changes)("weights that are %s after the load", async (_, change) => {
  await using model = await loadModel(copy.folder, { threads: 1 });
  const before = await text(model);
  const checksum = await model.checksum();
  const running = model.generate(prompt, { maxTokens: 900 });
  change(copy.path("model.safetensors"));
  expect(await text(model)).toBe(before);
  expect((await running.result()).tokens).toHaveLength(900);
  expect(await model.checksum()).toBe(checksum);
});

test.each(changes)("weights that are %s during the load: the model, or a coded error", async (_, change) => {
  let expected: string;
  {
    await using model = await loadModel(copy.folder, { threads: 1 });
    expected = await text(model);
  }
  for (const delay of [0, 1, 2, 4, 8]) {
    copy.restore();
    const loading = Promise.allSettled([loadModel(copy.folder, { threads: 1 })]);
    await sleep(delay);
    change(copy.path("model.safetensors"));
    const [outcome] = await loading;
    if (outcome.status === "rejected") {
      expect(outcome.reason).toMatchObject({ code: expect.stringMatching(/^ERR_(IO|MODEL_\w+)$/) as string });
      continue;
    }
    await using model = outcome.value;
    // What was overwritten while it was read may be read as it is then; nothing else may change.
    if (!change.toString().includes("fill")) expect(await text(model)).toBe(expected);
  }
});

test.each(changes)("a GGUF file that is %s after the load", async (_, change) => {
  writeFileSync(copy.path("model.gguf"), readFileSync(tinyGguf("llama-q8_0.gguf")));
  await using model = await loadModel(copy.path("model.gguf"), { threads: 1 });
  const before = await text(model);
  change(copy.path("model.gguf"));
  expect(await text(model)).toBe(before);
  expect(model.detokenize(await model.tokenize("still there"))).toBe("still there");
});

test.each(changes)("an adapter that is %s after the load", async (_, change) => {
  await using model = await loadModel(copy.folder, { threads: 1 });
  const adapter = new AlteredModel(tinyAdapter("plain"));
  await model.adapters.load("a", adapter.folder);
  const before = await text(model, "a");
  change(adapter.path("adapter_model.safetensors"));
  expect(await text(model, "a")).toBe(before);
  adapter.remove();
});
