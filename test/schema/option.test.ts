/** What a declaration yields: types, messages, defaults, schemas. */
import { describe, expect, expectTypeOf, test } from "vitest";
import { SWAP } from "#lib/adapters/index.js";
import { checkChatOptions, GENERATE, LOGITS } from "#lib/generate/index.js";
import type {
  AdapterSelection,
  AdapterWatchOptions,
  ChatOptions,
  CompareOptions,
  GenerateOptions,
  LoadModelOptions,
  LogitsOptions,
  LowrankError,
  ScaleStep,
  SwapAdapterOptions,
  TemplateOptions,
} from "#lib/index.js";
import { LOAD } from "#lib/model/index.js";
import {
  checkOptions,
  integer,
  number,
  pick,
  text,
  toJsonSchema,
  type CheckedOf,
  type OptionsOf,
} from "#lib/schema/index.js";

const CONTEXT = { vocabularySize: 272 };

function messageOf(call: () => unknown): string {
  try {
    call();
  } catch (error) {
    expect((error as LowrankError).code).toBe("ERR_INVALID_ARGUMENT");
    return (error as LowrankError).message;
  }
  throw new Error("Expected a refusal.");
}

describe("messages", () => {
  test.each<[object, string]>([
    [{ maxTokens: 0 }, "Expected an integer from 1 to 2147483647 for maxTokens, received 0."],
    [{ temperature: "1" }, 'Expected a number from 0 to 100 for temperature, received "1".'],
    [{ topP: 0 }, "Expected a number above 0, up to 1 for topP, received 0."],
    [{ logprobs: "all" }, 'Expected an integer from 0 to 100 for logprobs, received "all".'],
    [{ promptLookup: 8 }, "Expected an integer from 0 to 7 for promptLookup, received 8."],
    [{ ignoreEndOfText: 1 }, "Expected true or false for ignoreEndOfText, received 1."],
    [{ cacheSalt: 3 }, "Expected a string of at most 256 characters for cacheSalt, received 3."],
    [{ stop: [""] }, 'Expected a string of 1 to 1024 characters for stop, received "".'],
    [{ stopTokens: [272] }, "Expected an integer from 0 to 271 for stopTokens[0], received 272."],
    [
      { logitBias: { 1: "2" } },
      'Expected a number from -1000000000 to 1000000000 for logitBias[1], received "2".',
    ],
    [
      { seed: -1 },
      "Expected an integer from 0 to 2^53-1 or a BigInt from 0 to 2^64-1 for seed, received -1.",
    ],
    [{ signal: {} }, "Expected an AbortSignal for signal, received an object."],
    [
      { adapter: { name: "a", scale: 101 } },
      "Expected a number from -100 to 100 for adapter.scale, received 101.",
    ],
    [
      { adapter: { name: "a", scale: [{ fromToken: 1, scale: 1 }] } },
      "Expected an integer from 0 to 0 for adapter.scale[].fromToken, received 1.",
    ],
    [
      { adapter: { name: "a", weight: 1 } },
      'Expected one of name, scale, generation for a key of adapter, received "weight".',
    ],
  ])("of generate: %o", (options, message) =>
    expect(messageOf(() => checkOptions(GENERATE, options, CONTEXT))).toBe(message),
  );

  test.each<[object, string]>([
    [
      { device: "gpu" },
      'Expected "auto", "cpu", "cuda" or "cuda:" with a number for device, received "gpu". devices() lists what is there.',
    ],
    [{ precision: "int4" }, 'Expected "int8" or "w8-float32" or "float32" for precision, received "int4".'],
    [{ packedDirectory: true }, "Expected a folder's path or false for packedDirectory, received true."],
    [{ onProgress: 1 }, "Expected a function for onProgress, received 1."],
    [{ cacheDirectory: "" }, 'Expected a string that is not empty for cacheDirectory, received "".'],
  ])("of loadModel: %o", (options, message) =>
    expect(messageOf(() => checkOptions(LOAD, options))).toBe(message),
  );

  test("an access token is never shown", () =>
    expect(messageOf(() => checkOptions(LOAD, { token: ["secret"] }))).toBe(
      'Expected a string for token, received "object".',
    ));

  test("a misspelt option is told what there is, and an option of an option has its full name", () => {
    expect(messageOf(() => checkOptions(SWAP, { percision: "int8" }))).toBe(
      'Expected one of precision, signal, expectedGeneration for a key of options, received "percision".',
    );
    const chat = (template: unknown): string =>
      messageOf(() => checkChatOptions({ template } as ChatOptions, 272));
    expect(chat({ timeout: 0 })).toBe("Expected a number from 1 to 600000 for template.timeout, received 0.");
    expect(chat(null)).toBe("Expected an object for template, received null.");
    expect(chat({ tool: [] })).toMatch(
      /^Expected one of addGenerationPrompt, .+ for a key of template, received "tool"\.$/,
    );
  });
});

