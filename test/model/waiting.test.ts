/** Every public promise that waits keeps its process running until it settles: `await` at the top of a module would end it with 13. */
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { tinyAdapter, tinyModel } from "../generate/tiny-models.js";

const here = fileURLToPath(new URL(".", import.meta.url));

async function outcome(mode: string): Promise<{ code: number | null; output: string }> {
  const home = mkdtempSync(join(tmpdir(), "lowrank-waiting-"));
  try {
    const command = ["waiting-child.mjs", mode, tinyModel("llama"), tinyAdapter("plain"), home];
    const child = spawn(process.execPath, command, { cwd: here, timeout: 50_000 });
    let output = "";
    for (const stream of [child.stdout, child.stderr])
      stream.on("data", (data: Buffer) => (output += data.toString()));
    const code = await new Promise<number | null>((resolve, reject) => {
      child.on("error", reject);
      child.on("close", resolve);
    });
    return { code, output };
  } finally {
    rmSync(home, { recursive: true, force: true });
  }
}

test.each([
  ...["load", "generate", "stream", "score", "logits", "timeout", "adapter", "adapter from memory", "swap"],
  ...["unload", "prefetch", "watch", "watch of many", "watch with polling", "end of a watch", "compare"],
  ...["checksum", "tokenize", "chat", "dispose"],
])("%s", async (mode) => {
  expect(await outcome(mode)).toEqual({ code: 0, output: "settled\n" });
});
