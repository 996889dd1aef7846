/** Commands on the real small model, each in a process of its own. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, afterEach, describe, expect, test, vi } from "vitest";
import { DATA } from "../fidelity/golden.js";
import { lowrank, lowrankHere } from "./run.js";

const home = mkdtempSync(join(tmpdir(), "lowrank-cli-"));
afterAll(() => rmSync(home, { recursive: true, force: true }));
afterEach(() => vi.unstubAllEnvs());
const adapter = fileURLToPath(new URL("../../examples/adapters/order-json", import.meta.url));
const ENDED = 30_000;

interface Answer {
  text: string;
  tokens: number[];
  finishReason: string;
  seed: number | string;
  adapters: unknown[];
  logprobs?: unknown[];
}
const answer = (stdout: string): Answer => JSON.parse(stdout) as Answer;

describe("generate", { timeout: ENDED }, () => {
  test("an argument and a pipe give the same answer; --json has all of it", async () => {
    const flags = ["--max-tokens", "8"];
    const [plain, json, piped] = [
      await lowrank(["generate", "The capital of France is", ...flags]),
      await lowrankHere("generate", "The capital of France is", ...flags, "--json", "--quiet", "--logprobs"),
      await lowrank(["generate", ...flags, "--quiet"], { input: "The capital of France is" }),
    ];
    expect(json.stderr).toBe("");
    const { text, tokens, finishReason, logprobs } = answer(json.stdout);
    expect(tokens).toHaveLength(8);
    expect(logprobs).toHaveLength(8);
    expect(finishReason).toBe("length");
    expect(plain.stdout).toBe(`${text}\n`);
    expect(piped.stdout).toBe(`${text}\n`);
    expect(piped.stderr).toBe("");
    expect(plain.stderr).toMatch(/ready in .* s\n.* prompt tokens at .*\n$/);
  });

  test("an adapter at a scale, a chat and a seed beyond 2^53", async () => {
    const ask = (...flags: string[]) =>
      lowrankHere("generate", "--chat", "Two hammers, please.", "--json", "--max-tokens", "12", ...flags);
    const [base, none, full] = [
      await ask("--temperature", "0.9", "--seed", "18446744073709551615"),
      await ask("--adapter", `${adapter}@0`),
      await ask("--adapter", adapter),
    ];
    expect(answer(base.stdout).seed).toBe("18446744073709551615");
    expect(answer(none.stdout).adapters).toEqual([{ name: "order-json", scale: 0 }]);
    expect(answer(full.stdout).text).not.toBe(answer(none.stdout).text);
  });

  test("an option of the wrong size names its flag", async () => {
    const { code, stderr } = await lowrankHere("generate", "x", "--top-p", "7");
    expect(code).toBe(2);
    expect(stderr).toMatch(/error Expected a number above 0, up to 1 for --top-p, received 7\.\n$/);
  });
});

test("score and tokenize", { timeout: ENDED }, async () => {
  const scored = await lowrankHere("score", "The capital of France is", " Paris", "--json");
  const { logprob, tokens } = JSON.parse(scored.stdout) as { logprob: number; tokens: { token: string }[] };
  expect(tokens.map(({ token }) => token)).toEqual([" Paris"]);
  expect(logprob).toBeLessThan(0);
  expect(logprob).toBeGreaterThan(-2);
  const { stdout } = await lowrankHere("tokenize", "Hello world");
  expect(stdout.trim().split("\n")).toHaveLength(2);
});

test(
  "a chat from a pipe: messages, slash commands, errors that do not end it",
  { timeout: ENDED },
  async () => {
    const file = join(home, "chat.json");
    const input = [
      "Say yes.",
      "/seed x",
      `/adapter ${adapter}`,
      "/scale 0.5",
      '"""Two',
      'lines"""',
      "/adapter ./nowhere",
      "/bogus",
      "/compare",
      `/save ${file}`,
      "/exit",
      "never reached",
    ].join("\n");
    const { code, stderr } = await lowrank(["chat", "--system", "Be brief.", "--max-tokens", "6"], { input });
    expect(code).toBe(0);
    expect(stderr).toContain("error Expected a number for /seed");
    expect(stderr).toMatch(/error Expected .*nowhere/);
    expect(stderr).toContain("There is no /bogus");
    expect(stderr).toContain("--- The base model alone");
    const saved = JSON.parse(readFileSync(file, "utf8")) as { messages: { role: string; content: string }[] };
    expect(saved).toMatchObject({ adapters: [{ name: "order-json", scale: 0.5 }] });
    expect(saved.messages.map(({ role }) => role)).toEqual([
      "system",
      "user",
      "assistant",
      "user",
      "assistant",
    ]);
    expect(saved.messages[3]!.content).toBe("Two\nlines");
    expect(statSync(file).mode & 0o077).toBe(0);
  },
);

test("compare writes the page", { timeout: ENDED }, async () => {
  const page = join(home, "page.html");
  const prompts = join(home, "prompts.jsonl");
  writeFileSync(prompts, 'A line of text\n{"prompt": "The capital of France is", "completion": " Paris"}\n');
  const { code, stdout } = await lowrankHere(
    ...["compare", "Hello", "--prompts", prompts, "--adapter", adapter, "--out", page],
    ...["--max-tokens", "6", "--json", "--resamples", "100"],
  );
  expect(code).toBe(0);
  expect((JSON.parse(stdout) as { prompts: unknown[] }).prompts).toHaveLength(3);
  expect(readFileSync(page, "utf8")).toMatch(/^<!doctype html>/i);
  writeFileSync(prompts, "{not json\n");
  const broken = await lowrankHere("compare", "--prompts", prompts, "--adapter", adapter, "--out", page);
  expect(broken.code).toBe(2);
  expect(broken.stderr).toContain("line 1 of");
});

describe("adapters", { timeout: ENDED }, () => {
  test("inspect says what the files say", async () => {
    const { stdout } = await lowrankHere("adapters", "inspect", adapter, "--json");
    expect(JSON.parse(stdout)).toMatchObject({ format: "safetensors", config: { r: 8 } });
    const missing = await lowrankHere("adapters", "inspect", join(home, "nothing"));
    expect(missing.code).toBe(3);
  });

  test("check tells those that fit from those that do not", async () => {
    const other = join(DATA, "tiny-adapters", "plain");
    const { code, stdout } = await lowrankHere("adapters", "check", adapter, other);
    expect(code).toBe(1);
    expect(stdout).toMatch(/^fits +.*order-json +rank 8/m);
    expect(stdout).toMatch(/^does not fit +.*plain +Expected/m);
  });
});

test("models lists what the caches hold, and removes it", async () => {
  vi.stubEnv("XDG_CACHE_HOME", home);
  vi.stubEnv("HF_HOME", join(home, "huggingface"));
  const folder = join(home, "huggingface", "hub", "models--owner--name", "blobs");
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, "x"), Buffer.alloc(1500));
  const { stdout } = await lowrankHere("models", "--json");
  expect(JSON.parse(stdout)).toMatchObject({
    cached: [{ name: "hf:owner/name", bytes: 1500, source: "hub" }],
  });
  const outside = await lowrankHere("models", "remove", "../..");
  expect(outside.code).toBe(3);
  expect((await lowrankHere("models", "remove", "hf:owner/name")).code).toBe(0);
  expect(JSON.parse((await lowrankHere("models", "list", "--json")).stdout)).toMatchObject({
    cached: [],
  });
});

test("pull finds what is here already, and fails offline with 3", async () => {
  const found = await lowrankHere("pull", "smollm2-135m-instruct", "--offline", "--json");
  expect(found.code).toBe(0);
  expect(JSON.parse(found.stdout)).toMatchObject({ kind: "gguf", bytes: 98_362_432 });
  vi.stubEnv("XDG_CACHE_HOME", home);
  vi.stubEnv("HF_HOME", home);
  expect((await lowrankHere("pull", "smollm2-135m-instruct", "--offline")).code).toBe(3);
});

test("devices tells the processor and its instruction sets", async () => {
  const { stdout } = await lowrankHere("devices", "--json");
  const { devices, instructionSets } = JSON.parse(stdout) as Record<string, { id?: string; name: string }[]>;
  expect(devices![0]!.id).toBe("cpu");
  expect(instructionSets!.map(({ name }) => name)).toContain("reference");
});
