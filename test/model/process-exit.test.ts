/** How a process with a model ends: by itself, early, or by an error; never by a signal. */
import { spawn } from "node:child_process";
import { expect, test } from "vitest";
import { tinyModel } from "../generate/tiny-models.js";

interface Ended {
  code: number | null;
  signal: string | null;
  lines: string[];
  errors: string;
}

function run(mode: string, flags: string[] = []): Promise<Ended> {
  const script = new URL("./exit-child.mjs", import.meta.url).pathname;
  const child = spawn(process.execPath, [...flags, script, mode, tinyModel("llama")], { timeout: 50_000 });
  let output = "";
  let errors = "";
  child.stdout.on("data", (data: Buffer) => (output += data.toString()));
  child.stderr.on("data", (data: Buffer) => (errors += data.toString()));
  return new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code, signal) => resolve({ code, signal, lines: output.trim().split("\n"), errors }));
  });
}

test.each([
  ["dispose", 0, ["3", "end"]],
  ["idle", 0, ["3", "end"]],
  ["request", 0, ["3", "end", "300"]],
  ["exit while generating", 7, ["3"]],
  ["exit while loading", 7, ["3"]],
  ["throw while generating", 1, ["3", "end"]],
  ["failing requests", 0, ["3", "end"]],
] as const)("%s: code %i", async (mode, code, lines) => {
  const ended = await run(mode);
  expect(ended).toMatchObject({ code, signal: null, lines });
  if (code === 0) expect(ended.errors).toBe("");
  if (mode.startsWith("throw")) expect(ended.errors).toContain("own");
});

test("engines that were forgotten go with their objects", async () => {
  const { code, signal, lines } = await run("collect", ["--expose-gc"]);
  expect({ code, signal }).toEqual({ code: 0, signal: null });
  // 40 engines of about 1.5 MB each would show.
  expect(Number(lines[1])).toBeLessThan(30);
});
