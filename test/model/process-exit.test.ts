/** How a process with a model ends: by itself, early, or by an error; never by a signal. */
import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { tinyAdapter, tinyModel } from "../generate/tiny-models.js";

interface Ended {
  code: number | null;
  signal: string | null;
  lines: string[];
  errors: string;
}

/** `command`: flags of node, the script beside this file, its arguments. */
function run(...command: string[]): Promise<Ended> {
  const cwd = fileURLToPath(new URL(".", import.meta.url));
  const child = spawn(process.execPath, command, { cwd, timeout: 50_000 });
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
  const ended = await run("exit-child.mjs", mode, tinyModel("llama"));
  expect(ended).toMatchObject({ code, signal: null, lines });
  if (code === 0) expect(ended.errors).toBe("");
  if (mode.startsWith("throw")) expect(ended.errors).toContain("own");
});

test("engines that were forgotten go with their objects", async () => {
  const { code, signal, lines } = await run("--expose-gc", "exit-child.mjs", "collect", tinyModel("llama"));
  expect({ code, signal }).toEqual({ code: 0, signal: null });
  // 25 engines of about 1.7 MiB each would show.
  expect(Number(lines[1])).toBeLessThan(30);
});

test("the addon in workers alone goes with the last of them", async () => {
  const ended = await run("workers-only-child.mjs", tinyModel("llama"), tinyAdapter("plain"));
  expect(ended).toEqual({ code: 0, signal: null, lines: ["end"], errors: "" });
});
