#!/usr/bin/env node
// Runs smoke.mjs on other Node versions than the running one, from the npm package `node`, and compares what they compute:
//
//   node test/smoke/node-versions.mjs [MAJOR …]      (default: 22 24)
//
// The addon is the one that is built: Node-API keeps it loadable. The versions are kept in build/node-versions.
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const versions = process.argv.length > 2 ? process.argv.slice(2) : ["22", "24"];
const store = join(here, "../../build/node-versions");

function fail(message) {
  process.stderr.write(`smoke: ${message}\n`);
  process.exit(1);
}

/** Path of a Node of this major version, installed where it is missing. */
function nodeOf(major) {
  if (!/^\d+$/.test(major)) fail(`Expected a major version such as 22, received ${major}.`);
  const folder = join(store, major);
  const binary = join(folder, "node_modules/node/bin", process.platform === "win32" ? "node.exe" : "node");
  if (existsSync(binary)) return binary;
  process.stdout.write(`smoke: installing node@${major} …\n`);
  mkdirSync(folder, { recursive: true });
  const flags = ["--prefix", folder, "--no-audit", "--no-fund", "--no-save", "--loglevel=error"];
  const npm = process.platform === "win32" ? "npm.cmd" : "npm";
  const result = spawnSync(npm, ["install", ...flags, `node@${major}`], {
    stdio: ["ignore", "inherit", "inherit"],
  });
  if (result.status !== 0 || !existsSync(binary))
    fail(`Expected npm to install node@${major}, it did not. Check the network and the npm registry.`);
  return binary;
}

function run(binary) {
  const began = Date.now();
  const result = spawnSync(binary, [join(here, "smoke.mjs")], { encoding: "utf8", timeout: 120_000 });
  const version = spawnSync(binary, ["--version"], { encoding: "utf8" }).stdout.trim();
  if (result.status !== 0 || result.stderr !== "")
    fail(`${version} failed (${result.signal ?? result.status}):\n${result.stderr}`);
  process.stdout.write(`smoke: ${version} ok in ${((Date.now() - began) / 1000).toFixed(1)} s\n`);
  return result.stdout;
}

const expected = run(process.execPath);
for (const version of versions) {
  const output = run(nodeOf(version));
  if (output !== expected) fail(`Expected the same results on Node ${version}:\n${expected}${output}`);
}
