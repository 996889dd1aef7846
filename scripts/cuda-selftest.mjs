// For a machine with a GPU: do the CUDA kernels do there what the emulator, the reference and the CPU say, and how fast? One JSON file
// holds everything, to send.
//
// Usage: npm run cuda:selftest -- --help. Status 1: a part failed; 2: wrong arguments; 3: there is no GPU to test on.
import { spawn } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { dirname, join, relative } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { machine } from "./lib/machine.mjs";
import { readArguments } from "./lib/arguments.mjs";
import { NOT_HERE } from "./cuda/toolkit.mjs";
import { compareWrappers } from "./cuda/wrappers.mjs";
import { checkTools } from "./lib/tools.mjs";

const SCRIPT = "cuda:selftest";
const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const prebuilds = join(root, `packages/lowrank-cuda/prebuilds/${process.platform}-${process.arch}`);
const emulation = join(root, "build-native", "test", "cuda");
const goldenPath = join(root, "test", "cuda", "selftest", "golden.json");
const TINY = { model: "test/golden/data/tiny-models/llama", adapter: "test/golden/data/tiny-adapters/plain" };
const DEMO = { model: "smollm2-135m-instruct", adapter: "examples/adapters/order-json" };

const HELP = `npm run cuda:selftest -- [options]: the CUDA kernels on this machine's GPU, against emulator, reference and CPU

  --json FILE       the report (default build/cuda-selftest.json): send this file
  --only PART,…     some of: wrappers, ops, model, ceilings, rates
  --model NAME      the model of the parts model and rates (default ${DEMO.model})
  --emulated        everything on the emulator instead of a GPU, with a tiny model: this proves the script, not a GPU, and rates
                    mean nothing. Says EMULATED wherever it shows a result
  --write-golden    with --emulated: writes what the wrappers give, for GPUs to be compared with
  --help

The plugin comes from npm run cuda:build, or LOWRANK_CUDA_PLUGIN names it. Status 3: there is no GPU, and nothing was tested.
`;

const values = readArguments(SCRIPT, HELP, {
  json: { type: "string", default: join(root, "build", "cuda-selftest.json") },
  only: { type: "string", default: "" },
  model: { type: "string", default: "" },
  emulated: { type: "boolean", default: false },
  "write-golden": { type: "boolean", default: false },
});
const emulated = values.emulated;
const label = emulated ? "EMULATED " : "";
const say = (text) => process.stdout.write(`${SCRIPT}: ${text}\n`);

/** Runs a command to its end: `{ status, stdout, stderr }`. With `shown`, its output appears meanwhile. */
const run = (command, args, { environment = {}, shown = false } = {}) =>
  new Promise((resolve, reject) => {
    const child = spawn(command, args, {
      cwd: root,
      env: { ...process.env, ...environment },
      stdio: ["ignore", "pipe", "pipe"],
    });
    const text = { stdout: "", stderr: "" };
    for (const name of ["stdout", "stderr"])
      child[name].on("data", (data) => {
        text[name] += data;
        if (shown) process.stdout.write(data);
      });
    child.on("error", reject);
    child.on("close", (status) => resolve({ status, ...text }));
  });

async function succeed(command, args, options) {
  const result = await run(command, args, options);
  if (result.status === 0) return result;
  const tail = (result.stderr.trim() || result.stdout.trim()).split("\n").slice(-20).join("\n");
  throw new Error(`${[command, ...args].join(" ")} ended with ${result.status}:\n${tail}`);
}

/** Builds targets of the project's CMake: tests and, emulated, what they run on. */
async function build(...targets) {
  checkTools(["cmake", "c++"]);
  say(`building ${targets.join(", ")} …`);
  const settings = ["-DCMAKE_BUILD_TYPE=Release", "-Wno-dev", "--log-level=WARNING"];
  await succeed("cmake", ["-S", ".", "-B", "build-native", ...settings]);
  const parallel = ["--parallel", String(availableParallelism())];
  await succeed("cmake", ["--build", "build-native", ...parallel, "--target", ...targets]);
}

const plugin = emulated
  ? join(emulation, "liblowrank_cuda_emulated.so")
  : process.env.LOWRANK_CUDA_PLUGIN || join(prebuilds, "liblowrank_cuda.so");
const environment = { LOWRANK_CUDA_PLUGIN: plugin };
const selftest = join(emulated ? join(emulation, "selftest") : prebuilds, "lowrank_cuda_selftest");

/** Ends the process where there is no GPU that the plugin can use; gives the first one that it can. */
async function findGpu() {
  if (emulated) await build("lowrank_cuda_emulated", "lowrank_cuda_selftest");
  const nothing = (reason) => {
    process.stderr.write(
      `${"*".repeat(100)}\n${SCRIPT}: THERE IS NO GPU TO TEST ON, AND NOTHING WAS TESTED.\n${reason}\n` +
        `--emulated runs the same on the emulator.\n${"*".repeat(100)}\n`,
    );
    process.exit(NOT_HERE);
  };
  if (!existsSync(plugin))
    nothing(`Expected the plugin ${plugin}, there is none. npm run cuda:build makes it.`);
  process.env.LOWRANK_CUDA_PLUGIN = plugin;
  const { devices } = await import(pathToFileURL(join(root, "dist/index.js")));
  const cuda = (await devices()).filter(({ backend }) => backend === "cuda");
  const usable = cuda.find(({ available, emulated: isEmulated }) => available && isEmulated === emulated);
  return usable ?? nothing(cuda.map(({ id, reason }) => `${id}: ${reason || "it is emulated"}`).join("\n"));
}

