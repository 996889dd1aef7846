/** What doc comments and docs say of an option is what its schema has. */
import { readdirSync, readFileSync } from "node:fs";
import ts from "typescript";
import { describe, expect, test } from "vitest";
import { defaultText, type OptionSet } from "#lib/schema/index.js";
import { numbersOf, SETS } from "./option-sets.js";

/** As users get them: the declarations of the package. */
const program = ts.createProgram(["dist/index.d.ts"], {
  module: ts.ModuleKind.NodeNext,
  moduleResolution: ts.ModuleResolutionKind.NodeNext,
  types: ["node"],
});
const checker = program.getTypeChecker();
const exported = checker.getExportsOfModule(
  checker.getSymbolAtLocation(program.getSourceFile("dist/index.d.ts")!)!,
);

/** The doc comment of each property of an exported interface. */
function comments(title: string): Map<string, string> {
  const symbol = exported.find(({ name }) => name === title);
  if (!symbol) throw new Error(`Expected the package to export ${title}.`);
  const declared = symbol.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(symbol) : symbol;
  return new Map(
    checker
      .getPropertiesOfType(checker.getDeclaredTypeOfSymbol(declared))
      .map((property) => [
        property.name,
        ts.displayPartsToString(property.getDocumentationComment(checker)).replace(/\s+/g, " "),
      ]),
  );
}

/** What a text says after each "default". */
const statedDefaults = (text: string): string[] =>
  [...text.matchAll(/\bdefault:? (?!is\b)/gi)].map((match) => text.slice(match.index + match[0].length));

/** Does the text begin with that very value? */
const begins = (text: string, value: string): boolean =>
  text.startsWith(value) && !/^[\w-]|^\.\d/.test(text.slice(value.length));

/** "2^31-1", "10^15", "-100". */
function valueOf(bound: string): number {
  const power = /^(\d+)\^(\d+)(-1)?$/.exec(bound);
  return power ? Number(power[1]) ** Number(power[2]) - (power[3] ? 1 : 0) : Number(bound);
}

function statedBounds(text: string): { min?: number; above?: number; max?: number } {
  const range = /(\S+) … ([^\s,;]*[^\s,;.])/.exec(text);
  if (range) return { min: valueOf(range[1]!), max: valueOf(range[2]!) };
  const above = /Above (\S+), up to ([^\s,;]*[^\s,;.])/.exec(text);
  return above ? { above: valueOf(above[1]!), max: valueOf(above[2]!) } : {};
}

describe.each(Object.entries(SETS))("%s", (title, set) => {
  const documented = comments(title);

  test("has the options of the schema, each with a doc comment and a sentence for its flag", () => {
    expect([...documented.keys()].sort()).toEqual(Object.keys(set).sort());
    for (const [name, comment] of documented) {
      expect(`${name}: ${comment}`).toMatch(/: .{10}/);
      expect(set[name]!.description).toMatch(/^[A-Z0-9].*\.$/);
    }
  });

  test.each([...documented])("%s: default and bounds", (name, comment) => {
    const option = set[name]!;
    const text = defaultText(option);
    const stated = statedDefaults(comment);
    if (text === undefined) expect(stated).toEqual([]);
    else {
      expect(stated.map((one) => (begins(one, text) ? text : one))).toEqual(stated.map(() => text));
      expect(stated).not.toEqual([]);
    }
    const numbers = numbersOf(option.json(undefined));
    const least = numbers?.minimum ?? numbers?.exclusiveMinimum;
    // Bounds of `now` are those of all dates; others depend on what is not known here.
    if (name === "now" || least === undefined || numbers?.maximum === undefined) return;
    const { min, above, max } = statedBounds(comment);
    expect({ min, above, max }).toEqual({
      min: numbers.minimum,
      above: numbers.exclusiveMinimum,
      max: numbers.maximum,
    });
  });
});

test("the chat template's own interfaces say the same", () => {
  for (const title of ["ApplyChatTemplateOptions", "ChatTemplateOptions"])
    for (const [name, comment] of comments(title)) {
      const option = (SETS.TemplateOptions as OptionSet)[name];
      for (const one of option ? statedDefaults(comment) : [])
        expect(`${name}: ${one}`).toContain(`${name}: ${defaultText(option!)?.replace("5000", "5,000")}`);
    }
});

/** Rows of the tables that have a column "default": option, default, and of what. */
function defaultsInTables(markdown: string): { name: string; stated: string; of: string }[] {
  const rows: { name: string; stated: string; of: string }[] = [];
  let header: string[] | null = null;
  for (const line of markdown.split("\n")) {
    const cells = line.startsWith("|")
      ? line
          .split(/(?<!\\)\|/)
          .slice(1, -1)
          .map((cell) => cell.trim())
      : null;
    if (cells === null) header = null;
    else if (header === null) header = cells;
    else {
      const column = header.findIndex((title) => /^default$/i.test(title));
      const name = /^`(\w+)`$/.exec(cells[0] ?? "")?.[1];
      if (column > 0 && name !== undefined) rows.push({ name, stated: cells[column]!, of: header[0]! });
    }
  }
  return rows;
}

describe("docs", () => {
  const pages = [
    "README.md",
    ...readdirSync("docs")
      .filter((name) => name.endsWith(".md"))
      .map((name) => `docs/${name}`),
  ];
  const all: OptionSet = Object.assign({}, ...Object.values(SETS)) as OptionSet;
  const rows = pages.flatMap((page) =>
    defaultsInTables(readFileSync(page, "utf8")).map((row) => ({ page, ...row })),
  );

  test.each(rows)("$page: $name", ({ name, stated, of }) => {
    const set = /loadModel/.test(of)
      ? SETS.LoadModelOptions!
      : /request/.test(of)
        ? SETS.GenerateOptions!
        : all;
    expect(Object.keys(set)).toContain(name);
    expect(stated).toBe(defaultText(set[name]!) ?? "");
  });

  test("there are tables, and a wrong default in one is found", () => {
    expect(rows.length).toBeGreaterThan(8);
    expect(defaultsInTables("| option | default |\n| --- | --- |\n| `maxQueue` | 7 |")).toEqual([
      { name: "maxQueue", stated: "7", of: "option" },
    ]);
    expect(begins("512; generation", "51")).toBe(false);
    expect(begins("0.95.", "0")).toBe(false);
    expect(begins("0: the current one", "0")).toBe(true);
  });

  test.each(pages)("%s: `option` (number) is that option's default", (page) => {
    for (const [, name, value] of readFileSync(page, "utf8").matchAll(/`(\w+)` \((\d+)\)/g))
      if (all[name!]) expect(`${name} (${value})`).toBe(`${name} (${defaultText(all[name!]!)})`);
  });
});
