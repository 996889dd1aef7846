// Drops each barrier, each wait for copies and each fence of the CUDA kernels in turn, and shows that the tests notice: op tests on
// the emulated device in three orders of threads, then under the thread sanitizer. Mutants that nothing can notice stand in
// test/cuda/equivalent-mutants.json, each with its reason.
//
// Usage: node scripts/cuda-mutants.mjs [--list] [--plain] [FILE…] [FILE:LINE…]: of these alone, for instance gemm_int8.cu; --plain
// leaves the sanitizer out. Status 1: a mutant survived that is not in the list, or one of the list was caught or is no more.
import { spawnSync } from "node:child_process";
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { basename, dirname, isAbsolute, join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { buildTarget, fixedLayout, SANITIZER_ENV } from "./cuda-emulation.mjs";
import { checkTools } from "./tools.mjs";

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

/** The tests, with plain kernels or with kernels that a sanitizer watches, and how they take plugins of mutants. */
class Build {
  constructor(watched, prefix) {
    this.prefix = prefix;
    const suffix = watched === "" ? "" : `_${watched}`;
    this.link = watched === "" ? [] : [`-fsanitize=${watched}`];
    this.emulator = `lowrank_cuda_emulator${suffix}`;
    this.program = `lowrank_cuda_tests${suffix}`;
    this.folder = buildTarget("", this.program);
    const objects = `${watched === "" ? "lowrank_cuda_emulated_objects" : `lowrank_cuda_emulated${suffix}`}.dir/`;
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
    const options = ["-shared", ...this.link, "-o", plugin, ...objects.values()];
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

  /** Whether the tests of the file fail with this plugin, or with the plugin as it is where none is given. */
  catches({ file }, plugin, env) {
    return testsOf(file).some((filter) => {
      const [command, ...args] = [...this.prefix(), join(this.folder, this.program), filter];
      const { status, signal } = run(command, args, {
        ...SANITIZER_ENV,
        ...env,
        ...(plugin ? { LOWRANK_CUDA_PLUGIN: plugin } : {}),
      });
      return status !== 0 && signal !== "SIGTERM";
    });
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
const plain = new Build("", () => []);
const thread = values.plain ? null : new Build("thread", fixedLayout);
const work = join(root, "build-native", "mutants");

const orders = ["ascending", "descending", "shuffled"].map((order) => ({ LOWRANK_EMULATED_ORDER: order }));

// A test that fails anyway would notice every mutant.
for (const file of new Set(mutants.map((mutant) => mutant.file)))
  if (orders.some((env) => plain.catches({ file }, null, env)) || thread?.catches({ file }, null, {}))
    throw new Error(`Expected the tests ${testsOf(file).join(", ")} to pass with the kernels as they are.`);

/** Which tool noticed the mutant, or null. */
function caughtBy(mutant) {
  rmSync(work, { recursive: true, force: true });
  const plugin = plain.make(mutant, work);
  for (const env of orders)
    if (plain.catches(mutant, plugin, env)) return `results, ${env.LOWRANK_EMULATED_ORDER}`;
  if (!thread) return null;
  return thread.catches(mutant, thread.make(mutant, work), {}) ? "thread sanitizer" : null;
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
  const tool = caughtBy(mutant);
  if (tool === null && !known && thread)
    failures.push(`${mutant.file}:${mutant.line} survived: ${mutant.statement}`);
  if (tool !== null && known)
    failures.push(`${mutant.file}:${mutant.line} is called equivalent, and was caught by: ${tool}`);
  process.stdout.write(
    `${place(mutant)} ${tool ? `caught by: ${tool}` : `survives${known ? `: ${known.reason}` : ""}`}\n`,
  );
}
for (const one of equivalent)
  if (positionals.length === 0 && !used.has(one))
    failures.push(`${listed} names a mutant that is no more: ${one.file} ${one.here}`);
for (const failure of failures) process.stdout.write(`FAILED ${failure}\n`);
process.stdout.write(`mutants (EMULATED): ${mutants.length} mutants, ${failures.length} failures\n`);
process.exit(failures.length === 0 && mutants.length > 0 ? 0 : 1);
