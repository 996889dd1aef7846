/** The JSON schema of each option set takes what the check takes and refuses what it refuses, as far as JSON can say it. */
import { isDeepStrictEqual } from "node:util";
import { Ajv, type ValidateFunction } from "ajv";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { LowrankError } from "#lib/index.js";
import { checkOptions, toJsonSchema, type OptionSet } from "#lib/schema/index.js";
import { CONTEXT, numbersOf, OPTIONS, SETS } from "./option-sets.js";

const ajv = new Ajv({ strict: true, allowUnionTypes: true });
const compiled = new Map(
  Object.values(SETS).map((set) => [set, ajv.compile(toJsonSchema(set, CONTEXT as never))]),
);
const withoutContext = new Map(Object.values(SETS).map((set) => [set, ajv.compile(toJsonSchema(set))]));

const check = checkOptions as unknown as (
  set: OptionSet,
  options: unknown,
  context: object,
) => Record<string, unknown>;

function accepts(set: OptionSet, options: unknown): boolean {
  try {
    check(set, options, CONTEXT);
    return true;
  } catch (error) {
    if (!LowrankError.isInstance(error) || error.code !== "ERR_INVALID_ARGUMENT") throw error;
    expect(error.message).toMatch(/^Expected .+ for .+, received .+\./s);
    return false;
  }
}

/** Values that are the same after they went through JSON. */
const sayable = (value: unknown): boolean => {
  try {
    return isDeepStrictEqual(JSON.parse(JSON.stringify(value)), value);
  } catch {
    return false;
  }
};

/** What the check refuses and JSON schemas have no words for. */
const beyondJson = (value: unknown): boolean => {
  if (typeof value !== "object" || value === null) return false;
  // Token ids of a bias are keys; steps of a scale ascend from 0.
  const { logitBias, adapter } = value as Record<string, unknown>;
  if (typeof logitBias === "object" && logitBias !== null)
    return Object.keys(logitBias).some((key) => /^\d+$/.test(key) && Number(key) >= CONTEXT.vocabularySize);
  return [adapter].flat().some((use) => {
    const scale = (use as { scale?: unknown } | null | undefined)?.scale;
    if (!Array.isArray(scale)) return false;
    const tokens = scale.map((step) => (step as { fromToken?: number } | null)?.fromToken ?? 0);
    return tokens.some((token, i) => (i === 0 ? token !== 0 : token <= tokens[i - 1]!));
  });
};

function agree(set: OptionSet, options: Record<string, unknown>): void {
  if (!sayable(options)) return void accepts(set, options);
  const taken = accepts(set, options);
  const valid = (compiled.get(set) as ValidateFunction)(options);
  if (taken || !beyondJson(options)) expect({ options, valid }).toEqual({ options, valid: taken });
  // A schema that knows less is wider.
  if (taken) expect({ options, valid: withoutContext.get(set)!(options) }).toEqual({ options, valid: true });
}

