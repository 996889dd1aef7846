/** A folder of adapters that is kept loaded: what is added, changed, half written, broken, deleted or linked. */
import { cp, mkdir, mkdtemp, readFile, rename, rm, symlink, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { monitorEventLoopDelay } from "node:perf_hooks";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import {
  loadModel,
  type AdapterWatch,
  type AdapterWatchEvent,
  type AdapterWatchOptions,
  type Model,
} from "#lib/index.js";
import { readAdapter } from "#lib/adapters/source.js";
import { locate, sameFiles } from "#lib/adapters/watched-entry.js";
import { failureOf, tinyGguf, tinyModel, untilIdle } from "../generate/tiny-models.js";
import { forcingAdapter, pairAdapter, writeAdapter } from "./forcing-adapter.js";

const prompt = { tokens: [1, 2, 3] };
let model: Model;
let home: string;
/** The watched folder. */
let folder: string;
let watch: AdapterWatch | undefined;
let events: AdapterWatchEvent[] = [];

beforeAll(async () => {
  home = await mkdtemp(join(tmpdir(), "lowrank-watch-"));
  model = await loadModel(tinyModel("llama"), { threads: 1, adapterDirectory: join(home, "copies") });
});
afterAll(async () => {
  await model?.dispose();
  await rm(home, { recursive: true, force: true });
});
beforeEach(async () => {
  folder = await mkdtemp(join(home, "folder-"));
  events = [];
});
afterEach(async () => {
  await watch?.close();
  watch = undefined;
  await untilIdle(model);
  for (const { name } of model.adapters.list()) await model.adapters.unload(name);
});

async function begin(options: AdapterWatchOptions = {}, watched = folder): Promise<void> {
  watch = await model.adapters.watch(watched, {
    settleMs: 60,
    onEvent: (event) => events.push(event),
    ...options,
  });
}
const force = (token: number): ReturnType<typeof forcingAdapter> => forcingAdapter(model.facts, token);
const write = (name: string, token: number): Promise<void> => writeAdapter(join(folder, name), force(token));
const tokenWith = async (adapter: string): Promise<number> =>
  (await model.generate(prompt, { adapter, maxTokens: 1 }).result()).tokens[0]!;
/** Adapters that only show how far the watch is. */
const BEACON = "beacon-";
const told = (): string[] =>
  events.filter(({ name }) => !name.startsWith(BEACON)).map(({ type, name }) => `${type} ${name}`);
const until = (wanted: string[]): Promise<void> =>
  expect.poll(told, { timeout: 10_000, interval: 10 }).toEqual(wanted);
let beacons = 0;
/**
 * Waits until the watch has acted on all that changed so far: an adapter that comes now is loaded, and another one that comes after
 * it, each once it has settled, which what changed before them has by then.
 */
async function caughtUp(): Promise<void> {
  for (let i = 0; i < 2; i++) {
    const name = `${BEACON}${beacons++}`;
    await write(name, 4);
    await expect.poll(() => model.adapters.has(name), { timeout: 10_000, interval: 10 }).toBe(true);
  }
}
/** Where no watch is left to tell how far it is: longer than one takes to act. */
const settled = (): Promise<void> => sleep(400);

describe("a folder's adapters", () => {
  test("are loaded when the watch begins, and as they come", async () => {
    await write("a", 5);
    await write("b", 6);
    await mkdir(join(folder, "no-adapter"));
    await writeFile(join(folder, "README.md"), "x");
    await begin();
    expect(told().sort()).toEqual(["loaded a", "loaded b"]);
    expect([await tokenWith("a"), await tokenWith("b")]).toEqual([5, 6]);
    expect(model.adapters.get("a")).toMatchObject({ generation: 1, origin: join(folder, "a") });
    await write("c", 7);
    await expect.poll(() => model.adapters.has("c"), { timeout: 10_000 }).toBe(true);
    expect(await tokenWith("c")).toBe(7);
    expect(events[2]).toMatchObject({
      type: "loaded",
      name: "c",
      path: join(folder, "c"),
      adapter: { generation: 1 },
    });
  });

  test("are swapped when their content changes, and can be gone back to", async () => {
    await write("a", 5);
    await begin();
    const running = model.generate(prompt, { adapter: "a", maxTokens: 100 });
    await write("a", 6);
    await until(["loaded a", "swapped a"]);
    expect(await tokenWith("a")).toBe(6);
    expect(new Set((await running.result()).tokens)).toEqual(new Set([5]));
    expect(model.adapters.get("a").generation).toBe(2);
    await model.adapters.rollback("a");
    expect(await tokenWith("a")).toBe(5);
  });

  test("are left alone where only their times change", async () => {
    await write("a", 5);
    await begin();
    const later = new Date(Date.now() - 5000);
    await utimes(join(folder, "a", "adapter_model.safetensors"), later, later);
    await caughtUp();
    expect(told()).toEqual(["loaded a"]);
    expect(model.adapters.get("a").generation).toBe(1);
  });

  test("are unloaded when they are deleted, or kept, as asked", async () => {
    await write("a", 5);
    await begin();
    await rm(join(folder, "a"), { recursive: true });
    await until(["loaded a", "unloaded a"]);
    expect(model.adapters.list()).toEqual([]);
    await write("a", 6);
    await until(["loaded a", "unloaded a", "loaded a"]);
    await watch!.close();
    events = [];
    await begin({ unloadRemoved: false });
    expect(told()).toEqual([]);
    await rm(join(folder, "a"), { recursive: true });
    await caughtUp();
    expect(await tokenWith("a")).toBe(6);
  });

  test("may be put in place by a rename of the folder", async () => {
    await write("a", 5);
    await begin();
    await writeAdapter(join(home, "next"), force(6));
    await rename(join(folder, "a"), join(home, "old"));
    await rename(join(home, "next"), join(folder, "a"));
    await until(["loaded a", "swapped a"]);
    expect(await tokenWith("a")).toBe(6);
    await rm(join(home, "old"), { recursive: true });
  });

  test("stay when the whole folder goes: a volume that is unmounted deletes nothing", async () => {
    await write("a", 5);
    await begin();
    await rename(folder, `${folder}-away`);
    await settled();
    expect(await tokenWith("a")).toBe(5);
    expect(told().filter((one) => one.startsWith("unloaded"))).toEqual([]);
  });

  test("may be GGUF files, under their names without the ending", async () => {
    const gguf = await loadModel(tinyGguf("llama-f16.gguf"), { threads: 1 });
    await cp(tinyGguf("plain-f32.gguf"), join(folder, "plain.gguf"));
    const seen: AdapterWatchEvent[] = [];
    const watching = await gguf.adapters.watch(folder, {
      settleMs: 20,
      onEvent: (event) => seen.push(event),
    });
    expect(seen).toMatchObject([{ type: "loaded", name: "plain" }]);
    await rm(join(folder, "plain.gguf"));
    await expect.poll(() => gguf.adapters.has("plain"), { timeout: 10_000 }).toBe(false);
    await gguf.dispose();
    await watching.closed;
  });
});

describe("what is not whole", () => {
  test("is not read while it is being written", async () => {
    await begin({ settleMs: 500 }); // far longer than lies between two writes below, also on a busy machine
    const { config, weights } = force(5);
    const target = join(folder, "a");
    await mkdir(target);
    await writeFile(join(target, "adapter_config.json"), JSON.stringify(config));
    await caughtUp();
    expect(told()).toEqual([]); // no weights yet: nobody's fault
    const path = join(target, "adapter_model.safetensors");
    const steps = 12;
    for (let i = 1; i <= steps; i++) {
      await writeFile(path, weights.subarray(0, Math.floor((weights.length * i) / steps)));
      await sleep(20);
    }
    await until(["loaded a"]);
    expect(await tokenWith("a")).toBe(5);
  });

  test("or broken is told once, and what is live goes on; then it is repaired", async () => {
    await write("a", 5);
    await begin();
    const { weights } = force(6);
    const path = join(folder, "a", "adapter_model.safetensors");
    await writeFile(path, weights.subarray(0, weights.length - 4));
    await until(["loaded a", "error a"]);
    expect(events[1]).toMatchObject({ type: "error", error: { code: "ERR_ADAPTER_FORMAT" } });
    expect(await tokenWith("a")).toBe(5);
    expect(model.adapters.get("a").generation).toBe(1);
    await writeFile(join(folder, "a", "adapter_config.json"), "{");
    await until(["loaded a", "error a", "error a"]);
    await caughtUp();
    await write("a", 7);
    await until(["loaded a", "error a", "error a", "swapped a"]);
    expect(await tokenWith("a")).toBe(7);
  });

  test("with a pattern that backtracks without end elsewhere blocks nothing", async () => {
    const bombs = ["(([a-z_.0-9])+)+!", "(.*)*(.*)*(.*)*!", "((a|[a-z_.0-9])+)+!", "(?=(.+)+!).*"];
    await write("a", 5);
    await begin();
    const { config, weights } = pairAdapter(model.facts, 4, 1);
    let longest = Infinity;
    // Six rounds at most: other processes may hold the processor.
    for (let round = 1; round <= 6 && longest >= 50; round++) {
      const delay = monitorEventLoopDelay({ resolution: 5 });
      delay.enable();
      for (let index = 0; index < 40; index++) {
        const name = `bomb-${round}-${index}`;
        await writeAdapter(join(folder, name), {
          config: { ...config, target_modules: bombs[index % bombs.length] },
          weights,
        });
      }
      await expect.poll(() => events.length, { timeout: 30_000, interval: 10 }).toBe(1 + 40 * round);
      delay.disable();
      longest = delay.max / 1e6;
    }
    expect(longest).toBeLessThan(50);
    for (const event of events.slice(1))
      expect(event).toMatchObject({
        type: "error",
        error: { message: expect.stringContaining("target_modules") },
      });
    expect(await tokenWith("a")).toBe(5);
  }, 120_000);

  test("is told from what was looked at, whatever lies there when it is read", async () => {
    await write("a", 5);
    const found = await locate(folder, "a");
    if (found === null || found === "incomplete") throw new Error("Expected an adapter.");
    const read = async (): Promise<boolean> =>
      sameFiles((await readAdapter(join(folder, "a"))).files, found.files);
    expect(await read()).toBe(true);
    await write("a", 6); // of the same size
    expect(await read()).toBe(false);
    await writeAdapter(join(home, "elsewhere"), force(5));
    await rm(join(folder, "a"), { recursive: true });
    await symlink(join(home, "elsewhere"), join(folder, "a"));
    expect(await read()).toBe(false);
  });

  test("does not keep the others from being loaded", async () => {
    await write("a", 5);
    await write("b", 6);
    await writeFile(join(folder, "b", "adapter_config.json"), JSON.stringify({ peft_type: "IA3" }));
    await mkdir(join(folder, "c"));
    await writeFile(join(folder, "c", "adapter_config.json"), "{}");
    await writeFile(join(folder, "c", "adapter_model.bin"), "pickle");
    await begin();
    expect(told().sort()).toEqual(["error b", "error c", "loaded a"]);
    for (const event of events)
      if (event.type === "error") expect(event.error.code).toBe("ERR_ADAPTER_UNSUPPORTED");
  });

  test("or two adapters of one name: the first stays", async () => {
    await write("a", 5);
    await begin();
    await writeFile(join(folder, "a.gguf"), await readFile(tinyGguf("plain-f32.gguf")));
    await until(["loaded a", "error a"]);
    expect(events[1]).toMatchObject({ error: { code: "ERR_ADAPTER_EXISTS" } });
    expect(await tokenWith("a")).toBe(5);
  });
});

describe("links", () => {
  test("that lead out of the folder are refused, for folders and for files, and nothing is opened", async () => {
    const outside = join(home, "outside");
    await writeAdapter(outside, force(9));
    await symlink(outside, join(folder, "folder"));
    await mkdir(join(folder, "file"));
    for (const name of ["adapter_config.json", "adapter_model.safetensors"])
      await symlink(join(outside, name), join(folder, "file", name));
    await mkdir(join(folder, "weights"));
    await writeFile(join(folder, "weights", "adapter_config.json"), JSON.stringify(force(9).config));
    await symlink(
      join(outside, "adapter_model.safetensors"),
      join(folder, "weights", "adapter_model.safetensors"),
    );
    await symlink(tinyGguf("plain-f32.gguf"), join(folder, "gguf.gguf"));
    await write("inside", 5);
    await begin();
    expect(told().sort()).toEqual([
      "error file",
      "error folder",
      "error gguf",
      "error weights",
      "loaded inside",
    ]);
    for (const event of events)
      if (event.type === "error") {
        expect(event.error.code).toBe("ERR_ADAPTER_FORMAT");
        expect(event.error.message).toContain("leads out of it");
      }
    expect(model.adapters.list().map(({ name }) => name)).toEqual(["inside"]);
    await rm(join(folder, "inside"), { recursive: true });
    await symlink(outside, join(folder, "inside"));
    await expect.poll(told, { timeout: 10_000 }).toContain("error inside");
    expect(await tokenWith("inside")).toBe(5);
  });

  test("within the folder are followed, as where a volume is replaced at once", async () => {
    await writeAdapter(join(folder, "..one", "a"), force(5));
    await symlink("..one", join(folder, "..data"));
    await symlink("..data/a", join(folder, "a"));
    await begin();
    expect(told()).toEqual(["loaded a"]);
    await writeAdapter(join(folder, "..two", "a"), force(6));
    await symlink("..two", join(folder, "..next"));
    await rename(join(folder, "..next"), join(folder, "..data"));
    await until(["loaded a", "swapped a"]);
    expect(await tokenWith("a")).toBe(6);
  });
});

describe("the watch", () => {
  test("takes over names that are loaded, and lets them go when it ends", async () => {
    await model.adapters.load("a", force(4));
    await write("a", 5);
    await begin();
    expect(told()).toEqual(["swapped a"]);
    await watch!.close();
    await write("a", 6);
    await settled();
    expect(told()).toEqual(["swapped a"]);
    expect(await tokenWith("a")).toBe(5);
  });

  test("ends by a signal and by disposal, once", async () => {
    const controller = new AbortController();
    await begin({ signal: controller.signal });
    controller.abort();
    await watch!.closed;
    await watch!.close();
    await write("a", 5);
    await settled();
    expect(events).toEqual([]);
    const other = await loadModel(tinyModel("llama"), { threads: 1 });
    const watching = await other.adapters.watch(folder);
    expect(other.adapters.has("a")).toBe(true);
    await other.dispose();
    await watching.closed;
  });

  test("may look at intervals", async () => {
    await begin({ pollMs: 100 });
    await write("a", 5);
    await until(["loaded a"]);
    await write("a", 6);
    await until(["loaded a", "swapped a"]);
  });

  test("does not follow what happens to a name by hand until its files change", async () => {
    await write("a", 5);
    await begin();
    await model.adapters.swap("a", force(8));
    await caughtUp();
    expect(await tokenWith("a")).toBe(8);
    await model.adapters.unload("a");
    await write("a", 6);
    await until(["loaded a", "loaded a"]);
  });

  test.each([
    ["", {}, "ERR_INVALID_ARGUMENT"],
    ["/nowhere", {}, "ERR_ADAPTER_NOT_FOUND"],
    [5, {}, "ERR_INVALID_ARGUMENT"],
    [undefined, { settleMs: 5 }, "ERR_INVALID_ARGUMENT"],
    [undefined, { pollMs: 1 }, "ERR_INVALID_ARGUMENT"],
    [undefined, { unloadRemoved: "no" }, "ERR_INVALID_ARGUMENT"],
    [undefined, { onEvent: 1 }, "ERR_INVALID_ARGUMENT"],
    [undefined, { recursive: true }, "ERR_INVALID_ARGUMENT"],
    [undefined, { signal: AbortSignal.abort() }, "ERR_ABORTED"],
  ])("of %o with %o is refused", async (path, options, code) => {
    const error = await failureOf(() => model.adapters.watch((path ?? folder) as string, options as never));
    expect(error.code).toBe(code);
  });
});
