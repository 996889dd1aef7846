/** Devices: what is listed, what "auto" takes, and what a CUDA device that is not there says of itself. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, afterEach, beforeEach, describe, expect, test } from "vitest";
import { devices, instructionSets, loadModel } from "#lib/index.js";
import { failureOf, tinyModel } from "../generate/tiny-models.js";

const folder = tinyModel("llama");
const prompt = { tokens: [1, 2, 3] };
const temporary = mkdtempSync(join(tmpdir(), "lowrank-devices-"));
afterAll(() => rmSync(temporary, { recursive: true, force: true }));

const NAME = "LOWRANK_CUDA_PLUGIN";
let before: string | undefined;
beforeEach(() => (before = process.env[NAME]));
afterEach(() => {
  if (before === undefined) delete process.env[NAME];
  else process.env[NAME] = before;
});

const noLibrary = join(temporary, "no-library.so");
writeFileSync(noLibrary, "This is no shared library.");
const addon = fileURLToPath(new URL("../../build/Release/lowrank.node", import.meta.url));

/** Plugins that cannot be used, and what is said of them. */
const BROKEN: [string, string, RegExp][] = [
  ["a file that is missing", join(temporary, "missing.so"), /missing\.so.*(cannot open|no such file)/i],
  ["a file that is no library", noLibrary, /no-library\.so/],
  ["a library that is no plugin", addon, /lowrank_cuda_plugin/],
];

test("the CPU comes first, with the instruction set that models run on", async () => {
  const [cpu, ...others] = await devices();
  const wanted = process.env["LOWRANK_ISA"] ?? instructionSets().find(({ available }) => available)!.name;
  expect(cpu).toMatchObject({
    id: "cpu",
    backend: "cpu",
    available: true,
    reason: "",
    instructionSet: wanted,
    emulated: false,
  });
  expect(cpu!.memoryBytes).toBeGreaterThan(2 ** 28);
  expect(others.length).toBeGreaterThan(0);
  for (const device of others) {
    expect(device.backend).toBe("cuda");
    expect(device.available).toBe(device.reason === "");
    expect(device.id).toMatch(/^cuda(:\d+)?$/);
  }
});

test("an instruction set that this processor lacks is the CPU's reason", async () => {
  const forced = process.env["LOWRANK_ISA"];
  process.env["LOWRANK_ISA"] = "avx1024";
  try {
    const [cpu] = await devices();
    expect(cpu).toMatchObject({ available: false, instructionSet: "" });
    expect(cpu!.reason).toMatch(/avx1024/);
    expect((await failureOf(() => loadModel(folder))).code).toBe("ERR_BACKEND_UNAVAILABLE");
  } finally {
    if (forced === undefined) delete process.env["LOWRANK_ISA"];
    else process.env["LOWRANK_ISA"] = forced;
  }
});

describe.each(BROKEN)("%s as plugin", (_, path, reason) => {
  beforeEach(() => {
    process.env[NAME] = path;
  });

  test("is listed with the reason", async () => {
    const [, ...cuda] = await devices();
    expect(cuda).toHaveLength(1);
    expect(cuda[0]).toMatchObject({ id: "cuda", available: false, instructionSet: "", emulated: false });
    expect(cuda[0]!.reason).toMatch(reason);
  });

  test.each(["cuda", "cuda:0", "cuda:7"] as const)("device %s explains itself", async (device) => {
    const error = await failureOf(() => loadModel(folder, { device }));
    expect(error.code).toBe("ERR_BACKEND_UNAVAILABLE");
    expect(error.message).toMatch(/^Expected a usable CUDA device for device "cuda(:\d)?", received none: /);
    expect(error.message).toMatch(reason);
  });

  test("auto takes the CPU and says why, cpu does so without a word", async () => {
    await using auto = await loadModel(folder);
    await using cpu = await loadModel(folder, { device: "cpu" });
    expect(auto.device.id).toBe("cpu");
    expect(auto.device.fallbackReason).toMatch(reason);
    expect(cpu.device).toEqual({ id: "cpu", fallbackReason: "" });
    expect(auto.facts.backend).toBe("cpu");
    const run = async (model: typeof auto): Promise<Int32Array> =>
      (await model.generate(prompt, { maxTokens: 4 }).result()).tokens;
    expect(await run(auto)).toEqual(await run(cpu));
  });
});

test("a device that is not there is found out before anything is fetched", async () => {
  process.env[NAME] = join(temporary, "missing.so");
  const error = await failureOf(() => loadModel("hf:nobody/nothing", { device: "cuda", offline: true }));
  expect(error.code).toBe("ERR_BACKEND_UNAVAILABLE");
});
