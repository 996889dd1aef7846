/** Adapters as caches and volumes keep them: files that are links. Those of the repository or volume are followed, no others. */
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { loadModel, type Model } from "#lib/index.js";
import { failureOf, tinyModel } from "../generate/tiny-models.js";
import { pairAdapter, type PeftAdapter } from "./forcing-adapter.js";

const CONFIG = "adapter_config.json";
const WEIGHTS = "adapter_model.safetensors";

let model: Model;
let good: PeftAdapter;
let home: string;
beforeAll(async () => {
  model = await loadModel(tinyModel("llama"), { threads: 1 });
  good = pairAdapter(model.facts, 2, 1);
});
afterAll(() => model?.dispose());
beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), "lowrank-links-"));
});
afterEach(() => rmSync(home, { recursive: true, force: true }));

function write(folder: string): void {
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, CONFIG), JSON.stringify(good.config));
  writeFileSync(join(folder, WEIGHTS), good.weights);
}

/** A repository of the hub's cache with the adapter in `subfolder` of its snapshot; returns the snapshot. */
function repository(name: string, subfolder: string): string {
  const root = join(home, "hub", `models--${name}`);
  const snapshot = join(root, "snapshots", "0123abcd");
  const folder = join(snapshot, subfolder);
  write(join(root, "blobs"));
  mkdirSync(folder, { recursive: true });
  const up = join("..", "..", ...(subfolder === "" ? [] : subfolder.split("/").map(() => "..")));
  for (const file of [CONFIG, WEIGHTS]) {
    renameSync(join(root, "blobs", file), join(root, "blobs", `sum-${file}`));
    symlinkSync(join(up, "blobs", `sum-${file}`), join(folder, file));
  }
  return snapshot;
}

async function loads(path: string): Promise<void> {
  await model.adapters.load("linked", path);
  await model.adapters.unload("linked");
}

async function refused(path: string): Promise<string> {
  const error = await failureOf(() => model.adapters.load("linked", path));
  expect(error.code).toBe("ERR_ADAPTER_FORMAT");
  return error.message;
}

describe("the hub's cache", () => {
  test.each(["", "orders", "de/orders"])(
    "an adapter in the subfolder %j of a snapshot",
    async (subfolder) => {
      const snapshot = repository("acme--adapters", subfolder);
      await loads(join(snapshot, subfolder));
      await loads(join(snapshot, subfolder, WEIGHTS));
    },
  );

  test("a folder of links to snapshots", async () => {
    const snapshot = repository("acme--adapters", "orders");
    symlinkSync(join(snapshot, "orders"), join(home, "orders"));
    await loads(join(home, "orders"));
  });

  test("watched: each subfolder of the snapshot", async () => {
    const snapshot = repository("acme--adapters", "orders");
    const watch = await model.adapters.watch(snapshot, { settleMs: 10 });
    expect(model.adapters.list().map(({ name }) => name)).toEqual(["orders"]);
    await watch.close();
    await model.adapters.unload("orders");
  });

  test.each([
    ["another repository's blobs", "../../../../models--other--one/blobs/sum-"],
    ["the cache's own folder", "../../../../sum-"],
    ["a folder whose name begins as blobs does", "../../../blobs-of-others/sum-"],
  ])("a link to %s is refused", async (_, to) => {
    const folder = join(repository("acme--adapters", "orders"), "orders");
    repository("other--one", "orders");
    write(join(home, "hub"));
    write(join(home, "hub", "models--acme--adapters", "blobs-of-others"));
    for (const at of [join(home, "hub"), join(home, "hub", "models--acme--adapters", "blobs-of-others")])
      for (const file of [CONFIG, WEIGHTS]) renameSync(join(at, file), join(at, `sum-${file}`));
    for (const file of [CONFIG, WEIGHTS]) {
      const kept = join("..", "..", "..", "blobs", `sum-${file}`);
      rmSync(join(folder, file));
      symlinkSync(`${to}${file}`, join(folder, file));
      expect(await refused(folder)).toContain(file);
      rmSync(join(folder, file));
      symlinkSync(kept, join(folder, file));
    }
    await loads(folder);
  });
});

describe("a Kubernetes volume", () => {
  test("whose files lie in its own root, and one that is replaced", async () => {
    const volume = join(home, "volume");
    write(join(volume, "..2026_01"));
    symlinkSync("..2026_01", join(volume, "..data"));
    for (const file of [CONFIG, WEIGHTS]) symlinkSync(join("..data", file), join(volume, file));
    await loads(volume);
    write(join(volume, "..2026_02"));
    symlinkSync("..2026_02", join(volume, "..next"));
    renameSync(join(volume, "..next"), join(volume, "..data"));
    rmSync(join(volume, "..2026_01"), { recursive: true });
    await loads(volume);
  });

  test("one whose data lie elsewhere is refused", async () => {
    const volume = join(home, "volume");
    mkdirSync(volume);
    write(join(home, "volume-of-others"));
    symlinkSync(join("..", "volume-of-others"), join(volume, "..data"));
    for (const file of [CONFIG, WEIGHTS]) symlinkSync(join("..data", file), join(volume, file));
    expect(await refused(volume)).toContain(CONFIG);
  });
});

test("a configuration that leads out of the folder of a file that was named", async () => {
  write(join(home, "adapter"));
  renameSync(join(home, "adapter", CONFIG), join(home, "elsewhere.json"));
  symlinkSync(join("..", "elsewhere.json"), join(home, "adapter", CONFIG));
  expect(await refused(join(home, "adapter", WEIGHTS))).toContain(CONFIG);
});

test("pipes and devices are an error at once, wherever a link leads", async () => {
  write(join(home, "adapter"));
  for (const file of [CONFIG, WEIGHTS]) {
    rmSync(join(home, "adapter", file));
    expect(spawnSync("mkfifo", [join(home, "adapter", "..pipe")]).status).toBe(0);
    symlinkSync("..pipe", join(home, "adapter", file));
    const error = await failureOf(() => model.adapters.load("linked", join(home, "adapter")));
    expect(error.code).toBe("ERR_IO");
    expect(error.message).toContain("not a regular file");
    rmSync(join(home, "adapter"), { recursive: true });
    write(join(home, "adapter"));
  }
  const device = await failureOf(() => model.adapters.load("linked", "/dev/zero"));
  expect(device.code).toBe("ERR_INVALID_ARGUMENT");
  symlinkSync("/dev/zero", join(home, "zero.gguf"));
  expect((await failureOf(() => model.adapters.load("linked", join(home, "zero.gguf")))).code).toBe("ERR_IO");
});
