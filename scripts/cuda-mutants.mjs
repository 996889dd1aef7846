// Drops each barrier, each wait for copies and each fence of the CUDA kernels in turn, and shows that the op tests on the emulated
// device notice: with the detector of data races, or else by their results in three orders of threads. Mutants that nothing can
// notice stand in test/cuda/equivalent-mutants.json, each with its reason.
//
// Usage: node scripts/cuda-mutants.mjs [--list] [--plain] [FILE…] [FILE:LINE…]: of these alone, for instance gemm_int8.cu; --plain
// leaves the detector out. Status 1: a mutant survived that is not in the list, or one of the list was caught or is no more.
import { spawnSync } from "node:child_process";
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { basename, dirname, isAbsolute, join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { buildTarget } from "./cuda-emulation.mjs";
import { checkTools } from "./lib/tools.mjs";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const kernels = "native/cuda";
const listed = "test/cuda/equivalent-mutants.json";
const DROPPED =
  /(?:__syncthreads\(\)|__syncwarp\([^;()]*\)|(?:ptx::)?cp_async_wait<[^;]*>\(\)|__threadfence\(\));/g;
/** A test that hangs is a mutant that was not caught. */
const TIMEOUT_MS = 600_000;

/** What tests exercise a file, by the beginning of its name: the first that fits. */
const TESTS = [
  [/^(gemm|gemv|small_batch|matmul|weight)/, ["ops/matmul_expand", "ops/low_rank"]],
  [/^(quantize|shrink|channels|outliers|row_norm)/, ["ops/quantize_shrink", "ops/shrink"]],
  [/^rmsnorm/, ["ops/rmsnorm_add"]],
  [/^attention/, ["ops/attention_paged"]],
  [/^logits/, ["ops/logits_candidates"]],
  [/^embed/, ["ops/embed_gather"]],
  [/^rope/, ["ops/rope"]],
  [/^/, ["ops"]],
];
const testsOf = (file) => TESTS.find(([pattern]) => pattern.test(file))[1];

const read = (path) => readFileSync(join(root, path), "utf8");
const kernelFiles = readdirSync(join(root, kernels)).filter((name) => /\.(cu|h)$/.test(name));

/** Every statement of a kernel that can be dropped: { file, line, statement, after: the line of code before it, source }. */
function mutantsOf(file) {
  const text = read(`${kernels}/${file}`);
  return [...text.matchAll(DROPPED)].map(({ 0: statement, index }) => {
    const before = text.slice(0, index).split("\n");
    const here = text.split("\n")[before.length - 1].trim();
    const after = before
      .slice(0, -1)
      .findLast((line) => line.trim() !== "")
      .trim();
    return {
      file,
      line: before.length,
      statement,
      here,
      after,
      source: `${text.slice(0, index)}(void)0;${text.slice(index + statement.length)}`,
    };
  });
}

/** The .cu files that include a file, by whatever way. */
function usersOf(file) {
  const users = new Set([file]);
  for (let size = 0; size !== users.size;) {
    size = users.size;
    for (const name of kernelFiles)
      if (
        [...read(`${kernels}/${name}`).matchAll(/#include "cuda\/([^"]+)"/g)].some(([, header]) =>
          users.has(header),
        )
      )
        users.add(name);
  }
  return [...users].filter((name) => name.endsWith(".cu"));
}

function run(command, args, env = {}) {
  return spawnSync(command, args, {
    cwd: root,
    encoding: "utf8",
    env: { ...process.env, ...env },
    maxBuffer: 64 << 20,
    timeout: TIMEOUT_MS,
  });
}

/** The tests, with kernels as they are (suffix "") or watched ("_thread"), and how they take plugins of mutants. */
class Build {
  constructor(suffix) {
    this.emulator = `lowrank_cuda_emulator${suffix}`;
    this.program = `lowrank_cuda_tests${suffix}`;
    this.folder = buildTarget(this.program);
    const objects = `lowrank_cuda_emulated_objects${suffix}.dir/`;
    const commands = JSON.parse(readFileSync(join(this.folder, "..", "..", "compile_commands.json"), "utf8"));
    this.commands = new Map();
    for (const { directory, command, file } of commands) {
      const words = command.split(" ").filter((word) => word !== "");
      const object = words[words.indexOf("-o") + 1];
      if (!object.includes(objects)) continue;
      this.commands.set(basename(file), {
        words,
        directory,
        object: isAbsolute(object) ? object : join(directory, object),
      });
    }
  }

  /** Compiles the mutant and links a plugin with it. Gives its path. */
  make(mutant, work) {
    const overlay = join(work, "native", "cuda");
    mkdirSync(overlay, { recursive: true });
    const mutated = join(overlay, mutant.file);
    writeFileSync(mutated, mutant.source);
    const objects = new Map([...this.commands].map(([file, { object }]) => [file, object]));
    for (const file of usersOf(mutant.file)) {
      const { words, directory } = this.commands.get(file);
      const object = join(work, `${file}.o`);
      const changed = words.map((word, i) => {
        if (words[i - 1] === "-o") return object;
        return word.endsWith(`/${kernels}/${file}`) && file === mutant.file ? mutated : word;
      });
      changed.splice(1, 0, `-I${join(work, "native")}`, "-w");
      const { status, stderr } = spawnSync(changed[0], changed.slice(1), {
        cwd: directory,
        encoding: "utf8",
      });
      if (status !== 0)
        throw new Error(`The mutant of ${mutant.file}:${mutant.line} does not compile:\n${stderr}`);
      objects.set(file, object);
    }
    const plugin = join(work, "mutant.so");
    const compiler = this.commands.values().next().value.words[0];
    const options = ["-shared", "-o", plugin, ...objects.values()];
    const { status, stderr } = run(compiler, [
      ...options,
      `-L${this.folder}`,
      `-l${this.emulator}`,
      `-Wl,-rpath,${this.folder}`,
    ]);
    if (status !== 0)
      throw new Error(`The mutant of ${mutant.file}:${mutant.line} does not link:\n${stderr}`);
    return plugin;
  }

  /** How the tests of the file fail with this plugin, or with the plugin as it is where none is given; null: they pass. */
  catches({ file }, plugin, order) {
    for (const filter of testsOf(file)) {
      const { status, signal, stderr } = run(join(this.folder, this.program), [filter], {
        LOWRANK_EMULATED_ORDER: order,
        ...(plugin ? { LOWRANK_CUDA_PLUGIN: plugin } : {}),
      });
      if (status === 0 || signal === "SIGTERM") continue;
      return stderr.includes("EMULATED: data race") ? "data race" : `results, ${order}`;
    }
    return null;
  }
}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { list: { type: "boolean", default: false }, plain: { type: "boolean", default: false } },
});
const files = kernelFiles.filter((name) => name !== "ptx.h");
const mutants = files
  .flatMap(mutantsOf)
  .filter(
    ({ file, line }) =>
      positionals.length === 0 || positionals.includes(file) || positionals.includes(`${file}:${line}`),
  );