test("types of users' options, and of what a check returns", () => {
  expectTypeOf<GenerateOptions["temperature"]>().toEqualTypeOf<number | undefined>();
  expectTypeOf<GenerateOptions["seed"]>().toEqualTypeOf<number | bigint | undefined>();
  expectTypeOf<GenerateOptions["adapter"]>().toEqualTypeOf<AdapterSelection | undefined>();
  expectTypeOf<GenerateOptions["signal"]>().toEqualTypeOf<AbortSignal | undefined>();
  expectTypeOf<ChatOptions["template"]>().toEqualTypeOf<TemplateOptions | undefined>();
  expectTypeOf<"addSpecialTokens" extends keyof ChatOptions ? true : false>().toEqualTypeOf<false>();
  expectTypeOf<"timeoutMs" extends keyof CompareOptions ? true : false>().toEqualTypeOf<false>();
  expectTypeOf<LogitsOptions["to"]>().toEqualTypeOf<number | undefined>();
  expectTypeOf<LoadModelOptions["packedDirectory"]>().toEqualTypeOf<string | false | undefined>();
  expectTypeOf<LoadModelOptions["kvCache"]>().toEqualTypeOf<"bfloat16" | "int8" | undefined>();
  expectTypeOf<SwapAdapterOptions["expectedGeneration"]>().toEqualTypeOf<number | undefined>();
  expectTypeOf<ScaleStep["fromToken"]>().toEqualTypeOf<number>();
  expectTypeOf<Parameters<NonNullable<AdapterWatchOptions["onEvent"]>>["length"]>().toEqualTypeOf<1>();
  expectTypeOf<CheckedOf<typeof GENERATE>["stop"]>().toEqualTypeOf<string[]>();
  expectTypeOf<CheckedOf<typeof LOAD>["threads"]>().toEqualTypeOf<number>();
  expectTypeOf<CheckedOf<typeof LOAD>["kvCacheMemory"]>().toEqualTypeOf<number>();
  expectTypeOf<CheckedOf<typeof LOAD>["packedDirectory"]>().toEqualTypeOf<string | false | undefined>();
  // @ts-expect-error LOGITS has bounds that depend on the number of tokens.
  expect(() => checkOptions(LOGITS, {})).toThrow();
});

describe("a set", () => {
  const FIRST = {
    count: integer({ description: "A number.", unit: "tokens", min: 0, max: 9, default: 3 }),
    share: number({
      description: "A share.",
      min: 0,
      max: 1,
      default: { says: "what fits", value: undefined },
    }),
  };
  const SET = {
    ...FIRST,
    label: text<never>({ description: "A label.", minLength: 1, maxLength: 5, required: true }),
    last: integer<{ length: number }, number>({
      description: "The end.",
      min: 0,
      max: ({ length }) => length,
      default: { says: "the length", value: ({ length }) => length },
    }),
  };

  test("is complete after a check", () => {
    const options: OptionsOf<typeof SET> = { label: "a" };
    const checked = checkOptions(SET, options, { length: 7 });
    expect(checked).toEqual({ count: 3, share: undefined, label: "a", last: 7 });
    expect(pick(checked, FIRST)).toEqual({ count: 3, share: undefined });
    expect(messageOf(() => checkOptions(SET, {}, { length: 7 }))).toBe(
      "Expected a string of 1 to 5 characters for label, received undefined.",
    );
    expect(messageOf(() => checkOptions(SET, { label: "a", last: 8 }, { length: 7 }))).toContain(
      "from 0 to 7",
    );
  });

  test("as a JSON schema, with and without what bounds depend on", () => {
    const schema = toJsonSchema(SET, { length: 7 }) as { properties: object };
    expect(schema).toEqual({
      type: "object",
      properties: {
        count: {
          description: "A number. Unit: tokens.",
          type: "integer",
          minimum: 0,
          maximum: 9,
          default: 3,
        },
        share: { description: "A share. Default: what fits.", type: "number", minimum: 0, maximum: 1 },
        label: { description: "A label.", type: "string", minLength: 1, maxLength: 5 },
        last: { description: "The end. Default: the length.", type: "integer", minimum: 0, maximum: 7 },
      },
      required: ["label"],
      additionalProperties: false,
    });
    expect(toJsonSchema(SET)).toEqual({
      ...schema,
      properties: {
        ...schema.properties,
        last: { description: "The end. Default: the length.", type: "integer", minimum: 0 },
      },
    });
  });

  test("functions and signals are no JSON: they are left out", () =>
    expect(Object.keys((toJsonSchema(LOAD) as { properties: object }).properties)).not.toEqual(
      expect.arrayContaining(["signal"]),
    ));
});
