import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { StopStringMatcher } from "#lib/tokenizer/index.js";

/** The definition: the first end of any stop string; of several that end there the longest. */
function reference(text: string, stops: string[]): { text: string; stop: string | null } {
  for (let end = 1; end <= text.length; ++end) {
    const ending = stops
      .filter((stop) => text.slice(0, end).endsWith(stop))
      .sort((a, b) => b.length - a.length);
    if (ending.length > 0) return { text: text.slice(0, end - ending[0]!.length), stop: ending[0]! };
  }
  return { text, stop: null };
}

/** Few letters, so that stop strings occur, overlap and nearly occur. */
const letters = fc.constantFrom("a", "b", "<", "é", "😀");
const word = (minLength: number, maxLength: number): fc.Arbitrary<string> =>
  fc.array(letters, { minLength, maxLength }).map((list) => list.join(""));

describe("StopStringMatcher", () => {
  test("finds what the definition finds, wherever the parts are cut, and holds back only what may become a stop string", () => {
    fc.assert(
      fc.property(
        fc.array(word(0, 5), { maxLength: 12 }),
        fc.array(word(1, 5), { maxLength: 4 }),
        (parts, stops) => {
          const matcher = new StopStringMatcher(stops);
          const whole = reference(parts.join(""), stops);
          let emitted = "";
          let given = "";
          for (const part of parts) {
            const result = matcher.push(part);
            emitted += result.text;
            given += part;
            expect(matcher.stopped).toBe(result.stop);
            if (result.stop !== null) continue;
            const held = given.slice(emitted.length);
            expect(given.startsWith(emitted)).toBe(true);
            expect(
              held === "" || stops.some((stop) => stop.length > held.length && stop.startsWith(held)),
            ).toBe(true);
          }
          emitted += matcher.flush();
          expect({ text: emitted, stop: matcher.stopped }).toEqual(whole);
        },
      ),
      { numRuns: 5_000 },
    );
  });

  test("goes across borders", () => {
    const matcher = new StopStringMatcher(["</answer>", "\n\n"]);
    expect(matcher.push("42</ans")).toEqual({ text: "42", stop: null });
    expect(matcher.push("wer")).toEqual({ text: "", stop: null });
    expect(matcher.push("> and more")).toEqual({ text: "", stop: "</answer>" });
    expect(matcher.push("more")).toEqual({ text: "", stop: "</answer>" });
    expect(matcher.flush()).toBe("");
  });

  test("lets go of what turns out to be no stop string", () => {
    const matcher = new StopStringMatcher(["abac"]);
    expect(["a", "b", "a", "b", "a"].map((part) => matcher.push(part).text)).toEqual(["", "", "", "ab", ""]);
    expect(matcher.flush()).toBe("aba");
  });

  test("passes everything through without stop strings", () => {
    expect(new StopStringMatcher([]).push("abc")).toEqual({ text: "abc", stop: null });
  });

  test.each([[[""]], [["a".repeat(1025)]], [[5]], ["abc"], [Array.from({ length: 65 }, (_, i) => `s${i}`)]])(
    "refuses %s",
    (stops) => {
      expect(() => new StopStringMatcher(stops as string[])).toThrow(
        expect.objectContaining({ code: "ERR_INVALID_ARGUMENT" }),
      );
    },
  );
});
