// Builds the plugin with the CUDA kernels into its package, packages/lowrank-cuda/prebuilds/<platform>-<arch>/.
//
// Usage: npm run cuda:build -- --help. Status 1: the build failed; 2: wrong arguments or no CMake; 3: no CUDA toolkit.
import { spawnSync } from "node:child_process";
import { copyFileSync, existsSync, mkdirSync, rmSync, statSync } from "node:fs";
import { availableParallelism } from "node:os";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { positive, readArguments, refuse } from "./lib/arguments.mjs";
import { faultsOf } from "./cuda/library.mjs";
import { ARCHITECTURES, chosenArchitectures, findToolkit, NO_TOOLKIT, NOT_HERE } from "./cuda/toolkit.mjs";
import { checkTools } from "./lib/tools.mjs";

const SCRIPT = "cuda:build";
const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const folder = join(root, "build-native", "cuda");
const PLUGIN = "liblowrank_cuda.so";
const SELFTEST = "lowrank_cuda_selftest";
const target = join(root, `packages/lowrank-cuda/prebuilds/${process.platform}-${process.arch}`);

const HELP = `npm run cuda:build -- [options]: the plugin with the CUDA kernels

  --arch LIST    architectures (default ${ARCHITECTURES.join(",")}; fewer are faster: --arch 80,90).
                 The highest one also comes as PTX, which later GPUs translate when they load it
  --jobs N       files compiled at a time (default: as many as there are cores)
  --clean        from the beginning
  --help

Status 3: there is no CUDA toolkit on this machine.
`;

function run(command, ...args) {
  const { status, error } = spawnSync(command, args, { cwd: root, stdio: ["ignore", "inherit", "inherit"] });
  if (status === 0) return;
  process.stderr.write(
    `${SCRIPT}: ${[command, ...args].join(" ")} failed${error ? `: ${error.message}` : ""}.\n`,
  );
  process.exit(1);
}

const values = readArguments(SCRIPT, HELP, {
  arch: { type: "string", default: "" },
  jobs: { type: "string", default: String(availableParallelism()) },
  clean: { type: "boolean", default: false },
});
const jobs = positive(SCRIPT, "jobs", values.jobs);
if (process.platform !== "linux")
  refuse(SCRIPT, `Expected Linux, this is ${process.platform}: the plugin is built there alone.`);
const toolkit = findToolkit();
if (toolkit === null) {
  process.stderr.write(`${SCRIPT}: ${NO_TOOLKIT}\n`);
  process.exit(NOT_HERE);
}
checkTools(["cmake", "c++"]);
let architectures;
try {
  architectures = chosenArchitectures(values.arch, toolkit);
} catch (error) {
  refuse(SCRIPT, error.message);
}
if (values.arch === "")
  for (const missing of ARCHITECTURES.filter((one) => !architectures.includes(one)))
    process.stdout.write(`${SCRIPT}: CUDA ${toolkit.version} knows no sm_${missing}; it is left out\n`);

const began = Date.now();
process.stdout.write(
  `${SCRIPT}: CUDA ${toolkit.version} (${toolkit.nvcc}), sm_${architectures.join(", ")}\n`,
);
if (values.clean) rmSync(folder, { recursive: true, force: true });
// A cache of another compiler would be kept by CMake without a word.
if (existsSync(join(folder, "CMakeCache.txt"))) rmSync(join(folder, "CMakeCache.txt"));
const last = architectures.at(-1);
run(
  "cmake",
  ...["-S", "native/cuda", "-B", folder, "-DCMAKE_BUILD_TYPE=Release", "-Wno-dev", "--log-level=WARNING"],
  `-DCMAKE_CUDA_COMPILER=${toolkit.nvcc}`,
  `-DCMAKE_CUDA_ARCHITECTURES=${architectures.map((one) => (one === last ? one : `${one}-real`)).join(";")}`,
);
run("cmake", "--build", folder, "--parallel", String(jobs), "--", "--no-print-directory");

const faults = faultsOf(join(folder, PLUGIN));
if (faults.length > 0) {
  process.stderr.write(`${SCRIPT}: the plugin is not as it should be:\n  ${faults.join("\n  ")}\n`);
  process.exit(1);
}
mkdirSync(target, { recursive: true });
for (const name of [PLUGIN, SELFTEST].filter((one) => existsSync(join(folder, one)))) {
  // Not over a file that a process has opened.
  rmSync(join(target, name), { force: true });
  copyFileSync(join(folder, name), join(target, name));
  const megabytes = (statSync(join(target, name)).size / 1e6).toFixed(1);
  process.stdout.write(`${SCRIPT}: ${relative(root, join(target, name))}, ${megabytes} MB\n`);
}
process.stdout.write(`${SCRIPT}: done in ${((Date.now() - began) / 1000).toFixed(0)} s\n`);
