/** As Python's `re`, called as PEFT does: test/golden/make_patterns.py. */
import { expect, test } from "vitest";
import { fullMatch, matchPatterns, suffixMatch } from "#lib/adapters/python-pattern.js";
import { LowrankError } from "#lib/errors/index.js";
import { readPython } from "./golden.js";

const cases = readPython();

function outcome(rule: typeof fullMatch, pattern: string, name: string): number | string {
  try {
    return matchPatterns([rule(pattern)], [name], "target_modules")[0]![0] ? 1 : 0;
  } catch (error) {
    if (!LowrankError.isInstance(error)) throw error;
    return error.code === "ERR_ADAPTER_FORMAT" ? -1 : error.message;
  }
}

test("patterns match, fail and are malformed alike", () => {
  const unsupported = new Set<string>();
  for (const [pattern, name, full, suffix] of cases)
    for (const [rule, wanted] of [
      [fullMatch, full],
      [suffixMatch, suffix],
    ] as const) {
      const found = outcome(rule, pattern, name);
      if (typeof found === "string") unsupported.add(pattern);
      else expect(found, JSON.stringify([rule.name, pattern, name])).toBe(wanted);
    }
  expect(cases.length).toBe(5000);
  expect(cases.filter(([, , full]) => full === 1).length).toBeGreaterThan(200);
  expect(cases.filter(([, , , suffix]) => suffix === 1).length).toBeGreaterThan(200);
  expect(cases.filter(([, , full]) => full === -1).length).toBeGreaterThan(100);
  for (const pattern of unsupported) expect(pattern).toMatch(/\\[1-9]|\(\?\(|\(\?P=|\\N/);
});

test("plain names of modules match by their ends, as the same keys do as programs", () => {
  const names = [
    "model.layers.0.self_attn.q_proj",
    "self_attn.q_proj",
    "q_proj",
    "xq_proj",
    "q-proj.q_projx",
  ];
  for (const key of ["q_proj", "self_attn.q_proj", "self_attn\\.q_proj", "self.attn.q_proj", "0", ".", "x"])
    expect(matchPatterns([suffixMatch(key)], names, "rank_pattern"), key).toEqual(
      matchPatterns([suffixMatch(`(?:${key})`)], names, "rank_pattern"),
    );
});
