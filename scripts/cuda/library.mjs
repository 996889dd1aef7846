// What the plugin must be as a shared library.
import { spawnSync } from "node:child_process";

/** The one symbol that it shows. */
export const ENTRY = "lowrank_cuda_plugin";

/** What is wrong with the plugin as a library, a sentence each: its symbols, and what it needs from the system. */
export function faultsOf(path) {
  const read = (command, ...args) => {
    const { status, stdout } = spawnSync(command, [...args, path], { encoding: "utf8", maxBuffer: 1 << 26 });
    if (status !== 0) throw new Error(`Expected ${command} to read ${path}. Install binutils.`);
    return stdout;
  };
  const faults = [];
  const symbols = read("nm", "-D", "--defined-only")
    .split("\n")
    .map((line) => line.trim().split(/\s+/).at(-1))
    .filter(Boolean);
  if (symbols.length !== 1 || symbols[0] !== ENTRY)
    faults.push(`Expected ${ENTRY} as its one symbol, received ${symbols.slice(0, 5).join(", ") || "none"}.`);
  const needed = [...read("readelf", "-d").matchAll(/\(NEEDED\).*\[(.*)\]/g)].map(([, name]) => name);
  for (const name of needed)
    if (/^lib(cuda|cudart|nv)/.test(name))
      faults.push(
        `Expected no library of CUDA to be linked, received ${name}: it would not load without a driver.`,
      );
  return faults;
}
