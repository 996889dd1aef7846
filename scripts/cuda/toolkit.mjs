// The CUDA toolkit of this machine, and the architectures that the plugin is built for.
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { delimiter, join } from "node:path";

/** Compute capabilities times ten: A100; RTX 30, A10; L4, RTX 40; H100; B200; RTX 50. Ascending. */
export const ARCHITECTURES = [80, 86, 89, 90, 100, 120];

/** Exit status of a script that needs something this machine has not: a toolkit, or a GPU. */
export const NOT_HERE = 3;

export const NO_TOOLKIT =
  "Expected nvcc (LOWRANK_NVCC, in $CUDA_HOME/bin, $CUDA_PATH/bin, on the PATH or in /usr/local/cuda/bin), there is none. " +
  "Install the CUDA toolkit 12.8 or newer, https://developer.nvidia.com/cuda-downloads; the addon itself needs none of it.";

const output = (command, ...args) => spawnSync(command, args, { encoding: "utf8" });

/**
 * `{ nvcc, version, architectures }` with the architectures that this nvcc can build for, or null. LOWRANK_NVCC, where it is
 * set, is the one place that is looked at.
 */
export function findToolkit(environment = process.env) {
  const folders = [
    ...[environment.CUDA_HOME, environment.CUDA_PATH].filter(Boolean).map((home) => join(home, "bin")),
    ...(environment.PATH ?? "").split(delimiter).filter(Boolean),
    "/usr/local/cuda/bin",
  ];
  const places = environment.LOWRANK_NVCC
    ? [environment.LOWRANK_NVCC]
    : folders.map((folder) => join(folder, "nvcc"));
  for (const nvcc of places) {
    if (!existsSync(nvcc)) continue;
    const { status, stdout } = output(nvcc, "--version");
    if (status !== 0) continue;
    const version = /release (\d+\.\d+)/.exec(stdout)?.[1];
    const known = output(nvcc, "--list-gpu-code").stdout ?? "";
    const codes = new Set([...known.matchAll(/\bsm_(\d+)\b/g)].map(([, code]) => Number(code)));
    return { nvcc, version, architectures: codes };
  }
  return null;
}

/**
 * The architectures that `--arch` names, ascending; "" means all that the toolkit can build for. Throws a RangeError with
 * a sentence for a list that is none, or an architecture that it lacks.
 */
export function chosenArchitectures(text, toolkit) {
  if (text === "") return ARCHITECTURES.filter((architecture) => toolkit.architectures.has(architecture));
  const all = [...new Set(text.split(",").map(Number))].sort((a, b) => a - b);
  for (const architecture of all) {
    if (!ARCHITECTURES.includes(architecture))
      throw new RangeError(
        `Expected some of ${ARCHITECTURES.join(", ")} with commas between for --arch, received ${text}.`,
      );
    if (!toolkit.architectures.has(architecture))
      throw new RangeError(
        `Expected an architecture that CUDA ${toolkit.version} can build for, received ${architecture}. Use a newer toolkit or leave it out.`,
      );
  }
  return all;
}
