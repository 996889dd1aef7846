/** What can never fit a context is refused before any work, and texts of several groups take turns. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { deadlineIn } from "#lib/errors/deadline.js";
import { addressSpaceLeft, checkRoomForWorker } from "#lib/tokenizer/address-space.js";
import { TextProcessor } from "#lib/tokenizer/index.js";
import { readChat, readTiny } from "./golden.js";

const code = (expected: string) => expect.objectContaining({ code: expected });
const message = (content: unknown): { role: string; content: never }[] => [
  { role: "user", content: content as never },
];
/** About a second of work. */
const SLOW = "x ".repeat(250_000);

let text: TextProcessor;
beforeAll(async () => {
  const tokenizerJson = readTiny().tokenizers["llama3"]!.json;
  const tokenizerConfig = { chat_template: readChat().templates["chatml"]!, eos_token: "</s>" };
  text = await TextProcessor.create({ kind: "files", files: { tokenizerJson, tokenizerConfig } });
});
afterAll(() => text.dispose());

describe("the context", () => {
  const maxTokens = 1000;
  const refused = async (work: () => Promise<unknown>): Promise<void> => {
    const began = performance.now();
    await expect(work()).rejects.toEqual(code("ERR_CONTEXT_LENGTH"));
    expect(performance.now() - began).toBeLessThan(500);
  };

  test("bounds the length of a text", async () => {
    await refused(() => text.encode("<".repeat(16_000_000), { maxTokens }));
    await refused(() => text.encode("語".repeat(8_000_000), { maxTokens }));
    expect((await text.encode("a b c", { maxTokens })).length).toBeGreaterThan(0);
  });

  test.each([
    ["one message", { messages: message("<".repeat(16_000_000)) }],
    ["many messages", { messages: Array.from({ length: 100 }, () => message("<".repeat(100_000))[0]!) }],
    ["parts", { messages: message([{ type: "text", text: "<".repeat(10_000_000) }]) }],
    ["tools", { messages: message("x"), tools: [{ name: "<".repeat(10_000_000) }] }],
    ["documents", { messages: message("x"), documents: [{ text: "<".repeat(10_000_000) }] }],
    ["variables", { messages: message("x"), variables: { name: "<".repeat(10_000_000) } }],
    ["keys", { messages: message("x"), variables: { ["<".repeat(10_000_000)]: 1 } }],
    ["the number of messages", { messages: Array.from({ length: 250_000 }, () => message("x")[0]!) }],
  ])("bounds %s", async (_, { messages, ...options }) => {
    await refused(() => text.applyChatTemplate(messages, { ...options, maxTokens }));
  });

  test("nesting is bounded, and what is no JSON refused", async () => {
    let deep: unknown = "x";
    for (let i = 0; i < 100_000; i++) deep = [deep];
    const cyclic: Record<string, unknown> = {};
    cyclic["self"] = cyclic;
    for (const tool of [deep, cyclic, () => 1, 1n, Symbol("x")])
      await expect(text.applyChatTemplate(message("x"), { tools: [tool] })).rejects.toEqual(
        code("ERR_INVALID_ARGUMENT"),
      );
  });
});

describe("several groups", () => {
  test("one with many long texts does not hold up another's", async () => {
    const done: string[] = [];
    const encode = async (group: string): Promise<void> => {
      await text.encode(SLOW, { group, timeout: 60_000 });
      done.push(group);
    };
    const many = Array.from({ length: 6 }, () => encode("a"));
    await Promise.all([...many, encode("b")]);
    expect(done.indexOf("b")).toBeLessThanOrEqual(1);
  });

  test("a group may not fill the queue", async () => {
    const ended = new AbortController();
    const options = { group: "a", signal: ended.signal, timeout: 60_000 };
    const waiting = Array.from({ length: 258 }, () => text.encode(SLOW, options).catch((e: unknown) => e));
    expect(await waiting[257]).toEqual(code("ERR_QUEUE_FULL"));
    const other = text.encode("b ".repeat(10_000), { group: "b" });
    ended.abort();
    expect(await waiting[0]).toEqual(code("ERR_ABORTED"));
    expect((await other).length).toBeGreaterThan(1000);
    await Promise.all(waiting);
  });

  test("a deadline counts the wait, and the worker goes on", async () => {
    const running = text.encode(SLOW, { timeout: 60_000 });
    const began = performance.now();
    const late = text.encode(SLOW, { deadline: deadlineIn(50), timeout: 60_000 });
    await expect(late).rejects.toMatchObject({
      code: "ERR_TIMEOUT",
      message: expect.stringContaining("within 50 ms"),
    });
    expect(performance.now() - began).toBeLessThan(1_000);
    expect((await running).length).toBeGreaterThan(1000);
  });
});

describe("address space", () => {
  const files = (limit: string) => (path: string) =>
    path.endsWith("limits") ? `Max address space         ${limit}   unlimited   bytes\n` : "1000 5 5 5";

  test("what is left is the limit without what is taken", () => {
    expect(addressSpaceLeft(files("3000000000"))).toBe(3_000_000_000 - 1000 * 4096);
    expect(addressSpaceLeft(files("unlimited"))).toBe(Infinity);
    expect(
      addressSpaceLeft(() => {
        throw new Error("ENOENT");
      }),
    ).toBe(Infinity);
    expect(addressSpaceLeft()).toBeGreaterThan(0);
  });

  test("a worker that could not start is refused", () => {
    expect(() => checkRoomForWorker(Infinity)).not.toThrow();
    expect(() => checkRoomForWorker(5e8)).toThrow(code("ERR_OUT_OF_MEMORY"));
  });
});
