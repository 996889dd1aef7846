// From the file to the first token, the memory that a process then holds, adapters from disk, and swaps.
import { execFile } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { loadModel } from "lowrank";
import { configHash } from "../config-hash.mjs";
import { writeRandomAdapter } from "../../scripts/lib/random-adapter.mjs";
import { figure } from "../statistics.mjs";

const MB = 1e6;
const child = fileURLToPath(new URL("../children/first-token.mjs", import.meta.url));
/** What SmolLM2's process may hold: 1.3 times what the model needs, and 80 MB for Node. */
const memoryLimit = ({ weightBytes, kvCacheBytes, adapterBytes }) =>
  1.3 * (weightBytes + kvCacheBytes + adapterBytes) + 80 * MB;

async function freshProcess(...parameters) {
  const { stdout } = await promisify(execFile)(process.execPath, [child, ...parameters]);
  return JSON.parse(stdout);
}

/** Cold and warm starts in turn. */
async function freshProcesses(repeats) {
  const packed = await mkdtemp(join(tmpdir(), "lowrank-bench-"));
  try {
    await freshProcess(packed); // writes the packed weights
    const cold = [];
    const warm = [];
    for (let i = 0; i < repeats; i++) {
      cold.push(await freshProcess());
      warm.push(await freshProcess(packed));
    }
    const wrong = warm.find((run) => run.packed !== "restored") ?? cold.find((run) => run.packed !== "none");
    if (wrong) throw new Error(`Expected cold and warm starts, one was "${wrong.packed}".`);
    return { cold, warm };
  } finally {
    await rm(packed, { recursive: true });
  }
}

async function timed(repeats, action) {
  const times = [];
  for (let i = 0; i < repeats; i++) {
    const began = performance.now();
    await action(i);
    times.push(performance.now() - began);
  }
  return times;
}

async function adapterFigures(model, repeats) {
  const folder = await mkdtemp(join(tmpdir(), "lowrank-bench-"));
  try {
    const bytes = await writeRandomAdapter(folder, model.facts, 16);
    const load = [];
    for (let i = 0; i < repeats; i++) {
      load.push(...(await timed(1, () => model.adapters.load("live", folder))));
      if (i < repeats - 1) await model.adapters.unload("live"); // equal content would not be built again
    }
    await model.adapters.load("one", folder);
    await writeRandomAdapter(folder, model.facts, 16, 2);
    await model.adapters.load("other", folder);
    const checksum = await model.checksum();
    const swap = await timed(1000, (i) =>
      model.adapters.swap("live", { name: i % 2 === 0 ? "other" : "one" }),
    );
    if ((await model.checksum()) !== checksum) throw new Error("The base weights changed under 1,000 swaps.");
    return [figure("adapter_load_ms", "ms", load, { bytes }), figure("adapter_swap_ms", "ms", swap)];
  } finally {
    await rm(folder, { recursive: true });
  }
}

export async function loadSuite({ repeats }) {
  const model = await loadModel("smollm2-135m-instruct"); // fetches the files where they are missing
  const config_hash = configHash(model);
  const adapters = await adapterFigures(model, repeats);
  await model.dispose();
  const { cold: runs, warm } = await freshProcesses(repeats);
  const of = (name) => runs.map((run) => run[name]);
  const megabytes = (name) => of(name).map((bytes) => bytes / MB);
  const limit = memoryLimit(runs[0].memory) / MB;
  return {
    config_hash,
    figures: [
      figure("import_ms", "ms", of("import_ms")),
      figure("load_ms", "ms", of("load_ms")),
      figure("cold_start_ms", "ms", of("first_token_ms"), { limit: 2000 }),
      figure(
        "warm_start_ms",
        "ms",
        warm.map((run) => run.first_token_ms),
        { limit: 250 },
      ),
      figure(
        "weights_mb",
        "MB",
        runs.map(({ memory }) => memory.weightBytes / MB),
      ),
      figure("rss_mb", "MB", megabytes("rss"), { limit }),
      ...(runs[0].peak === undefined ? [] : [figure("peak_rss_mb", "MB", megabytes("peak"))]),
      ...adapters,
    ],
  };
}
