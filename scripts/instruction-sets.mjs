// The table of instruction sets, native/cpu/instruction_sets.json: see "Adding an instruction set" in docs/devices.md.
import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
export const TABLE = "native/cpu/instruction_sets.json";

/** What the compiler defines for an architecture. */
export const ARCHITECTURE_MACROS = { x64: "__x86_64__", arm64: "__aarch64__" };
export const TRAITS = ["rounding", "bfloat16_attention", "bfloat16_low_rank", "byte_attention"];
const KEYS = ["name", "extends", "architecture", "description", "features", "permissions", "flags", "traits"];

/**
 * @typedef {object} InstructionSet
 * @property {string} name
 * @property {string} extends "" for the last one
 * @property {string} architecture as Node calls it; "" for any
 * @property {string} description
 * @property {string[]} features
 * @property {string[]} permissions
 * @property {string[]} flags
 * @property {Record<string, string | boolean>} traits
 */

/**
 * Checks a table and adds to each set what it inherits: `features`, `permissions`, `flags` and `traits` of what it extends come first.
 * The order, best first, stays.
 * @returns {InstructionSet[]}
 */
export function resolveTable(table) {
  const names = table.map(({ name }) => name);
  const refuse = (name, what) => {
    throw new Error(`Expected ${what} for the instruction set "${name}" in ${TABLE}.`);
  };
  const resolved = new Map();
  for (const [i, set] of [...table.entries()].reverse()) {
    const { name } = set;
    const unknown = [
      ...Object.keys(set).filter((key) => !KEYS.includes(key)),
      ...Object.keys(set.traits ?? {}).filter((key) => !TRAITS.includes(key)),
    ];
    if (unknown.length > 0) refuse(name, `known keys, not "${unknown.join('", "')}",`);
    if (!/^[a-z][a-z0-9_]*$/.test(name)) refuse(name, "a name that C++ takes");
    if (names.indexOf(name) !== i) refuse(name, "one entry");
    if (!set.description) refuse(name, "a description");
    const base = resolved.get(set.extends);
    // The last one is for any processor, and stands for whatever the others lack.
    if (i === table.length - 1) {
      if (set.extends || set.architecture || set.features || set.permissions || set.flags)
        refuse(name, "nothing that a processor may lack");
      if (TRAITS.some((trait) => set.traits?.[trait] === undefined)) refuse(name, "every trait");
    } else {
      if (!base) refuse(name, "one further down to extend");
      if (!Object.hasOwn(ARCHITECTURE_MACROS, set.architecture)) refuse(name, "a known architecture");
      if (base.architecture && base.architecture !== set.architecture)
        refuse(name, "the architecture of what it extends");
    }
    const inherited = (key) => [...new Set([...(base?.[key] ?? []), ...(set[key] ?? [])])];
    resolved.set(name, {
      name,
      extends: set.extends ?? "",
      architecture: set.architecture ?? "",
      description: set.description,
      features: inherited("features"),
      permissions: inherited("permissions"),
      flags: inherited("flags"),
      traits: { ...base?.traits, ...set.traits },
    });
  }
  return names.map((name) => resolved.get(name));
}

/** Best first. */
export const instructionSets = resolveTable(JSON.parse(readFileSync(join(root, TABLE), "utf8")));

/** Those of one architecture: their folders are compiled there alone, with flags of their own. */
export const compiledApart = instructionSets.filter(({ architecture }) => architecture !== "");
