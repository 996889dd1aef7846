/** How messages show what was received. */
import { expect, test } from "vitest";
import { expected } from "#lib/errors/index.js";

class Apple {}

test.each<[string, unknown, string]>([
  ["an object", { a: 1 }, "an object"],
  ["one without a prototype", Object.create(null), "an object"],
  ["one whose constructor is no class", { constructor: { name: 5 } }, "an object"],
  ["an instance", new Map(), "a Map"],
  ["an instance of a vowel", new Apple(), "an Apple"],
  ["bytes", new Uint8Array(3), "a Uint8Array"],
  ["an array", [1, 2], "an array of 2"],
  ["null", null, "null"],
  ["nothing", undefined, "undefined"],
  ["a number", NaN, "NaN"],
  ["a large integer", 5n, "5n"],
  ["text", 'a "b"', '"a \\"b\\""'],
  ["a long text", "x".repeat(100), `"${"x".repeat(80)}…"`],
])("%s", (_, value, shown) => {
  expect(expected("a number", "size", value).message).toBe(`Expected a number for size, received ${shown}.`);
});
