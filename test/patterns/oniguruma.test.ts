/** Match for match as Hugging Face's Rust library: test/golden/make_patterns.py. */
import { describe, expect, test } from "vitest";
import { LowrankError } from "#lib/errors/index.js";
import { Pattern } from "#lib/patterns/index.js";
import { compilePattern, PATTERNS, splitText, type CompiledPattern } from "#lib/tokenizer/split-pattern.js";
import { replaceMatches } from "#lib/tokenizer/text-builder.js";
import { digest, readOniguruma } from "./golden.js";

const golden = readOniguruma();

/** Start and end of each piece. */
function pieces(pattern: CompiledPattern, text: string): number[] {
  const out: number[] = [];
  let at = 0;
  splitText(text, pattern, "Isolated", false, (piece) => out.push(at, (at += piece.length)));
  return out;
}

/** The pattern by the matcher, known or not: a group around it makes it an unknown one. */
const bounded = (pattern: string): CompiledPattern => compilePattern({ Regex: `(?:${pattern})` }, "test");

describe("split patterns of model families", () => {
  test.each(golden.families)("%s", (_, pattern, digests) => {
    for (const compiled of [bounded(pattern), compilePattern({ Regex: pattern }, "test")])
      golden.texts.forEach((text, index) => {
        const found = pieces(compiled, text);
        expect(digest(found).slice(0, 6), JSON.stringify([text, found])).toBe(
          digests.slice(6 * index, 6 * index + 6),
        );
      });
  });

  test("every pattern that has an expression of its own is among them", () => {
    const patterns = new Set(golden.families.map(([, pattern]) => pattern));
    for (const [name, pattern] of Object.entries(PATTERNS)) expect(patterns.has(pattern), name).toBe(true);
    expect(patterns.size).toBeGreaterThanOrEqual(40);
    expect(golden.texts.length).toBe(100);
  });

  test("are quick but for those that repeat groups", () => {
    const slow = golden.families.filter(([, pattern]) => !new Pattern(pattern, "oniguruma").quick);
    expect(slow.map(([name]) => name)).toEqual([
      "superbpe, digits from the right",
      "digits in threes from the right",
      "exaone",
    ]);
  });
});

test("generated patterns match, replace and split alike", () => {
  const refused = new Map<string, number>();
  for (const [pattern, text, wanted] of golden.cases) {
    let compiled: CompiledPattern;
    try {
      compiled = compilePattern({ Regex: pattern }, "test");
    } catch (error) {
      if (!LowrankError.isInstance(error)) throw error;
      const { what } = error.cause as { what: string };
      refused.set(what, (refused.get(what) ?? 0) + 1);
      continue;
    }
    const replaced = replaceMatches(text, compiled, "\u0001", Infinity)!;
    const units = Array.from({ length: replaced.length }, (_, i) => replaced.charCodeAt(i));
    expect(digest([...units, ...pieces(compiled, text)]), JSON.stringify([pattern, text, replaced])).toBe(
      wanted,
    );
  }
  expect(golden.cases.length).toBe(2500);
  // What is given back within a look-behind is not supported there.
  expect([...refused.keys()].filter((what) => !what.includes("within a look-behind"))).toEqual([]);
  expect([...refused.values()].reduce((sum, count) => sum + count, 0)).toBeLessThan(25);
});

test("classes have the same members", () => {
  const characters = golden.ranges.flatMap(([low, high]) =>
    Array.from({ length: high - low + 1 }, (_, i) => low + i),
  );
  for (const [name, wanted] of golden.classes) {
    const search = new Pattern(name, "oniguruma").search("");
    const members = characters.filter((code) => {
      search.restart(String.fromCodePoint(code));
      return search.match(0, true);
    });
    expect(digest(members), name).toBe(wanted);
  }
});
