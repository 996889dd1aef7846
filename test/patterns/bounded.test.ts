/** Patterns meant to take ages, or to be too large; and what is refused by name. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Pattern, PatternError, type Dialect } from "#lib/patterns/index.js";
import { compilePattern } from "#lib/tokenizer/split-pattern.js";
import { replaceMatches } from "#lib/tokenizer/text-builder.js";

/** Number of matches of a run, or the kind of the error. */
function run(source: string, text: string): number | string {
  try {
    const search = new Pattern(source, "oniguruma").search(text);
    let count = 0;
    for (let from = 0; from <= text.length && search.next(from); ++count)
      from = Math.max(search.end, search.start + 1);
    return count;
  } catch (error) {
    if (error instanceof PatternError) return error.kind;
    throw error;
  }
}

/** Processor time in milliseconds, the best of up to three runs: other processes may be under way. */
function timeOf(work: () => void, bar: number): number {
  let best = Infinity;
  for (let attempt = 0; attempt < 3 && best >= bar; attempt++) {
    const start = process.cpuUsage();
    work();
    const { user, system } = process.cpuUsage(start);
    best = Math.min(best, (user + system) / 1000);
  }
  return best;
}

describe("on 100,000 characters", () => {
  const a = "a".repeat(100_000);
  test.each<[string, string, number | string]>([
    ["(a+)+$", `${a}!`, 0],
    ["(a+)+$", a, 1],
    ["(a|aa)+b", a, 0],
    ["(a|aa)+b", `${a}b`, 1],
    ["(a|aa)+$", `${a}!`, 0],
    ["(.*)*x", a, 0],
    ["(?=(a+)+b)", a, 0],
    ["(?=(a+)+b)", `${a}b`, 100_000],
    ["(a|a|a|a)*b", a, 0],
    ["(x+x+)+y", "x".repeat(100_000), 0],
    ["a*a*a*a*a*b", a, 0],
    ["(?>(?:aa)*)b", a, 0],
    ["(?:aa)*+b", a, 0],
    ["(.*?,){11}P", a, 0],
    ["[ab]*?c", a, 0],
    ["((a*)*)*b", a, 0],
    ["\\p{L}+\\p{N}", a, 0],
    ["(?<=a+)b", a, 0],
    ["(?<!a{1,500}b)a{3}c", a, 0],
    ["\\p{N}{1,3}(?=(?:\\p{N}{3})*(?!\\p{N}))", "1".repeat(100_000), 33_334],
    ["(?:.*\\n)*z", "aaaaaaaaa\n".repeat(10_000), 0],
    ["a{1000}{1000}", a, "budget"],
    ["(?:a?){100}b", a.slice(0, 30_000), "budget"],
    ["(?:(a|b)(a|c)){200}z", a, "budget"],
    ["(?:a{9}){9}{9}{9}{9}{9}", a, "unsupported"],
    ["(?:(?:){1000}){1000}", a, 100_001],
  ])("%s takes linear time", (source, text, outcome) => {
    let result: number | string = -1;
    const time = timeOf(() => (result = run(source, text)), 500);
    expect(result).toBe(outcome);
    expect(time).toBeLessThan(500);
  });
});

test("a text that takes too many steps is refused with the pattern, shortened", () => {
  const pattern = compilePattern({ Regex: `(?:a?){100}${"b".repeat(200)}` }, "pre_tokenizer.pattern");
  expect(() => replaceMatches("a".repeat(10_000), pattern, "", Infinity)).toThrow(
    expect.objectContaining({
      code: "ERR_TOKENIZER",
      message: expect.stringMatching(
        /^Expected a regular expression .* for pre_tokenizer.pattern, received "\(\?:a\?\)\{100\}b{69}…", which takes more than 48 steps/,
      ),
    }),
  );
});

