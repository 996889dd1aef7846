/** The public API on the EMULATED GPU that `npm test` builds. A process loads the plugin once, so each case has its own. */
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { tinyModel } from "../generate/tiny-models.js";

const root = join(dirname(fileURLToPath(import.meta.url)), "../..");
const plugin = join(root, "build-native/test/cuda/liblowrank_cuda_emulated.so");

const SCRIPT = `
import { loadModel } from "./dist/index.js";
const [folder, device] = process.argv.slice(1);
try {
  const model = await loadModel(folder, { device });
  const { tokens } = await model.generate({ tokens: [1, 2, 3] }, { maxTokens: 2 }).result();
  console.log(JSON.stringify({ device: model.device, tokens: tokens.length }));
  await model.dispose();
} catch (error) {
  console.log(JSON.stringify({ code: error.code, message: error.message }));
}`;

interface Outcome {
  device?: { id: string; fallbackReason: string };
  tokens?: number;
  code?: string;
  message?: string;
}

function outcome(device: string, memoryBytes: number): Outcome {
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    ["--input-type=module", "-e", SCRIPT, tinyModel("llama"), device],
    {
      cwd: root,
      encoding: "utf8",
      env: { ...process.env, LOWRANK_CUDA_PLUGIN: plugin, LOWRANK_EMULATED_MEMORY: String(memoryBytes) },
    },
  );
  expect(status, stderr).toBe(0);
  return JSON.parse(stdout) as Outcome;
}

describe.skipIf(!existsSync(plugin))("an emulated device", () => {
  test("runs a model where it is asked for", () => {
    const { device, tokens } = outcome("cuda", 2 ** 30);
    expect(device).toEqual({ id: "cuda:0", fallbackReason: "" });
    expect(tokens).toBe(2);
  });

  test("with too little memory fails with a code", () => {
    const { code, message } = outcome("cuda", 64 * 1024);
    expect(code).toBe("ERR_OUT_OF_MEMORY");
    expect(message).toMatch(/cuda:0|memory/);
  });

  test("is never taken by auto, which says why", () => {
    const { device, tokens } = outcome("auto", 2 ** 30);
    expect(device!.id).toBe("cpu");
    expect(device!.fallbackReason).toMatch(/EMULATED/);
    expect(tokens).toBe(2);
  });
});
