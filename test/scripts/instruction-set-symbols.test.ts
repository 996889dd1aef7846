// Functions compiled for an instruction set must not reach code for a lesser processor: the linker keeps one copy of each weak
// symbol, wherever it came from. See native/cpu/instruction_set.h.
import { execFileSync } from "node:child_process";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { compiledApart } from "../../scripts/instruction-sets.mjs";

const release = join(import.meta.dirname, "../../build/Release");

/** The weak symbols that the archive or object files define. */
function weakSymbols(files: string[]): Set<string> {
  const names = new Set<string>();
  const listing = execFileSync("nm", ["--defined-only", ...files], { encoding: "utf8", maxBuffer: 1 << 28 });
  for (const line of listing.split("\n")) {
    const [, kind, name] = /^\S+ (\S) (\S+)$/.exec(line) ?? [];
    // DW.ref.…: a pointer for the unwinder, no code.
    if (kind !== undefined && name !== undefined && "WVu".includes(kind) && !name.startsWith("DW.ref."))
      names.add(name);
  }
  return names;
}

const common = (one: Set<string>, other: Set<string>) => [...one].filter((name) => other.has(name));
const own = compiledApart.filter(({ architecture }) => architecture === process.arch);

// Elsewhere there are no instruction sets to choose from, or other tools.
test.runIf(process.platform === "linux" && own.length > 0)(
  "no instruction set shares a weak symbol with other code",
  () => {
    const archives = own.map(({ name }) => `lowrank_${name}.a`);
    const sets = archives.map((name) => weakSymbols([join(release, name)]));
    const objects = readdirSync(join(release, "obj.target/lowrank/native"), {
      recursive: true,
      encoding: "utf8",
    });
    const core = weakSymbols(
      objects
        .filter((name) => name.endsWith(".o"))
        .map((name) => join(release, "obj.target/lowrank/native", name)),
    );
    expect(core.size).toBeGreaterThan(100);
    // The loops of native/cpu/simd are templates over a set's vectors: some set has them.
    expect(Math.max(...sets.map((set) => set.size))).toBeGreaterThan(10);
    for (const [i, set] of sets.entries()) {
      expect(common(set, core), archives[i]).toEqual([]);
      for (const other of sets.slice(i + 1)) expect(common(set, other), archives[i]).toEqual([]);
    }
  },
);
