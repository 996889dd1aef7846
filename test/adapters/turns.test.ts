/** No operation on adapters holds up the event loop: in no turn does it take 50 ms of the processor. */
import { execFile } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { expect, test } from "vitest";
import { DATA } from "../fidelity/golden.js";
import { tinyGguf, tinyModel } from "../generate/tiny-models.js";

test.runIf(process.platform === "linux")(
  "turns of the event loop stay short",
  async () => {
    const home = mkdtempSync(join(tmpdir(), "lowrank-turns-"));
    try {
      const child = fileURLToPath(new URL("turns-child.mjs", import.meta.url));
      const paths = [tinyModel("llama"), join(DATA, "tiny-adapters"), tinyGguf("plain-f32.gguf"), home];
      const { stdout } = await promisify(execFile)(process.execPath, [child, ...paths]);
      const { bytes, longest } = JSON.parse(stdout) as { bytes: number; longest: Record<string, number> };
      expect(bytes).toBeGreaterThan(90e6);
      const { "busy loop": busy, ...operations } = longest;
      expect(busy, "busy loop").toBeGreaterThan(50);
      expect(Object.keys(operations)).toHaveLength(9);
      for (const [name, ms] of Object.entries(operations)) expect(ms, name).toBeLessThan(50);
    } finally {
      rmSync(home, { recursive: true, force: true });
    }
  },
  120_000,
);
