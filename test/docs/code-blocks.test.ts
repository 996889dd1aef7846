/** The TypeScript in README.md and docs/: every block is type-checked against the package as it is built. */
import { existsSync, readFileSync, readdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import ts from "typescript";
import { beforeAll, describe, expect, test } from "vitest";

const root = join(dirname(fileURLToPath(import.meta.url)), "../..");

/** What the pages speak of without having declared it. A block that declares such a name itself has its own. */
const PREAMBLE = `
import type * as lowrank from "lowrank";
import type * as files from "node:fs/promises";
declare global {
  const loadModel: typeof lowrank.loadModel;
  const writeFile: typeof files.writeFile;
  const model: lowrank.Model;
  const messages: lowrank.ChatMessage[];
  const signal: AbortSignal;
  const float32: Float32Array;
  const uint16: Uint16Array;
  const customer: string;
  const log: (...values: unknown[]) => void;
}
`;

interface Block {
  /** Page and line of its first line. */
  title: string;
  code: string;
}

function blocksOf(page: string): Block[] {
  const text = readFileSync(join(root, page), "utf8");
  return [...text.matchAll(/^```(?:ts|typescript|js|javascript)\n([\s\S]*?)^```$/gm)].map((match) => ({
    title: `${page}:${text.slice(0, match.index).split("\n").length + 1}`,
    code: match[1]!,
  }));
}

/** What the compiler finds in each module, by its name. */
function faultsOf(modules: Map<string, string>): Map<string, string[]> {
  const options: ts.CompilerOptions = {
    target: ts.ScriptTarget.ES2022,
    lib: ["lib.es2023.d.ts", "lib.esnext.disposable.d.ts"],
    module: ts.ModuleKind.NodeNext,
    moduleResolution: ts.ModuleResolutionKind.NodeNext,
    moduleDetection: ts.ModuleDetectionKind.Force,
    strict: true,
    noEmit: true,
    skipLibCheck: true,
    types: ["node"],
  };
  // Within the package, so that "lowrank" is this one.
  const paths = new Map([...modules].map(([name, code]) => [join(root, "test", "docs", name), code]));
  const host = ts.createCompilerHost(options);
  const { fileExists, readFile, getSourceFile } = host;
  host.fileExists = (path) => paths.has(path) || fileExists.call(host, path);
  host.readFile = (path) => paths.get(path) ?? readFile.call(host, path);
  host.getSourceFile = (path, language, ...rest) => {
    const code = paths.get(path);
    if (code === undefined) return getSourceFile.call(host, path, language, ...rest);
    return ts.createSourceFile(path, code, language, true);
  };
  const program = ts.createProgram([...paths.keys()], options, host);
  const faults = new Map<string, string[]>();
  for (const name of modules.keys()) {
    const file = program.getSourceFile(join(root, "test", "docs", name))!;
    const found = [...program.getSyntacticDiagnostics(file), ...program.getSemanticDiagnostics(file)];
    faults.set(
      name,
      found.map(({ messageText, start }) => {
        const line = file.getLineAndCharacterOfPosition(start ?? 0).line + 1;
        return `line ${line}: ${ts.flattenDiagnosticMessageText(messageText, "\n")}`;
      }),
    );
  }
  return faults;
}

const pages = [
  "README.md",
  ...readdirSync(join(root, "docs")).flatMap((name) => (name.endsWith(".md") ? [`docs/${name}`] : [])),
];
const blocks = pages.flatMap(blocksOf);
const nameOf = (index: number): string => `block-${index}.mts`;
const WRONG = 'await loadModel("x", { contextLenght: 5 });\nmodel.nothing();\n';

describe("code of the documentation", () => {
  let faults: Map<string, string[]>;
  beforeAll(() => {
    expect(existsSync(join(root, "dist/index.d.ts"))).toBe(true);
    faults = faultsOf(
      new Map([
        ["preamble.mts", PREAMBLE],
        ["wrong.mts", WRONG],
        ...blocks.map(({ code }, i): [string, string] => [nameOf(i), code]),
      ]),
    );
  });

  test("is found, and what is wrong would be noticed", () => {
    expect(blocks.length).toBeGreaterThanOrEqual(8);
    expect(new Set(blocks.map(({ title }) => title.split(":")[0]))).toContain("README.md");
    expect(faults.get("preamble.mts")).toEqual([]);
    expect(faults.get("wrong.mts")).toHaveLength(2);
  });

  test.each(blocks.map(({ title }, i) => [title, i] as const))("%s fits the package's types", (_, i) => {
    expect(faults.get(nameOf(i))).toEqual([]);
  });
});
