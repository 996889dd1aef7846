/** The program itself: help, flags, exit codes. */
import { execFile, spawn } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { describe, expect, test } from "vitest";
import { COMMANDS } from "#lib/cli/commands/index.js";
import { EXIT, exitCodeOf } from "#lib/cli/exit-codes.js";
import { flagOf } from "#lib/cli/flags.js";
import { LowrankError, type ErrorCode } from "#lib/errors/index.js";
import { GENERATE } from "#lib/generate/index.js";
import { namesOf } from "#lib/schema/index.js";
import { lowrank, lowrankHere, MAIN } from "./run.js";

const docs = readFileSync(new URL("../../docs/cli.md", import.meta.url), "utf8");

test("help names every command and loads none of them", async () => {
  const folder = mkdtempSync(join(tmpdir(), "lowrank-help-"));
  try {
    const { code, stdout } = await lowrank(["--help"], { env: { NODE_V8_COVERAGE: folder } });
    expect(code).toBe(0);
    for (const { name, summary } of COMMANDS) {
      expect(stdout).toContain(summary);
      expect(docs).toContain(`lowrank ${name}`);
    }
    // V8's coverage lists every script that was loaded.
    const loaded = readdirSync(folder)
      .map((file) => readFileSync(join(folder, file), "utf8"))
      .join("");
    expect(loaded).toContain("/dist/cli/program.js");
    expect(loaded).not.toMatch(/\/dist\/(native|model|templates|tokenizer|schema)\//);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test.each(COMMANDS.map(({ name }) => name))("help of %s", async (name) => {
  const { code, stdout } = await lowrankHere("help", name);
  expect(code).toBe(0);
  expect(stdout).toMatch(new RegExp(`^Usage: lowrank ${name}`));
  expect(stdout).toContain("--json");
});

test("options of the API are flags of the same names", async () => {
  const { stdout } = await lowrankHere("help", "generate");
  const served = ["priority", "prefixCache", "cacheSalt", "signal"];
  for (const name of namesOf(GENERATE).filter((one) => !served.includes(one))) {
    const flag = flagOf(name).slice(2);
    expect(stdout).toMatch(new RegExp(`--(no-)?${flag}\\b`));
  }
});

describe("what is not understood ends with 2 and one line of what was expected", () => {
  test.each([
    [["nonsense"], /unknown command 'nonsense'/],
    [["generate", "x", "--bogus"], /unknown option '--bogus'/],
    [["generate", "x", "--max-tokens"], /argument missing/],
    [["generate", "x", "--max-tokens", "many"], /Expected a number/],
    [["generate", "x", "--precision", "int3"], /Allowed choices are int8/],
    [["generate", "x", "--logit-bias", "{"], /Expected JSON/],
    [["generate", "x", "--adapter", "a@b@c@1.2.3"], /scale where it is not 1/],
    [["completion", "tcsh"], /Allowed choices are bash, zsh, fish/],
    [["models", "remove"], /missing required argument 'name'/],
    [["score"], /missing required argument 'prompt'/],
    [["compare"], /Expected at least one prompt/],
  ])("%j", async (args, message) => {
    const { code, stdout, stderr } = await lowrankHere(...args);
    expect(stderr).toMatch(message);
    expect(code).toBe(EXIT.usage);
    expect(stdout).toBe("");
  });
});

test("each error has its exit code, and docs list the codes", () => {
  const code = (error: ErrorCode) => exitCodeOf(new LowrankError(error, ""));
  expect(code("ERR_INVALID_ARGUMENT")).toBe(2);
  expect(code("ERR_MODEL_NOT_FOUND")).toBe(3);
  expect(code("ERR_MODEL_FORMAT")).toBe(4);
  expect(code("ERR_DOWNLOAD")).toBe(5);
  expect(code("ERR_OUT_OF_MEMORY")).toBe(6);
  expect(exitCodeOf(new Error("unknown"))).toBe(1);
  for (const value of Object.values(EXIT)) expect(docs).toMatch(new RegExp(`^\\| ${value} \\|`, "m"));
});

test("a model that is not there ends with 3, as JSON where that was asked for", async () => {
  const { code, stdout, stderr } = await lowrankHere("generate", "x", "-m", "./nowhere", "--json");
  expect(code).toBe(EXIT.notFound);
  expect(JSON.parse(stdout)).toMatchObject({ error: { code: "ERR_MODEL_NOT_FOUND" } });
  expect(stderr).toMatch(/^error Expected a model folder/);
});

test("a reader that goes away is no fault", async () => {
  const child = spawn(process.execPath, [MAIN, "completion", "fish"], { stdio: ["ignore", "pipe", "pipe"] });
  let stderr = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => (stderr += text));
  child.stdout.destroy();
  const code = await new Promise((resolve) => child.on("close", resolve));
  expect(stderr).toBe("");
  expect(code).toBe(0);
});

describe("completion", () => {
  test("bash's own completion finds commands, flags and subcommands", async () => {
    const { stdout: script } = await lowrankHere("completion", "bash");
    const complete = async (...words: string[]) => {
      const line = `${script}\nCOMP_WORDS=(${words.map((word) => `'${word}'`).join(" ")}); COMP_CWORD=${words.length - 1}; _lowrank; printf '%s\\n' "\${COMPREPLY[@]}"`;
      return (await promisify(execFile)("bash", ["-c", line])).stdout.trim().split("\n");
    };
    expect(await complete("lowrank", "gen")).toEqual(["generate"]);
    expect(await complete("lowrank", "generate", "--max-t")).toEqual(["--max-tokens"]);
    expect(await complete("lowrank", "adapters", "insp")).toContain("inspect");
  });

  test("zsh and fish get every command", async () => {
    for (const shell of ["zsh", "fish"]) {
      const { code, stdout } = await lowrankHere("completion", shell);
      expect(code).toBe(0);
      for (const { name } of COMMANDS) expect(stdout).toContain(name);
    }
  });
});
