/** The short form of the leak tests; `npm run verify` runs a thousand cycles. */
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { expect, test } from "vitest";

async function run(script: string): Promise<string> {
  const path = new URL(script, import.meta.url).pathname;
  const { stdout, stderr } = await promisify(execFile)(process.execPath, [path, "100"]);
  expect(stderr).toBe("");
  return stdout;
}

test("100 cycles of load, use and disposal leave memory flat", async () => {
  expect(await run("./cycles.mjs")).toMatch(/^100 cycles: /);
});

test("the unload of an adapter frees its memory, and 100 cycles of loads, swaps and evictions leave it flat", async () => {
  expect(await run("./adapters.mjs")).toMatch(/^a large adapter: .*\n100 cycles: /);
});
