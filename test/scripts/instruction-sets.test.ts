// The table of instruction sets, native/cpu/instruction_sets.json, and all that must agree with it.
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { execFileSync } from "node:child_process";
import { describe, expect, test } from "vitest";
import { instructionSets as listed } from "#lib/index.js";
import { declarations, entries, gypFile } from "../../scripts/instruction-set-files.mjs";
import { compiledApart, instructionSets, resolveTable } from "../../scripts/instruction-sets.mjs";
import { nativeSources } from "../../scripts/native-sources.mjs";

const root = join(import.meta.dirname, "../..");
const read = (path: string): string => readFileSync(join(root, path), "utf8");

const traits = {
  rounding: "plain",
  bfloat16_attention: false,
  bfloat16_low_rank: false,
  byte_attention: false,
};
const plain = { name: "plain", description: "any processor", traits };
const wide = {
  name: "wide",
  extends: "plain",
  architecture: "x64",
  description: "wide registers",
  features: ["avx"],
  flags: ["-mavx"],
  traits: { rounding: "wide" },
};
const wider = {
  name: "wider",
  extends: "wide",
  architecture: "x64",
  description: "wider registers",
  features: ["avx", "amx_tile"],
  permissions: ["amx_tile_data"],
  flags: ["-mamx-tile"],
  traits: { byte_attention: true },
};

describe("a table", () => {
  test("gives a set what it extends, then its own", () => {
    const [first, second, last] = resolveTable([wider, wide, plain]);
    expect(first).toEqual({
      ...wider,
      flags: ["-mavx", "-mamx-tile"],
      traits: { ...traits, rounding: "wide", byte_attention: true },
    });
    expect(second).toEqual({ ...wide, permissions: [], traits: { ...traits, rounding: "wide" } });
    expect(last).toEqual({
      ...plain,
      extends: "",
      architecture: "",
      features: [],
      permissions: [],
      flags: [],
    });
  });

  test.each([
    ["a set above what it extends", [wide, wider, plain], '"wider"'],
    ["another last one", [plain, { ...wide, extends: undefined }], '"wide"'],
    ["two of one name", [wide, wide, plain], '"wide"'],
    ["an unknown base", [{ ...wide, extends: "wild" }, plain], '"wide"'],
    ["an unknown key", [{ ...wide, flag: ["-mavx"] }, plain], "flag"],
    ["an unknown trait", [{ ...wide, traits: { byte_attentions: true } }, plain], "byte_attentions"],
    ["an unknown architecture", [{ ...wide, architecture: "x86" }, plain], "architecture"],
    ["a base of another architecture", [{ ...wider, architecture: "arm64" }, wide, plain], "architecture"],
    ["a name that is none in C++", [{ ...wide, name: "wide-1" }, plain], '"wide-1"'],
    ["no description", [{ ...wide, description: "" }, plain], "description"],
    ["a last one that lacks a trait", [wide, { ...plain, traits: {} }], "trait"],
  ])("is refused for %s", (_, table, words) => {
    expect(() => resolveTable(table)).toThrow(words);
  });
});

describe("what builds read", () => {
  const sets = resolveTable([wider, wide, plain]);

  test("the declarations name what a set extends, after that one", () => {
    const text = declarations(sets);
    expect(text).toContain("namespace wider {\nnamespace base = wide;\n");
    expect(text.indexOf("namespace wide {")).toBeLessThan(text.indexOf("namespace wider {"));
    expect(text).toContain('.rounding = "wide"');
  });

  test("the entries hold names that C++ looks up, and no table of another architecture", () => {
    const text = entries(sets);
    expect(text).toContain(
      'feature_mask({"avx", "amx_tile"}), permission_mask({"amx_tile_data"}), wider::ops},',
    );
    expect(text.match(/#if defined\(__x86_64__\)/g)).toHaveLength(2);
    expect(text.indexOf("wider::ops")).toBeLessThan(text.indexOf("wide::ops"));
  });

  test("each set is a library with its flags, on its architecture alone", () => {
    const file = JSON.parse(gypFile([sets[0]!], "shared.gypi", (name: string) => [`${name}/ops.cpp`]));
    expect(file.includes).toEqual(["shared.gypi"]);
    const [target] = file.targets;
    expect(target.target_name).toBe("lowrank_wider");
    const [[condition, chosen, otherwise]] = target.conditions;
    expect(condition).toBe("target_arch=='x64'");
    expect(chosen).toMatchObject({ sources: ["wider/ops.cpp"], cflags_cc: ["-mavx", "-mamx-tile"] });
    expect(otherwise).toEqual({ type: "none" });
  });

  test("the command writes and lists them", () => {
    const folder = mkdtempSync(join(tmpdir(), "lowrank-table-"));
    try {
      const run = (...args: string[]) =>
        execFileSync(process.execPath, ["scripts/instruction-set-files.mjs", ...args], {
          cwd: root,
          encoding: "utf8",
        });
      expect(run("headers", folder)).toBe("");
      expect(readFileSync(join(folder, "generated/instruction_sets.h"), "utf8")).toBe(
        declarations(instructionSets),
      );
      expect(readFileSync(join(folder, "generated/instruction_set_table.h"), "utf8")).toBe(
        entries(instructionSets),
      );
      for (const { name, flags } of compiledApart) expect(run("flags", name).split("\n")).toEqual(flags);
      const names = (architecture: string) => run("names", architecture).split("\n").filter(Boolean);
      const apart = compiledApart.map(({ name }) => name);
      expect([...names("x64"), ...names("arm64")].sort()).toEqual(apart.sort());
      expect(names("riscv64")).toEqual([]);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});

describe("the table", () => {
  test("has a folder for each set, whose sources no other library compiles", () => {
    for (const { name } of instructionSets)
      expect(existsSync(join(root, "native/cpu", name, "ops.cpp"))).toBe(true);
    const core = new Set(nativeSources("core"));
    expect(core).toContain("native/cpu/reference/ops.cpp");
    for (const { name } of compiledApart) {
      expect(nativeSources(name)).toContain(`native/cpu/${name}/ops.cpp`);
      expect(nativeSources(name).filter((file) => core.has(file))).toEqual([]);
    }
  });

  test("is what the addon lists", () => {
    expect(listed().map(({ name, description }) => ({ name, description }))).toEqual(
      instructionSets.map(({ name, description }) => ({ name, description })),
    );
    for (const { name, available } of listed()) {
      const { architecture } = instructionSets.find((set) => set.name === name)!;
      if (architecture !== "" && architecture !== process.arch) expect(available).toBe(false);
    }
  });

  test("is what docs/devices.md shows", () => {
    const rows = read("docs/devices.md")
      .split("\n")
      .flatMap((line) => /^\| `(\w+)` \| (?:`(\w+)`)? ?\| (.+) \|$/.exec(line)?.slice(1) ?? []);
    const shown = instructionSets.flatMap(({ name, extends: base, description }) => [
      name,
      base || undefined,
      description,
    ]);
    expect(rows).toEqual(shown);
  });
});
