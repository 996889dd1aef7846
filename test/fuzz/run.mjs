#!/usr/bin/env node
// Builds the fuzz targets with clang's libFuzzer, AddressSanitizer and UndefinedBehaviorSanitizer, and runs
// each:
//
//   node test/fuzz/run.mjs [SECONDS] [TARGET …]
//
// SECONDS 0 (the default) reads the committed corpus once, a regression test of a few seconds; more also
// fuzzes for that long per target, starting from it. TARGET: json, safetensors, gguf; all when none is named.
// What is found lies in build-native/fuzz/<target>/: corpus/ (new inputs) and crash-*, which exit status 1
// tells of; add a fixed crash to test/fuzz/corpus/<target>/. Status 2: clang is missing, or wrong arguments.
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, statSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const root = resolve(dirname(fileURLToPath(import.meta.url)), "../..");
const targets = ["json", "safetensors", "gguf"];
const maxInputBytes = 4096; // headers, counts and offsets; larger data takes the same paths
const maxMemoryMegabytes = 1024;

function fail(message, status) {
  console.error(message);
  process.exit(status);
}

function run(command, args, options = {}) {
  return spawnSync(command, args, { cwd: root, stdio: "inherit", ...options }).status;
}

function findCompiler() {
  const candidates = [
    process.env.CLANGXX,
    "clang++",
    ...[20, 19, 18, 17, 16, 15, 14].map((v) => `clang++-${v}`),
  ];
  const found = candidates.find((name) => name && run(name, ["--version"], { stdio: "ignore" }) === 0);
  return (
    found ??
    fail(
      "Expected clang++ for the fuzz targets, received none. Install it (Debian, Ubuntu: apt-get install " +
        "clang libclang-rt-dev; macOS: brew install llvm), or name it in CLANGXX.",
      2,
    )
  );
}

const [secondsText = "0", ...named] = process.argv.slice(2);
const seconds = Number(secondsText);
if (!Number.isSafeInteger(seconds) || seconds < 0) {
  fail(`Expected a whole number of seconds, received ${secondsText}. Pass for instance 60.`, 2);
}
for (const name of named) {
  if (!targets.includes(name)) fail(`Expected ${targets.join(", ")} for a target, received ${name}.`, 2);
}

const sources = ["native/core/json.cpp"].concat(
  readdirSync(join(root, "native/formats"))
    .filter((name) => name.endsWith(".cpp"))
    .map((name) => `native/formats/${name}`),
);

/** Newest change among the files that a target is built from, in ms. */
function newestSource(main) {
  const headers = ["native/core", "native/formats", "test/native/formats"].flatMap((folder) =>
    readdirSync(join(root, folder))
      .filter((name) => name.endsWith(".h"))
      .map((name) => `${folder}/${name}`),
  );
  return Math.max(...[main, ...sources, ...headers].map((file) => statSync(join(root, file)).mtimeMs));
}

function build(compiler, target) {
  const main = `test/fuzz/fuzz_${target}.cpp`;
  const folder = join(root, "build-native/fuzz", target);
  const program = join(folder, "fuzz");
  mkdirSync(join(folder, "corpus"), { recursive: true });
  if (existsSync(program) && statSync(program).mtimeMs > newestSource(main)) return folder;
  console.log(`fuzz: building ${target}`);
  const flags = ["-std=c++20", "-O1", "-g", "-fno-omit-frame-pointer", "-fno-sanitize-recover=all"];
  const sanitizers = "-fsanitize=fuzzer,address,undefined";
  const includes = ["-I", "native", "-I", "test/native"];
  const status = run(compiler, [...flags, sanitizers, ...includes, main, ...sources, "-o", program]);
  if (status !== 0) fail(`Expected fuzz target ${target} to compile, received status ${status}.`, 1);
  return folder;
}

const compiler = findCompiler();
const failed = [];
for (const target of named.length > 0 ? named : targets) {
  const folder = build(compiler, target);
  const seeds = join(root, "test/fuzz/corpus", target);
  const limits = [
    `-max_len=${maxInputBytes}`,
    `-rss_limit_mb=${maxMemoryMegabytes}`,
    "-timeout=10",
    `-artifact_prefix=${folder}/`,
  ];
  const regression = readdirSync(seeds).map((name) => join(seeds, name));
  console.log(`fuzz: ${target}, ${regression.length} inputs of the corpus`);
  const replay = spawnSync(join(folder, "fuzz"), [...limits, ...regression], { encoding: "utf8" });
  let status = replay.status;
  if (status !== 0) console.error(replay.stderr);
  if (status === 0 && seconds > 0) {
    console.log(`fuzz: ${target}, ${seconds} s`);
    const time = [`-max_total_time=${seconds}`, "-print_final_stats=1"];
    status = run(join(folder, "fuzz"), [...limits, ...time, join(folder, "corpus"), seeds]);
  }
  if (status !== 0) failed.push(target);
}
if (failed.length > 0)
  fail(`Expected no findings, received some in ${failed.join(", ")}: see build-native/fuzz/.`, 1);
console.log("fuzz: no findings");