const step = (fromToken: unknown, scale: unknown): object => ({ fromToken, scale });
const long = (length: number): string => "a".repeat(length);
/** All that the tests of the options refuse, and what they take. */
const VALUES: unknown[] = [
  ...[
    0, 1, 2, 5, 7, 8, 42, 49, 50, 51, 64, 99, 100, 101, 128, 256, 257, 271, 272, 300, 512, 1023, 1024, 1025,
  ],
  ...[-1, -100, -101, 0.001, 0.009, 0.01, 0.1, 0.5, 0.95, 0.999, 0.9999, 1.001, 1.1, 1.5, 100.1, -0.001],
  ...[8191, 8192, 16384, 16385, 20000, 20001, 60000, 60001, 600_000, 600_001, 3_600_000, 3_600_001],
  ...[20, 24, 26, 30, 31, 53].flatMap((bits) => [2 ** bits - 1, 2 ** bits, 2 ** bits + 1]),
  ...[1e9, 1e10, 1e15, 1e16, 8.64e15, 8.65e15, -8.65e15, 1e300, -1e300],
  ...[NaN, Infinity, -Infinity, 1n, -1n, 1n << 64n, Symbol.iterator, undefined, null, true, false],
  ...[
    "",
    "a",
    "1",
    "true",
    "12",
    "a\0b",
    "plain",
    "all",
    "main",
    long(256),
    long(257),
    long(1024),
    long(1025),
  ],
  ...["auto", "cpu", "cuda", "cuda:0", "cuda:12345", "cuda:x", "CPU", "int8", "bfloat16", "float32", "int4"],
  ...[[], [1], [""], ["a"], [null], [undefined], [-1], [272], [1.5], ["1"], [NaN], [long(1025)], [1, 2, 3]],
  ...[new Array(64).fill("a"), new Array(65).fill("a"), ["plain", {}], Int32Array.of(1, 2)],
  ...[{}, { a: 1 }, { 1: 1 }, { 1: "2" }, { 1: NaN }, { 1: null }, { 1: undefined }, { 1: 1e9 }, { 1: 1e10 }],
  ...[{ "-1": 1 }, { 272: 1 }, { 1.5: 1 }, { "0x1": 1 }, { "": 1 }, { 42: -100, 43: 0.5 }],
  ...[{ name: 1 }, { name: "a" }, { name: "a", weight: 1 }, { name: "a", generation: 2 }],
  ...[
    101,
    NaN,
    "1",
    0.5,
    [],
    [step(0, 1)],
    [step(0, 1), step(20, 0.3)],
    [step(1, 1)],
    [step(0, 1), step(0, 1)],
  ].map((scale) => ({ name: "a", scale })),
  ...[[{}], [step(0, 101)], [step(-1, 1)], [{ fromToken: 0 }], [null], new Array(65).fill(step(0, 1))].map(
    (scale) => [{ name: "a", scale }],
  ),
  ...[{ timeout: 0 }, { timeout: 10, now: 0 }, { tools: [{}] }, { tools: {} }, { variables: { x: 1 } }],
  ...[
    { variables: [] },
    { chatTemplate: "{{ x }}" },
    { chatTemplate: 1 },
    { addGenerationPrompt: 1 },
    { temprature: 1 },
  ],
  ...[() => undefined, new AbortController(), AbortSignal.abort(), new Date(0)],
];

test.each(OPTIONS)("%s", (_title, set, name) => {
  for (const value of VALUES) agree(set, { [name]: value });
});

test.each(OPTIONS)("%s, random values", (_title, set, name) => {
  const json = set[name]!.json(CONTEXT as never);
  const { minimum = 0, exclusiveMinimum = minimum, maximum = 1 } = numbersOf(json as never) ?? {};
  const edges = [minimum, exclusiveMinimum, maximum].flatMap((edge) =>
    [-1, -1e-9, 0, 1e-9, 1].map((off) => (edge as number) + off),
  );
  const scalar = fc.oneof(
    fc.constantFrom(...edges),
    fc.double({ min: edges[0]!, max: maximum as number, noNaN: true }),
    fc.double(),
    fc.integer({ min: -3, max: 300 }),
    fc.boolean(),
    fc.string({ maxLength: 6 }),
    fc.constantFrom("auto", "cuda:7", "int8", "bfloat16", null, ""),
  );
  const steps = fc.array(fc.record({ fromToken: scalar, scale: scalar }, { requiredKeys: [] }), {
    maxLength: 3,
  });
  const use = fc.record(
    { name: scalar, scale: fc.oneof(scalar, steps), generation: scalar },
    { requiredKeys: [] },
  );
  const bias = fc.dictionary(fc.oneof(fc.nat(300).map(String), fc.string({ maxLength: 3 })), scalar, {
    maxKeys: 3,
  });
  const value = fc.oneof(
    scalar,
    fc.array(scalar, { maxLength: 4 }),
    use,
    fc.array(use, { maxLength: 3 }),
    bias,
  );
  fc.assert(
    fc.property(value, (one) => agree(set, { [name]: one })),
    { numRuns: 100 },
  );
});

describe("whole sets", () => {
  test.each(Object.entries(SETS))("%s", (_title, set) => {
    agree(set, {});
    agree(set, { temprature: 1 });
    agree(set, JSON.parse('{"__proto__": {"maxTokens": 1}}') as Record<string, unknown>);
    for (const none of [null, [], 1, "a"]) {
      expect(accepts(set, none)).toBe(false);
      expect(compiled.get(set)!(none)).toBe(false);
    }
  });

  test.each(Object.entries(SETS))(
    "%s: the defaults are taken, and mean what leaving them out means",
    (_t, set) => {
      const { properties } = toJsonSchema(set) as { properties: Record<string, { default?: unknown }> };
      const stated = Object.entries(properties).flatMap(([name, one]) =>
        one.default === undefined ? [] : [[name, one.default] as const],
      );
      const checked = (options: object): Record<string, unknown> => {
        const { seed, ...rest } = check(set, options, CONTEXT);
        return typeof seed === "bigint" ? rest : { ...rest, seed };
      };
      expect(checked(Object.fromEntries(stated))).toEqual(checked({}));
    },
  );
});
