/** Random loads, swaps, failures, unloads, pins and requests at once, under a limit in memory: what must hold whatever happens. */
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import { loadModel, LowrankError, type AdapterSource, type Model } from "#lib/index.js";
import { tinyModel, untilIdle } from "../generate/tiny-models.js";
import { forcingAdapter, writeAdapter } from "./forcing-adapter.js";

const NAMES = ["a", "b", "c", "d"];
const TOKENS = [3, 5, 7, 9, 11, 13];
const ROOM = 3;
const prompt = { tokens: [1, 2, 3] };
/** What an operation may fail with when others run at the same time. */
const EXPECTED = [
  "ERR_ADAPTER_EXISTS",
  "ERR_ADAPTER_NOT_FOUND",
  "ERR_ADAPTER_CONFLICT",
  "ERR_ADAPTER_FORMAT",
  "ERR_OUT_OF_MEMORY",
  "ERR_ABORTED",
];

let folder: string;
let model: Model;
const sources = new Map<number, AdapterSource>();
/** The token that a content forces. */
const tokenOf = new Map<string, number>();
let size = 0;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "lowrank-random-"));
  const probe = await loadModel(tinyModel("llama"), { threads: 1 });
  for (const token of TOKENS) {
    const adapter = forcingAdapter(probe.facts, token);
    const path = join(folder, `force${token}`);
    await writeAdapter(path, adapter);
    // Half of them from files, half from memory.
    sources.set(token, token % 4 === 1 ? path : adapter);
    const facts = await probe.adapters.load(`force${token}`, adapter);
    tokenOf.set(facts.contentHash, token);
    size = facts.bytes;
  }
  await probe.dispose();
  model = await loadModel(tinyModel("llama"), {
    threads: 1,
    maxSequences: 6,
    adapterMemory: ROOM * size,
    adapterDirectory: join(folder, "copies"),
  });
});
afterAll(async () => {
  await model?.dispose();
  expect(await readdir(join(folder, "copies"))).toEqual([]);
  await rm(folder, { recursive: true, force: true });
});

interface Operation {
  kind: number;
  name: string;
  other: string;
  token: number;
  /** Milliseconds until the next operation; -1: none, not even a turn of the event loop. */
  pause: number;
}

const operation: fc.Arbitrary<Operation> = fc.record({
  kind: fc.nat(15),
  name: fc.constantFrom(...NAMES),
  other: fc.constantFrom(...NAMES),
  token: fc.constantFrom(...TOKENS),
  pause: fc.constantFrom(-1, -1, -1, 0, 1, 4),
});

/** A request must give what its name meant when it was made, whatever happens to the name then. */
async function request(name: string, maxTokens: number, abort: boolean): Promise<void> {
  const wanted = model.adapters.has(name) ? tokenOf.get(model.adapters.get(name).contentHash) : undefined;
  const generation = model.generate(prompt, { adapter: name, maxTokens });
  if (abort) setTimeout(() => generation.abort(), 1);
  const { tokens } = await generation.result();
  for (const token of tokens) expect(token).toBe(wanted);
  if (!abort) expect(tokens).toHaveLength(maxTokens);
}

function perform({ kind, name, other, token }: Operation): Promise<unknown> {
  const { adapters } = model;
  const source = sources.get(token)!;
  switch (kind) {
    case 0:
    case 1:
      return adapters.load(name, source);
    case 2:
    case 3:
      return adapters.swap(name, source);
    case 4:
      return adapters.swap(name, { name: other });
    case 5:
      return adapters.rollback(name);
    case 6:
      return adapters.unload(name);
    case 7:
      return adapters.swap(name, source, { expectedGeneration: 1 });
    case 8:
      return adapters.load(name, { config: {}, weights: new Uint8Array(9) });
    case 9:
      return adapters.prefetch([name, other]);
    case 10:
      return adapters.pin(name).then(() => adapters.unpin(name));
    case 11: {
      const controller = new AbortController();
      const swapping = adapters.swap(name, source, { signal: controller.signal });
      controller.abort();
      return swapping;
    }
    default:
      return request(name, 1 + (token % 5), kind === 12);
  }
}

test("every request gets its version, memory stays within the limit, and nothing is left", async () => {
  const runs = { numRuns: process.env["LOWRANK_FULL"] ? 1000 : 60, endOnFailure: true };
  const failures = new Map<string, number>();
  const property = fc.asyncProperty(
    fc.array(operation, { minLength: 5, maxLength: 60 }),
    async (operations) => {
      const outcomes: Promise<unknown>[] = [];
      // Each name at its second generation: most operations then have something to work on.
      for (const [i, name] of NAMES.entries()) {
        await model.adapters.load(name, sources.get(TOKENS[i]!)!);
        await model.adapters.swap(name, sources.get(TOKENS[i + 1]!)!);
      }
      for (const one of operations) {
        const outcome = perform(one).catch((error: unknown) => {
          if (!LowrankError.isInstance(error) || !EXPECTED.includes(error.code)) throw error;
          failures.set(error.code, (failures.get(error.code) ?? 0) + 1);
        });
        outcome.catch(() => {}); // looked at below
        outcomes.push(outcome);
        expect(model.memory().adapterBytes).toBeLessThanOrEqual((ROOM + NAMES.length) * size);
        if (one.pause >= 0) await new Promise((resolve) => setTimeout(resolve, one.pause));
      }
      await Promise.all(outcomes);
      await untilIdle(model);
      const list = model.adapters.list();
      for (const { users } of list) expect(users).toBe(0);
      const resident = new Set(list.flatMap((one) => (one.state === "resident" ? [one.contentHash] : [])));
      expect(model.memory().adapterBytes).toBe(resident.size * size);
      expect(resident.size).toBeLessThanOrEqual(ROOM);
      for (const { name } of list) await model.adapters.unload(name);
      expect(model.memory()).toMatchObject({ adapterBytes: 0, adapterDiskBytes: 0 });
    },
  );
  await fc.assert(property, runs);
  // The schedules reach what they are meant to reach.
  for (const code of ["ERR_ADAPTER_EXISTS", "ERR_ADAPTER_NOT_FOUND", "ERR_ADAPTER_CONFLICT", "ERR_ABORTED"])
    expect(failures.get(code)).toBeGreaterThan(0);
});
