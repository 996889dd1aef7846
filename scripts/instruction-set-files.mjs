// What builds make of the table of instruction sets (instruction-sets.mjs).
//
//   node scripts/instruction-set-files.mjs names ARCHITECTURE    those that an architecture compiles apart, one a line
//   node scripts/instruction-set-files.mjs flags NAME            compiler flags, one a line
//   node scripts/instruction-set-files.mjs headers FOLDER        writes FOLDER/generated/*.h
//   node scripts/instruction-set-files.mjs gyp FOLDER            the same, and FOLDER/instruction_sets.gyp, whose path it prints
//
// ARCHITECTURE is one of Node's process.arch. FOLDER is relative to the repository's root, or absolute.
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { ARCHITECTURE_MACROS, compiledApart, instructionSets, TABLE, TRAITS } from "./instruction-sets.mjs";
import { nativeSources } from "./native-sources.mjs";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");

const text = (value) => JSON.stringify(value);
const list = (values) => `{${values.map(text).join(", ")}}`;
const HEADER = `// Written by scripts/instruction-set-files.mjs from ${TABLE}: change that one.\n#pragma once\n\n`;

/** Declares what each set brings, for its own sources and for who asks for it by name. */
export function declarations(sets) {
  const one = (set) =>
    [
      `namespace ${set.name} {`,
      ...(set.extends ? [`namespace base = ${set.extends};`] : []),
      "constexpr NumericTraits kTraits = {",
      ...TRAITS.map((trait) => `    .${trait} = ${text(set.traits[trait])},`),
      "};",
      "const OpTable& ops();",
      `}  // namespace ${set.name}`,
    ].join("\n");
  return (
    `${HEADER}#include "ops/numeric_traits.h"\n#include "ops/op_table.h"\n\nnamespace lowrank::cpu {\n\n` +
    `${[...sets].reverse().map(one).join("\n\n")}\n\n}  // namespace lowrank::cpu\n`
  );
}

/** The entries of cpu/instruction_sets.cpp. */
export function entries(sets) {
  const one = (set) => {
    const head = `    {${text(set.name)}, ${text(set.extends)}, ${text(set.description)}, ${set.name}::kTraits,`;
    const rest = `     feature_mask(${list(set.features)}), permission_mask(${list(set.permissions)}), ${set.name}::ops},`;
    if (!set.architecture) return `${head}\n${rest}`;
    return `${head}\n#if defined(${ARCHITECTURE_MACROS[set.architecture]})\n${rest}\n#else\n     0, 0, nullptr},\n#endif`;
  };
  return (
    `${HEADER}#include "cpu/features.h"\n#include "cpu/instruction_set.h"\n#include "generated/instruction_sets.h"\n\n` +
    "namespace lowrank::cpu {\n\n// Best first.\nconstexpr InstructionSetEntry kInstructionSets[] = {\n" +
    `${sets.map(one).join("\n")}\n};\n\n}  // namespace lowrank::cpu\n`
  );
}

/** A static library for each set that is compiled apart; `sources` lists a group of native-sources.mjs. */
export function gypFile(sets, shared, sources) {
  const target = ({ name, architecture, flags }) => ({
    target_name: `lowrank_${name}`,
    type: "static_library",
    conditions: [
      [
        `target_arch=='${architecture}'`,
        { sources: sources(name), cflags_cc: flags, xcode_settings: { OTHER_CPLUSPLUSFLAGS: flags } },
        { type: "none" },
      ],
    ],
  });
  return `${JSON.stringify({ includes: [shared], targets: sets.map(target) }, null, 2)}\n`;
}

/** Leaves a file alone that says the same, so that nothing is compiled anew. */
function update(path, content) {
  mkdirSync(dirname(path), { recursive: true });
  try {
    if (readFileSync(path, "utf8") === content) return;
  } catch (error) {
    if (error.code !== "ENOENT") throw error;
  }
  writeFileSync(path, content);
}

function writeHeaders(folder) {
  update(join(folder, "generated", "instruction_sets.h"), declarations(instructionSets));
  update(join(folder, "generated", "instruction_set_table.h"), entries(instructionSets));
}

function writeGyp(folder) {
  const from = (path) => relative(folder, join(root, path)).replaceAll("\\", "/");
  const path = join(folder, "instruction_sets.gyp");
  update(
    path,
    gypFile(compiledApart, from("native/common.gypi"), (name) => nativeSources(name).map(from)),
  );
  return relative(root, path).replaceAll("\\", "/");
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [, , command, argument] = process.argv;
  const commands = {
    names: () =>
      compiledApart.filter(({ architecture }) => architecture === argument).map(({ name }) => name),
    flags: () => instructionSets.find(({ name }) => name === argument).flags,
    headers: () => (writeHeaders(resolve(root, argument)), []),
    gyp: () => (writeHeaders(resolve(root, argument)), [writeGyp(resolve(root, argument))]),
  };
  if (!Object.hasOwn(commands, command) || !argument) {
    process.stderr.write(`Expected one of ${Object.keys(commands).join(", ")} and its argument.\n`);
    process.exit(2);
  }
  process.stdout.write(commands[command]().join("\n"));
}
