// Builds the addon with node-gyp for the running Node. Usage: node scripts/build-native.mjs [--debug]
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { checkTools } from "./lib/tools.mjs";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
checkTools(["c++", "make", "python3"]);

// Node's headers mostly lie beside the running binary; node-gyp would otherwise download them.
const prefix = join(dirname(process.execPath), "..");
const nodedir = existsSync(join(prefix, "include", "node", "node_api.h")) ? [`--nodedir=${prefix}`] : [];
const gyp = createRequire(import.meta.url).resolve("node-gyp/bin/node-gyp.js");
const mode = process.argv.includes("--debug") ? ["--debug"] : [];
const result = spawnSync(process.execPath, [gyp, "configure", "build", "-j", "max", ...mode, ...nodedir], {
  cwd: root,
  stdio: ["ignore", process.env.LOWRANK_VERBOSE ? "inherit" : "pipe", "pipe"],
  encoding: "utf8",
  maxBuffer: 1 << 28,
});
if (result.status !== 0) {
  process.stderr.write(`${result.stdout ?? ""}\n${result.stderr ?? ""}\n`);
  process.stderr.write("The native addon could not be built; the compiler's messages stand above.\n");
  process.exit(1);
}
