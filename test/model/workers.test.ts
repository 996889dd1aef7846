/** Worker threads: their own engines, and their end at any moment, which must not touch the process. */
import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import { Worker } from "node:worker_threads";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { loadModel, type Model } from "#lib/index.js";
import { tinyAdapter, tinyModel } from "../generate/tiny-models.js";

const prompt = { tokens: [1, 2, 3] };
let model: Model;
let expected: number[];
const generate = async (): Promise<number[]> => [
  ...(await model.generate(prompt, { maxTokens: 20 }).result()).tokens,
];

beforeAll(async () => {
  model = await loadModel(tinyModel("llama"), { threads: 1 });
  expected = await generate();
});
afterAll(() => model?.dispose());
afterEach(async () => {
  // The engine of this thread still serves, and another can be had.
  expect(await generate()).toEqual(expected);
  await using another = await loadModel(tinyModel("llama"), { threads: 1 });
  expect((await another.generate(prompt, { maxTokens: 20 }).result()).tokens).toHaveLength(20);
});

function start(action: string, more: object = {}): Worker {
  return new Worker(new URL("./worker-child.mjs", import.meta.url), {
    workerData: { action, path: tinyModel("llama"), adapter: tinyAdapter("plain"), ...more },
  });
}

const firstMessage = async (worker: Worker): Promise<unknown> =>
  (await once(worker, "message"))[0] as unknown;

test.each([true, false])("loads, generates and ends by itself; dispose: %s", async (dispose) => {
  const worker = start("generate", { dispose });
  const exited = once(worker, "exit");
  expect(await firstMessage(worker)).toEqual(expected);
  expect(await exited).toEqual([0]);
});

test("several workers beside this thread", async () => {
  const workers = [1, 2, 3].map(() => start("generate", { dispose: true }));
  const exits = workers.map((worker) => once(worker, "exit"));
  const messages = workers.map(firstMessage);
  expect(await generate()).toEqual(expected);
  for (const message of await Promise.all(messages)) expect(message).toEqual(expected);
  await Promise.all(exits);
});

describe("terminate()", () => {
  test.each(["generate for ever", "adapters for ever", "disposed", "disposing"])("%s", async (action) => {
    for (const delay of [0, 4]) {
      const worker = start(action);
      expect(await firstMessage(worker)).toBe("running");
      await sleep(delay);
      expect(await worker.terminate()).toBe(1);
    }
  });

  test.each([0, 15])("while a model is loaded, after %i ms", async (delay) => {
    const workers = [start("load"), start("load", { path: "smollm2-135m-instruct" })];
    const messages = await Promise.all(workers.map(firstMessage));
    expect(messages).toEqual(["running", "running"]);
    await sleep(delay);
    for (const worker of workers) expect(await worker.terminate()).toBe(1);
  });

  test("of several at once", async () => {
    const workers = [1, 2, 3].map(() => start("generate for ever"));
    await Promise.all(workers.map(firstMessage));
    await Promise.all(workers.map((worker) => worker.terminate()));
  });
});

test("an exception in a worker that generates ends that worker alone", async () => {
  const worker = start("throw");
  const [error] = (await once(worker, "error")) as [Error];
  expect(error.message).toBe("own");
});