test.each<[Dialect, string, string, string]>([
  ["oniguruma", "(a)\\1", "unsupported", "a back-reference at character 4"],
  ["oniguruma", "(?<n>a)\\k<n>", "unsupported", "a back-reference at character 8"],
  ["oniguruma", "(?<n>a\\g<n>?)", "unsupported", "a subexpression call (\\g) at character 7"],
  ["oniguruma", "(a)?(?(1)b|c)", "unsupported", "a conditional at character 5"],
  ["oniguruma", "(?~ab)", "unsupported", "an absent operator ((?~…)) at character 1"],
  ["oniguruma", "(*FAIL)", "unsupported", "a callout ((*…)) at character 1"],
  ["oniguruma", "a\\Kb", "unsupported", "the start of the match put elsewhere (\\K) at character 2"],
  ["oniguruma", "\\X", "unsupported", "a grapheme cluster (\\X) at character 1"],
  ["oniguruma", "\\p{Nonsense}", "unsupported", 'the property "Nonsense" at character 1'],
  ["oniguruma", "(?W)a", "unsupported", "the flag W at character 1"],
  [
    "oniguruma",
    "(?<=(?>a+))b",
    "unsupported",
    "an atomic group or possessive quantifier within a look-behind",
  ],
  ["oniguruma", "[a", "malformed", "a character class that is not closed at character 1"],
  ["oniguruma", "(a", "malformed", "a group that is not closed at character 1"],
  ["oniguruma", "a)", "malformed", "a closing parenthesis too many at character 2"],
  ["oniguruma", "*a", "malformed", "a quantifier without a target at character 1"],
  ["oniguruma", "(?s)a", "malformed", "(?s, which the dialect does not have, at character 1"],
  ["oniguruma", "a{100001}", "malformed", "a count beyond 100000 at character 2"],
  ["python", "a**", "malformed", "a second quantifier at character 3"],
  ["python", "a(?i)b", "malformed", "flags that do not stand at the start at character 2"],
  ["python", "(?<=a+)b", "malformed", "a look-behind without a fixed width at character 1"],
  ["python", "\\N{DASH}", "unsupported", "a character by its name (\\N{…}) at character 1"],
  ["python", "\\q", "malformed", "the escape \\q, which Python does not have, at character 1"],
])("%s: %s is refused by name", (dialect, source, kind, message) => {
  expect(() => new Pattern(source, dialect)).toThrow(
    expect.objectContaining({ kind, message: expect.stringContaining(message) }),
  );
});

test.each<[string, string]>([
  ["groups within groups", `${"(".repeat(8000)}${")".repeat(8000)}`],
  ["classes within classes", `${"[a".repeat(5000)}${"]".repeat(5000)}`],
  ["quantifiers upon quantifiers", `a${"{2}".repeat(5000)}`],
  ["lazy quantifiers upon quantifiers", `a${"??".repeat(8000)}`],
  ["groups with quantifiers", `${"(".repeat(100)}a?${")??{2}?{3}??{2}".repeat(100)}`],
  ["groups that may be empty", `${"(?:b?".repeat(100)}a?${")*".repeat(100)}`],
  ["flags upon flags", "(?i)".repeat(4000)],
  ["classes", Array.from({ length: 3000 }, (_, i) => `[\\x{${(0x4e00 + i).toString(16)}}b]`).join("")],
  ["intersections", `[${"a&&".repeat(5000)}a]`],
  ["nested negations", `[${"[^a]".repeat(4000)}]`],
  ["letters that fold together", `(?i:${"s".repeat(16_000)})`],
  ["alternatives", "(?:ab|)".repeat(2300)],
])("very many %s are read quickly, or refused", (_, source) => {
  let result: number | string = -1;
  const time = timeOf(() => (result = run(source, "ab\u4e00c".repeat(50))), 500);
  expect(time).toBeLessThan(500);
  expect(typeof result === "number" || ["unsupported", "malformed", "budget"].includes(result)).toBe(true);
});

test("any text is a pattern or refused, quickly, and matches without a crash", () => {
  const parts = fc.constantFrom(
    ..."()[]{}*+?|^$.\\-&:<=!>#,09aAbsßé 😀".split(""),
    ...[
      "(?",
      "(?:",
      "(?=",
      "(?<!",
      "(?>",
      "(?i)",
      "[^",
      "[[:alpha:]]",
      "&&",
      "\\p{L}",
      "\\R",
      "{1,3}",
      "{2000}",
      "*+",
    ],
  );
  const pattern = fc.array(fc.oneof(parts, fc.string({ unit: "binary", maxLength: 2 })), { maxLength: 24 });
  fc.assert(
    fc.property(
      pattern,
      fc.constantFrom<Dialect>("oniguruma", "python"),
      fc.string({ unit: "binary" }),
      (units, dialect, text) => {
        try {
          const search = new Pattern(units.join(""), dialect).search(text);
          for (
            let from = 0;
            from <= text.length && search.next(from);
            from = Math.max(search.end, search.start + 1)
          ) {
            expect(search.start).toBeGreaterThanOrEqual(from);
            expect(search.end).toBeGreaterThanOrEqual(search.start);
            expect(search.end).toBeLessThanOrEqual(text.length);
          }
        } catch (error) {
          if (!(error instanceof PatternError)) throw error;
        }
      },
    ),
    { numRuns: 5_000, seed: 15 },
  );
}, 120_000);
