// What nvcc makes of every kernel, against native/cuda/budgets.json: registers, shared memory, stack, spills, occupancy, and
// the instructions that the design counts on, as PTX and (where there is a disassembler) as machine code.
//
// Usage: npm run cuda:check -- --help. Status 1: a check failed; 2: wrong arguments; 3: no CUDA toolkit.
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { positive, readArguments, refuse } from "./lib/arguments.mjs";
import { demangle, shortName } from "./lib/kernel-names.mjs";
import { checkKernel, measured } from "./cuda/budget.mjs";
import { disassemble, findDisassembler } from "./cuda/disassembler.mjs";
import { compileKernels, kernelSources, ptxKernels, resourcesOf, sassKernels } from "./cuda/kernels.mjs";
import { occupancy } from "./cuda/occupancy.mjs";
import { ARCHITECTURES, chosenArchitectures, findToolkit, NO_TOOLKIT, NOT_HERE } from "./cuda/toolkit.mjs";

const SCRIPT = "cuda:check";
const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const budgetsPath = join(root, "native", "cuda", "budgets.json");

const HELP = `npm run cuda:check -- [options]: what nvcc makes of the kernels, against native/cuda/budgets.json

  --arch LIST    architectures (default ${ARCHITECTURES.join(",")})
  --jobs N       files compiled at a time (default: as many as there are cores)
  --fetch        let pip put NVIDIA's nvdisasm into build/ where the toolkit has none
  --json FILE    all figures as JSON
  --update       write what was measured into budgets.json: registers (up to the next multiple of 8, as they are given out),
                 shared memory and stack. Instructions that a kernel must have are kept; new kernels get none
  --help

Spills are never within budget. Status 3: there is no CUDA toolkit on this machine.
`;

const values = readArguments(SCRIPT, HELP, {
  arch: { type: "string", default: "" },
  jobs: { type: "string", default: String(availableParallelism()) },
  fetch: { type: "boolean", default: false },
  json: { type: "string", default: "" },
  update: { type: "boolean", default: false },
});
const jobs = positive(SCRIPT, "jobs", values.jobs);
const toolkit = findToolkit();
if (toolkit === null) {
  process.stderr.write(`${SCRIPT}: ${NO_TOOLKIT}\n`);
  process.exit(NOT_HERE);
}
let architectures;
try {
  architectures = chosenArchitectures(values.arch, toolkit);
} catch (error) {
  refuse(SCRIPT, error.message);
}
const disassembler = findDisassembler(root, toolkit, values.fetch);
if (disassembler === null)
  process.stdout.write(
    `${SCRIPT}: SKIPPED the checks of the machine code: there is no nvdisasm. --fetch lets pip install it.\n`,
  );

/** Every kernel of one file on one architecture, with its figures and texts. */
async function kernelsOf(file, architecture, fingerprint) {
  const { ptx, cubin, log } = await compileKernels({ root, toolkit, file, architecture, fingerprint });
  const texts = ptxKernels(readFileSync(ptx, "utf8"));
  const resources = resourcesOf(log);
  const sass = disassembler && texts.size > 0 ? sassKernels(disassemble(disassembler, cubin)) : new Map();
  const names = demangle([...texts.keys()]).map(shortName);
  return [...texts].map(([mangled, text], i) => ({
    name: names[i],
    file,
    architecture,
    ...resources.get(mangled),
    threads: text.threads,
    minBlocks: text.blocks,
    ptx: text.body,
    sass: sass.get(mangled) ?? null,
  }));
}

const began = Date.now();
const { files, fingerprint } = kernelSources(root);
const kernels = [];
let done = 0;
/** Compiles files for architectures, `jobs` at a time. */
async function compileAll(work) {
  const worker = async () => {
    for (let next; (next = work.shift()) !== undefined;) {
      try {
        kernels.push(...(await kernelsOf(next.file, next.architecture, fingerprint)));
      } catch (error) {
        process.stderr.write(`${SCRIPT}: ${next.file} for sm_${next.architecture}:\n${error.message}\n`);
        process.exit(1);
      }
      process.stdout.write(`${SCRIPT}: ${++done}, ${next.file} for sm_${next.architecture}\n`);
    }
  };
  await Promise.all(Array.from({ length: jobs }, worker));
}
// Files without kernels, the plugin's host code, show that for one architecture.
const [first, ...others] = architectures;
await compileAll(files.map((file) => ({ file, architecture: first })));
const withKernels = [...new Set(kernels.map(({ file }) => file))];
await compileAll(others.flatMap((architecture) => withKernels.map((file) => ({ file, architecture }))));
kernels.sort((a, b) => a.name.localeCompare(b.name) || a.architecture - b.architecture);

const budgets = existsSync(budgetsPath) ? JSON.parse(readFileSync(budgetsPath, "utf8")) : {};
if (values.update) {
  const updated = measured(kernels, budgets);
  // Lists on one line, as the formatter has them.
  const text = JSON.stringify(updated, null, 2).replaceAll(/\[[^[\]]*\]/g, (list) =>
    list.replaceAll(/\s*\n\s*/g, " ").replaceAll(/\[ | \]/g, (end) => end.trim()),
  );
  writeFileSync(budgetsPath, `${text}\n`);
  process.stdout.write(
    `${SCRIPT}: ${Object.keys(updated).length} kernels written to native/cuda/budgets.json\n`,
  );
  Object.assign(budgets, updated);
}

const failures = kernels.flatMap((kernel) => checkKernel(kernel, budgets[kernel.name]));
for (const name of Object.keys(budgets))
  if (!kernels.some((kernel) => kernel.name === name))
    failures.push(
      `${name}: Expected this kernel of budgets.json in the sources, there is none. Remove its entry.`,
    );

const columns = [52, 6, 5, 7, 8, 6, 7, 10];
const row = (cells) =>
  cells
    .map((cell, i) => (i === 0 ? String(cell).padEnd(columns[i]) : String(cell).padStart(columns[i])))
    .join(" ");
process.stdout.write(
  `\n${row(["kernel", "sm", "regs", "static", "dynamic", "stack", "spills", "blocks/SM"])}\n`,
);
for (const kernel of kernels) {
  const dynamic = budgets[kernel.name]?.dynamic_shared ?? 0;
  kernel.dynamic = dynamic;
  kernel.occupancy = occupancy(kernel.architecture, { ...kernel, shared: kernel.shared + dynamic });
  const { name, architecture, registers, shared, stack, spills } = kernel;
  const fit = `${kernel.occupancy.blocks} (${Math.round(kernel.occupancy.share * 100)} %)`;
  process.stdout.write(`${row([name, architecture, registers, shared, dynamic, stack, spills, fit])}\n`);
}
if (values.json !== "") {
  mkdirSync(dirname(values.json), { recursive: true });
  const figures = kernels.map(({ ptx: _ptx, sass: _sass, ...figure }) => figure);
  writeFileSync(values.json, `${JSON.stringify({ cuda: toolkit.version, kernels: figures }, null, 2)}\n`);
}

const seconds = ((Date.now() - began) / 1000).toFixed(0);
if (failures.length > 0) {
  process.stderr.write(`\n${failures.map((failure) => `FAILED ${failure}`).join("\n")}\n`);
  process.stderr.write(`${SCRIPT}: ${failures.length} checks failed\n`);
  process.exit(1);
}
process.stdout.write(
  `\n${SCRIPT}: ${new Set(kernels.map(({ name }) => name)).size} kernels on sm_${architectures.join(", ")} are within budget, without spills, ` +
    `PTX${disassembler ? " and machine code" : ""} as designed (${seconds} s)\n`,
);
