/** The short form of the leak test; `npm run verify` runs a thousand cycles. */
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { expect, test } from "vitest";

test("100 cycles of load, use and disposal leave memory flat", async () => {
  const script = new URL("./cycles.mjs", import.meta.url).pathname;
  const { stdout, stderr } = await promisify(execFile)(process.execPath, [script, "100"]);
  expect(stderr).toBe("");
  expect(stdout).toMatch(/^100 cycles: /);
});
