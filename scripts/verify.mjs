// Everything that takes too long for CI: sanitizers, fuzzing, full fidelity, every instruction set, leak and soak runs.
//
// Usage: npm run verify -- --help. Each part writes a log to build-native/verify/. Status 1: a part failed; 2: wrong arguments
// or a missing tool.
import { spawn, spawnSync } from "node:child_process";
import { createWriteStream, mkdirSync, readFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { parseArgs } from "node:util";
import { fixedLayout, SANITIZER_ENV } from "./cuda-emulation.mjs";
import { findToolkit } from "./cuda/toolkit.mjs";
import { checkTools } from "./lib/tools.mjs";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const logs = join(root, "build-native", "verify");
const vitest = [process.execPath, "node_modules/vitest/vitest.mjs", "run"];
/** Seconds between two signs of life of a part. */
const HEARTBEAT = 30;
/** Lines of a failed part's log that are shown. */
const SHOWN_LINES = 60;

const HELP = `npm run verify -- [options]: everything that takes too long for CI

  --only PART,…       some parts only, for instance --only address,fuzz
  --list              the parts
  --fuzz-seconds N    seconds a fuzzer (default 120)
  --inputs N          inputs of the part "field" (default 20000)
  --soak-seconds N    seconds of random load (default 120)
  --cycles N          cycles of the leak tests (default 1000)
  --help
`;

function refuse(message) {
  process.stderr.write(`verify: ${message}\n`);
  process.exit(2);
}

function readArguments() {
  const text = (value) => ({ type: "string", default: value });
  const options = {
    only: text(""),
    list: { type: "boolean", default: false },
    help: { type: "boolean", default: false },
    "fuzz-seconds": text("120"),
    inputs: text("20000"),
    "soak-seconds": text("120"),
    cycles: text("1000"),
  };
  try {
    const { values } = parseArgs({ options });
    if (values.help) {
      process.stdout.write(HELP);
      process.exit(0);
    }
    return values;
  } catch (error) {
    return refuse(error.message);
  }
}

const values = readArguments();
const whole = (name, least) => {
  const number = Number(values[name]);
  if (!Number.isSafeInteger(number) || number < least)
    refuse(`Expected a whole number from ${least} for --${name}, received ${values[name]}.`);
  return String(number);
};

const limits = {
  fuzz: whole("fuzz-seconds", 1),
  inputs: whole("inputs", 1),
  soak: whole("soak-seconds", 5),
  cycles: whole("cycles", 50),
};

/** Builds native tests with a sanitizer, or without for "", into a folder of its own. */
function built(folder, sanitizer, ...targets) {
  const settings = ["-DCMAKE_BUILD_TYPE=Release", `-DLOWRANK_SANITIZE=${sanitizer}`, "-Wno-dev"];
  const parallel = ["--parallel", String(availableParallelism())];
  return [
    ["cmake", "-S", ".", "-B", folder, ...settings],
    ["cmake", "--build", folder, ...parallel, "--target", ...targets],
  ];
}

/** Builds the native tests with a sanitizer, then runs those with the names. */
function sanitized(name, sanitizer, prefix, filters) {
  const folder = `build-native/${name}`;
  return [
    ...built(folder, sanitizer, "lowrank_tests"),
    ...filters.map((filter) => [...prefix(), `${folder}/lowrank_tests`, ...(filter ? [filter] : [])]),
  ];
}

/** A program of test/cuda, run as it is or with what watches its kernels ("thread", "address"). */
function emulated(...programs) {
  return [
    ...built("build-native", "", ...programs),
    ...programs.map((program) => [`build-native/test/cuda/${program}`]),
  ];
}

/** What there is to prove about the CUDA kernels without a GPU; what a GPU shows, `npm run cuda:selftest` asks it. */
function cudaParts() {
  const noToolkit = () => (findToolkit() === null ? "there is no CUDA toolkit" : null);
  const orders = ["descending", "shuffled:1", "shuffled:2"].map((order) => ({
    name: `cuda-${order.replace(":", "-")}`,
    about: `the CUDA kernels on the emulator, threads in the order ${order}, asynchronous copies at once`,
    tools: ["cmake", "c++"],
    env: { LOWRANK_EMULATED_ORDER: order, LOWRANK_EMULATED_COPIES: "eager" },
    commands: () => emulated("lowrank_cuda_tests"),
  }));
  return [
    {
      name: "cuda-bugs",
      about: "bugs planted in kernels are caught on the emulator, each by its tool",
      tools: ["cmake", "c++"],
      commands: () => [[process.execPath, "scripts/cuda-seeded-bugs.mjs"]],
    },
    {
      name: "cuda-mutants",
      about: "each barrier, wait and fence of the CUDA kernels dropped in turn is noticed by their tests",
      tools: ["cmake", "c++"],
      commands: () => [[process.execPath, "scripts/cuda-mutants.mjs"]],
    },
    {
      name: "cuda-emulator",
      about: "the emulator's own tests",
      tools: ["cmake", "c++"],
      commands: () => emulated("lowrank_emulator_tests"),
    },
    {
      name: "cuda-emulator-address",
      about: "the emulator's own tests with the address and undefined-behaviour sanitizers",
      tools: ["cmake", "c++"],
      env: SANITIZER_ENV,
      commands: () => emulated("lowrank_emulator_tests_address"),
    },
    {
      name: "cuda-emulator-thread",
      about: "the emulator's own tests with the detector of data races",
      tools: ["cmake", "c++"],
      commands: () => emulated("lowrank_emulator_tests_thread"),
    },
    {
      name: "cuda-thread",
      about: "the CUDA kernels on the emulator with the detector of data races",
      tools: ["cmake", "c++"],
      commands: () => emulated("lowrank_cuda_tests_thread"),
    },
    {
      name: "cuda-address",
      about: "the CUDA kernels on the emulator with the address and undefined-behaviour sanitizers",
      tools: ["cmake", "c++"],
      env: SANITIZER_ENV,
      commands: () => emulated("lowrank_cuda_tests_address"),
    },
    ...orders,
    {
      name: "cuda-build",
      about: "the CUDA plugin for every architecture",
      tools: ["cmake", "c++"],
      skip: noToolkit,
      commands: () => [[process.execPath, "scripts/cuda-build.mjs"]],
    },
    {
      name: "cuda-check",
      about: "registers, spills, shared memory, occupancy, PTX and machine code of every CUDA kernel",
      tools: ["c++"],
      skip: noToolkit,
      commands: () => [[process.execPath, "scripts/cuda-check.mjs", "--fetch"]],
    },
    {
      name: "cuda-emulate",
      about: "SmolLM2 with an adapter on the emulated GPU against the CPU",
      tools: ["cmake", "c++"],
      commands: () => [[process.execPath, "scripts/cuda-emulate.mjs"]],
    },
    {
      name: "cuda-selftest",
      about: "the self-test of a GPU, on the emulator",
      tools: ["cmake", "c++"],
      commands: () => [[process.execPath, "scripts/cuda-selftest.mjs", "--emulated"]],
    },
    {
      name: "cuda-roofline",
      about: "the page of modelled rates is the one that these sources give",
      tools: ["cmake", "c++"],
      commands: () => [[process.execPath, "bench/cuda/roofline.mjs", "--check"]],
    },
  ];
}

/** Parts by name: what they prove, the tools that they need, their commands (each an array) and environment. */
function partsOf(instructionSets) {
  const parts = [
    {
      name: "address",
      about: "native tests with the address and undefined-behaviour sanitizers, long forms too",
      tools: ["cmake", "c++"],
      env: { ...SANITIZER_ENV, LOWRANK_FULL: "1" },
      commands: () => sanitized("address", "address,undefined", () => [], [""]),
    },
    {
      name: "thread",
      about: "engine, programs and thread pool with the thread sanitizer",
      tools: ["cmake", "c++"],
      env: SANITIZER_ENV,
      commands: () =>
        sanitized("thread", "thread", fixedLayout, [
          "engine:",
          "thread pool:",
          "program:",
          "model/row blocks:",
        ]),
    },
    {
      name: "schedules",
      about: "500 random schedules: each request gets the bits that it gets alone",
      tools: [],
      env: { LOWRANK_FULL: "1" },
      commands: () => [[...vitest, "test/generate/schedules"]],
    },
    {
      name: "altered",
      about: "a model file with altered bytes: a model or a coded error",
      tools: [],
      env: { LOWRANK_FULL: "1" },
      commands: () => [[...vitest, "test/model/bad-models"]],
    },
    {
      name: "fuzz",
      about: "libFuzzer on the readers",
      tools: [],
      commands: () => [[process.execPath, "test/fuzz/run.mjs", limits.fuzz]],
    },
    {
      name: "field",
      about: "chat templates, messages, tokenizers and adapters as strangers send them, watched from outside",
      tools: [],
      commands: () => [[process.execPath, "test/fuzz/field/run.mjs", "--inputs", limits.inputs]],
    },
    {
      name: "fidelity",
      about: "every golden text and logit, against transformers and PEFT",
      tools: [],
      env: { LOWRANK_FULL: "1" },
      commands: () => [[...vitest, "test/fidelity", "test/tokenizer"]],
    },
    {
      name: "int8",
      about: "int8 against float32 over 20,480 tokens, with and without adapters, and Gemma 3",
      tools: [],
      commands: () => [[process.execPath, "bench/fidelity.mjs", "--gemma3", "--check"]],
    },
  ];
  if (process.platform === "linux") parts.push(...cudaParts());
  if (process.platform === "linux")
    parts.splice(2, 0, {
      name: "addon",
      about: "the addon with the address sanitizer inside Node: workers, disposal, bad input",
      tools: ["c++", "make", "python3"],
      commands: () => [[process.execPath, "scripts/verify-addon.mjs"]],
    });
  for (const { name, available } of instructionSets)
    if (available)
      parts.push({
        name: `isa-${name}`,
        about: `small models, adapters and batching on the instruction set ${name}`,
        tools: [],
        env: { LOWRANK_ISA: name },
        commands: () => [[...vitest, "test/fidelity/tiny", "test/generate/concurrency", "test/model/load"]],
      });
  parts.push(
    {
      name: "leak",
      about: "load, use and dispose again and again",
      tools: [],
      commands: () => [[process.execPath, "test/leak/cycles.mjs", limits.cycles]],
    },
    {
      name: "leak-adapters",
      about: "an unload frees memory; loads, swaps and evictions again and again leave it flat",
      tools: [],
      commands: () => [[process.execPath, "test/leak/adapters.mjs", limits.cycles]],
    },
    {
      name: "soak",
      about: "random load on one engine: results and memory stay the same",
      tools: [],
      commands: () => [[process.execPath, "test/leak/soak.mjs", "--minutes", String(limits.soak / 60)]],
    },
    {
      name: "node-versions",
      about: "the addon on other versions of Node",
      tools: ["npm"],
      commands: () => [[process.execPath, "test/smoke/node-versions.mjs"]],
    },
  );
  return parts;
}

/** Runs one command into the log; tells its last line now and then. Resolves with what went wrong, or null. */
function run([command, ...args], env, log) {
  return new Promise((resolve) => {
    log.write(`$ ${[command, ...args].join(" ")}\n`);
    const began = Date.now();
    let last = "";
    const child = spawn(command, args, {
      cwd: root,
      env: { ...process.env, ...env, NO_COLOR: "1", FORCE_COLOR: "0" },
      stdio: ["ignore", "pipe", "pipe"],
    });
    const heartbeat = setInterval(() => {
      const seconds = Math.round((Date.now() - began) / 1000);
      process.stdout.write(`    ${seconds} s: ${last.slice(0, 100)}\n`);
    }, HEARTBEAT * 1000);
    for (const stream of [child.stdout, child.stderr])
      stream.on("data", (data) => {
        log.write(data);
        last = data.toString().trim().split("\n").at(-1) || last;
      });
    const end = (failure) => {
      clearInterval(heartbeat);
      resolve(failure);
    };
    child.on("error", (error) => end(`${command}: ${error.message}`));
    child.on("close", (code, signal) => end(code === 0 ? null : `${command} ended with ${signal ?? code}`));
  });
}

async function verify(part) {
  const skipped = part.skip?.() ?? null;
  if (skipped !== null) {
    process.stdout.write(`verify: ${part.name} SKIPPED: ${skipped}\n`);
    return { name: part.name, seconds: 0, failure: null, skipped };
  }
  process.stdout.write(`verify: ${part.name} (${part.about})\n`);
  const began = Date.now();
  const path = join(logs, `${part.name}.log`);
  const log = createWriteStream(path);
  let failure = null;
  for (const command of part.commands()) {
    failure = await run(command, part.env ?? {}, log);
    if (failure) break;
  }
  await new Promise((resolve) => log.end(resolve));
  const seconds = (Date.now() - began) / 1000;
  if (failure) {
    const tail = readFileSync(path, "utf8").trimEnd().split("\n").slice(-SHOWN_LINES);
    process.stdout.write(`${tail.map((line) => `    | ${line}`).join("\n")}\n`);
  }
  process.stdout.write(`verify: ${part.name} ${failure ? `FAILED: ${failure}` : "passed"}\n`);
  return { name: part.name, seconds, failure };
}

spawnSync(process.execPath, ["scripts/setup.mjs"], { cwd: root, stdio: "inherit" }).status === 0 ||
  refuse("Expected the setup to succeed; its messages stand above.");
const { instructionSets } = await import(pathToFileURL(join(root, "dist/index.js")));
const parts = partsOf(instructionSets());
const names = parts.map(({ name }) => name);
if (values.list) {
  for (const { name, about } of parts) process.stdout.write(`${name.padEnd(18)} ${about}\n`);
  process.exit(0);
}
const chosen = values.only === "" ? names : values.only.split(",");
for (const name of chosen)
  if (!names.includes(name)) refuse(`Expected one of ${names.join(", ")} for --only, received ${name}.`);
const selected = parts.filter(({ name }) => chosen.includes(name));
checkTools([...new Set(selected.flatMap(({ tools }) => tools))]);
mkdirSync(logs, { recursive: true });

const outcomes = [];
for (const part of selected) outcomes.push(await verify(part));

process.stdout.write("\n");
for (const { name, seconds, failure, skipped } of outcomes)
  process.stdout.write(
    `${failure ? "FAILED " : skipped ? "SKIPPED" : "passed "} ${name.padEnd(18)} ${seconds.toFixed(0).padStart(6)} s  ${failure ?? skipped ?? ""}\n`,
  );
const failed = outcomes.filter(({ failure }) => failure);
process.stdout.write(
  failed.length === 0
    ? `verify: ${outcomes.filter(({ skipped }) => !skipped).length} parts passed, ${outcomes.filter(({ skipped }) => skipped).length} skipped\n`
    : `verify: ${failed.length} of ${outcomes.length} parts failed; logs in build-native/verify\n`,
);
process.exit(failed.length === 0 ? 0 : 1);
