// Sets up what is missing in a checkout: dependencies, the native addon, the TypeScript build, and with --model the real model.
// Cheap to run again: each step is skipped where its result is newer than its sources.
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { checkNode, checkTools } from "./lib/tools.mjs";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const stamps = join(root, "build", "stamps");

/** A hash over the content of files and folders: times of files mean little in a fresh clone. */
function fingerprint(paths) {
  const hash = createHash("sha256").update(process.versions.modules);
  const add = (path) => {
    if (!existsSync(path)) return;
    if (statSync(path).isDirectory()) for (const name of readdirSync(path).sort()) add(join(path, name));
    else hash.update(path.slice(root.length)).update("\0").update(readFileSync(path));
  };
  for (const path of paths) add(join(root, path));
  return hash.digest("hex");
}

function step(name, sources, result, work) {
  const stamp = join(stamps, name);
  const wanted = fingerprint(sources);
  if (existsSync(join(root, result)) && existsSync(stamp) && readFileSync(stamp, "utf8") === wanted) return;
  process.stdout.write(`setup: ${name} …\n`);
  const began = Date.now();
  work();
  mkdirSync(stamps, { recursive: true });
  writeFileSync(stamp, wanted);
  process.stdout.write(`setup: ${name} done in ${((Date.now() - began) / 1000).toFixed(1)} s\n`);
}

function run(command, ...args) {
  const result = spawnSync(command, args, {
    cwd: root,
    stdio: ["ignore", "inherit", "inherit"],
    env: process.env,
  });
  if (result.status === 0) return;
  process.stderr.write(`setup: "${[command, ...args].join(" ")}" failed.\n`);
  process.exit(1);
}

checkNode(20);
checkTools(["c++", "make", "python3"]);
step("dependencies", ["package-lock.json"], "node_modules/.package-lock.json", () =>
  run("npm", "ci", "--no-audit", "--no-fund", "--loglevel=error"),
);
step("native addon", ["native", "binding.gyp", "scripts"], "build/Release/lowrank.node", () =>
  run(process.execPath, "scripts/build-native.mjs"),
);
step("TypeScript", ["lib", "tsconfig.json"], "dist/index.js", () =>
  run(process.execPath, "node_modules/typescript/bin/tsc", "-p", "tsconfig.json"),
);