const place = ({ file, line, statement }) => `${file}:${line}`.padEnd(32) + ` ${statement}`.padEnd(36);
if (values.list) {
  for (const mutant of mutants) process.stdout.write(`${place(mutant)} after: ${mutant.after}\n`);
  process.exit(0);
}

checkTools(["cmake", "c++"]);
const equivalent = JSON.parse(read(listed));
const work = join(root, "build-native", "mutants");

/** What may notice a mutant, the sharpest first: the detector, then results alone. */
const runs = [
  { suffix: "_thread", order: "ascending" },
  { suffix: "", order: "ascending" },
  { suffix: "", order: "descending" },
  { suffix: "", order: "shuffled" },
].filter(({ suffix }) => !values.plain || suffix === "");
const builds = new Map();
function buildOf(suffix) {
  if (!builds.has(suffix)) builds.set(suffix, new Build(suffix));
  return builds.get(suffix);
}

/** A test that fails anyway would notice every mutant. */
const passing = new Set();
function requirePassing(mutant, suffix, order) {
  const what = `${testsOf(mutant.file)} of lowrank_cuda_tests${suffix}, ${order}`;
  if (passing.has(what)) return;
  const how = buildOf(suffix).catches(mutant, null, order);
  if (how !== null)
    throw new Error(`Expected tests that pass with the kernels as they are, received ${how}: ${what}.`);
  passing.add(what);
}

/** What noticed the mutant, or null. */
function caughtBy(mutant) {
  rmSync(work, { recursive: true, force: true });
  const plugins = new Map();
  for (const { suffix, order } of runs) {
    requirePassing(mutant, suffix, order);
    const build = buildOf(suffix);
    if (!plugins.has(suffix)) plugins.set(suffix, build.make(mutant, join(work, `plugin${suffix}`)));
    const how = build.catches(mutant, plugins.get(suffix), order);
    if (how !== null) return how;
  }
  return null;
}

const failures = [];
const used = new Set();
for (const mutant of mutants) {
  const known = equivalent.find(
    ({ file, statement, here, after }) =>
      file === mutant.file &&
      statement === mutant.statement &&
      here === mutant.here &&
      after === mutant.after,
  );
  if (known) used.add(known);
  const how = caughtBy(mutant);
  if (how === null && !known) failures.push(`${mutant.file}:${mutant.line} survived: ${mutant.statement}`);
  if (how !== null && known)
    failures.push(`${mutant.file}:${mutant.line} is called equivalent, and was caught by: ${how}`);
  process.stdout.write(
    `${place(mutant)} ${how ? `caught by: ${how}` : `survives${known ? `: ${known.reason}` : ""}`}\n`,
  );
}
for (const one of equivalent)
  if (positionals.length === 0 && !used.has(one))
    failures.push(`${listed} names a mutant that is no more: ${one.file} ${one.here}`);
for (const failure of failures) process.stdout.write(`FAILED ${failure}\n`);
process.stdout.write(`mutants (EMULATED): ${mutants.length} mutants, ${failures.length} failures\n`);
process.exit(failures.length === 0 && mutants.length > 0 ? 0 : 1);
