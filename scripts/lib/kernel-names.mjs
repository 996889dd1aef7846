// Names of CUDA kernels, as people read them.
import { spawnSync } from "node:child_process";

/** `names` without mangling, in one call of c++filt. */
export function demangle(names) {
  if (names.length === 0) return [];
  const { status, stdout } = spawnSync("c++filt", [], { input: names.join("\n"), encoding: "utf8" });
  if (status !== 0) throw new Error("Expected c++filt to run. Install binutils.");
  return stdout.trimEnd().split("\n");
}

/** A demangled kernel without its type, its namespaces and its parameters: `gemm<64, true>`. */
export function shortName(demangled) {
  let name = demangled
    .replace(/^void /, "")
    .replaceAll("(anonymous namespace)::", "")
    .replaceAll(/\b(lowrank|cuda|device)::/g, "");
  let depth = 0;
  for (let i = 0; i < name.length; ++i) {
    if (name[i] === "<") ++depth;
    if (name[i] === ">") --depth;
    if (name[i] === "(" && depth === 0) {
      name = name.slice(0, i);
      break;
    }
  }
  return name;
}