/** What a wrapper of one instruction gives, against the golden file that the emulator wrote. */
async function wrappers() {
  const found = JSON.parse((await succeed(selftest, ["wrappers"])).stdout);
  if (values["write-golden"] && emulated) {
    const all = found.wrappers.map((one) => `  ${JSON.stringify(one)}`).join(",\n");
    writeFileSync(goldenPath, `{"wrappers": [\n${all}\n]}\n`);
    say(`${relative(root, goldenPath)} written`);
  }
  const compared = compareWrappers(JSON.parse(readFileSync(goldenPath, "utf8")), found);
  for (const { name, differences } of compared)
    say(`  ${label}${name}: ${differences.length === 0 ? "as emulated" : differences.join("; ")}`);
  return { passed: compared.every(({ differences }) => differences.length === 0), wrappers: compared };
}

/** The op tests of the CPU kernels, on the device. */
async function ops() {
  await build("lowrank_cuda_tests");
  const { status, stdout, stderr } = await run(join(emulation, "lowrank_cuda_tests"), ["ops"], {
    environment,
    shown: true,
  });
  return {
    passed: status === 0,
    summary: stdout.trim().split("\n").at(-1),
    failures: stderr.trim().slice(-4000),
  };
}

/** The whole model against the CPU: logits, greedy tokens, layers. */
async function model() {
  const report = join(root, "build", "cuda-selftest-model.json");
  const chosenModel = values.model || (emulated ? TINY.model : DEMO.model);
  const size = emulated ? ["--prompt", "8", "--tokens", "4"] : ["--device", "cuda"];
  const args = ["scripts/cuda-emulate.mjs", "--json", report, "--model", chosenModel, ...size];
  const { status, stderr } = await run(process.execPath, args, { environment, shown: true });
  const passed = status === 0;
  return { passed, ...(existsSync(report) && { report: JSON.parse(readFileSync(report, "utf8")) }), stderr };
}

/** What the GPU can do at most. */
async function ceilings() {
  const { stdout } = await succeed(selftest, ["ceilings", ...(emulated ? ["quick"] : [])]);
  const found = JSON.parse(stdout);
  for (const { name, unit, value } of found.ceilings)
    say(`  ${label}${name}: ${value.toPrecision(4)} ${unit}`);
  return { passed: true, ceilings: found.ceilings };
}

/** Tokens a second, beside the ceilings that were measured before. */
async function rates(done) {
  const chosen = emulated ? TINY : DEMO;
  const name = values.model || chosen.model;
  const adapter = values.model === "" ? chosen.adapter : "";
  const [contexts, rounds, tokens] = emulated ? ["16", "0", "4"] : ["512,2048", "5", "64"];
  const { stdout } = await succeed(
    process.execPath,
    ["scripts/cuda/rates.mjs", gpu.id, name, adapter, rounds, contexts, tokens],
    { environment },
  );
  const found = JSON.parse(stdout);
  const read = done.ceilings?.ceilings.find((one) => one.name === "read")?.value;
  for (const one of found.rates) {
    // A token reads all weights once, sixteen together as well.
    const gigabytes = (one.decode_tokens_per_second * found.weightBytes) / 1e9;
    if (read !== undefined) one.decode_share_of_read = gigabytes / read;
    const beside =
      read === undefined
        ? ""
        : ` (${(100 * one.decode_share_of_read).toFixed(0)} % of the read ceiling by weights alone)`;
    say(
      `  ${label}at ${one.context}${one.adapter ? ", with the adapter" : ""}: prefill ${one.prefill_tokens_per_second.toFixed(0)}, ` +
        `decode ${one.decode_tokens_per_second.toFixed(0)}${beside}, 16 together ${one.decode_16_tokens_per_second.toFixed(0)} tokens/s`,
    );
  }
  return { passed: true, model: name, ...found };
}

const PARTS = { wrappers, ops, model, ceilings, rates };
const chosen = values.only === "" ? Object.keys(PARTS) : values.only.split(",");
for (const name of chosen)
  if (PARTS[name] === undefined) {
    process.stderr.write(
      `${SCRIPT}: Expected some of ${Object.keys(PARTS).join(", ")} for --only, received ${name}.\n`,
    );
    process.exit(2);
  }

const gpu = await findGpu();
say(`${label}${gpu.name}, ${gpu.instructionSet}`);
const report = {
  what: emulated ? "EMULATED: this proves the script, not a GPU" : "cuda:selftest",
  version: JSON.parse(readFileSync(join(root, "package.json"), "utf8")).version,
  date: new Date().toISOString(),
  emulated,
  gpu,
  driver: emulated
    ? null
    : ((
        await run("nvidia-smi", [
          "--query-gpu=name,driver_version,clocks.max.sm,power.limit",
          "--format=csv",
        ]).catch(() => null)
      )?.stdout ?? null),
  machine: machine(),
  parts: {},
};
for (const name of chosen) {
  say(`${label}${name} …`);
  const began = Date.now();
  let outcome;
  try {
    outcome = await PARTS[name](report.parts);
  } catch (error) {
    outcome = { passed: false, error: error.message };
    process.stderr.write(`${error.message}\n`);
  }
  report.parts[name] = { ...outcome, seconds: (Date.now() - began) / 1000 };
  say(`${label}${name} ${outcome.passed ? "passed" : "FAILED"} (${report.parts[name].seconds.toFixed(0)} s)`);
}
const failed = chosen.filter((name) => !report.parts[name].passed);
mkdirSync(dirname(values.json), { recursive: true });
writeFileSync(values.json, `${JSON.stringify(report, null, 2)}\n`);
say(
  `${label}report in ${relative(process.cwd(), values.json)}: ${failed.length === 0 ? "all parts passed" : `FAILED: ${failed.join(", ")}`}`,
);
process.exit(failed.length === 0 ? 0 : 1);
