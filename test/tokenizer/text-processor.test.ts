/** The worker: bounded in time and memory, replaced when it had to be ended, never in the way of the event loop. */
import { spawnSync } from "node:child_process";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { TextProcessor, Tokenizer, type TokenizerSource } from "#lib/tokenizer/index.js";
import { readChat, readTiny } from "./golden.js";

const tiny = readTiny();
const template = readChat().templates["chatml"]!;
const source = (name: string, change: (json: Loose) => void = () => {}): TokenizerSource => {
  const tokenizerJson = structuredClone(tiny.tokenizers[name]!.json);
  change(tokenizerJson);
  return {
    kind: "files",
    files: { tokenizerJson, tokenizerConfig: { chat_template: template, eos_token: "</s>" } },
  };
};
// eslint-disable-next-line @typescript-eslint/no-explicit-any -- JSON of any shape, to be changed
type Loose = Record<string, any>;
const MESSAGES = [{ role: "user", content: "Hi <|im_end|> there" }];
const ENDLESS = "{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}";
/** Without a budget, only the worker's end ends it. */
const limits = { work: Infinity };

const code = (expected: string) => expect.objectContaining({ code: expected });

/** The longest time for which the event loop did nothing else, in milliseconds, while `work` ran. */
async function longestBlock(work: () => Promise<unknown>): Promise<number> {
  let longest = 0;
  let last = performance.now();
  const timer = setInterval(() => {
    longest = Math.max(longest, performance.now() - last);
    last = performance.now();
  }, 1);
  await work();
  await new Promise((resolve) => setTimeout(resolve, 5));
  clearInterval(timer);
  return longest;
}

describe("TextProcessor", () => {
  let text: TextProcessor;
  const plain = Tokenizer.fromFiles({ tokenizerJson: tiny.tokenizers["llama3"]!.json });
  beforeAll(async () => {
    text = await TextProcessor.create(source("llama3"));
  });
  afterAll(() => text.dispose());

  test("encodes short and long texts as the tokenizer does", async () => {
    for (const options of [{}, { parseSpecialTokens: true }, { addSpecialTokens: false }])
      for (const sample of ["", "Hi <|im_end|>", "The quick <|im_end|> 日本. ".repeat(2_000)])
        expect(await text.encode(sample, options)).toEqual(plain.encode(sample, options));
    expect(text.tokenizer.decode(await text.encode("Hi"))).toBe("Hi");
  });

  test("renders and encodes chats; control tokens come from the template alone", async () => {
    const rendered = await text.renderChatTemplate(MESSAGES);
    expect(rendered).toBe("<|im_start|>user\nHi <|im_end|> there<|im_end|>\n<|im_start|>assistant\n");
    const control = (ids: Int32Array): (string | null)[] =>
      [...ids].filter((id) => plain.isSpecial(id)).map((id) => plain.idToToken(id));
    expect(control(await text.applyChatTemplate(MESSAGES))).toEqual([
      "<|im_start|>",
      "<|im_end|>",
      "<|im_start|>",
    ]);
    expect(control(await text.applyChatTemplate(MESSAGES, { parseSpecialTokens: true }))).toEqual([
      "<|im_start|>",
      "<|im_end|>",
      "<|im_end|>",
      "<|im_start|>",
    ]);
    expect(control(await text.applyChatTemplate(MESSAGES, { addGenerationPrompt: false }))).toHaveLength(2);
    expect(plain.decode(await text.applyChatTemplate(MESSAGES), { skipSpecialTokens: false })).toBe(rendered);
    expect(
      await text.renderChatTemplate(MESSAGES, {
        chatTemplate: "{{ bos_token is defined }}{{ eos_token }}{{ tools[0].a }}{{ x }}",
        tools: [{ a: 1 }],
        variables: { x: 2 },
      }),
    ).toBe("False</s>12");
  });

  test("many jobs at once each get their own answer", async () => {
    const texts = Array.from({ length: 20 }, (_, i) => `Nr. ${i}. `.repeat(1_500));
    const results = await Promise.all(texts.map((each) => text.encode(each)));
    results.forEach((ids, i) => expect(ids).toEqual(plain.encode(texts[i]!)));
  });

  test("an endless template is ended in time, the jobs behind it go on, and the next finds a fresh worker", async () => {
    const started = performance.now();
    const endless = text.renderChatTemplate(MESSAGES, { chatTemplate: ENDLESS, limits, timeout: 200 });
    const behind = text.applyChatTemplate(MESSAGES);
    await expect(endless).rejects.toEqual(code("ERR_TIMEOUT"));
    expect(performance.now() - started).toBeLessThan(10_000);
    expect(await behind).toEqual(await text.applyChatTemplate(MESSAGES));
  });

  test("an abort ends a job that runs, one that waits, and one that has not begun", async () => {
    const running = new AbortController();
    const waiting = new AbortController();
    const first = text.renderChatTemplate(MESSAGES, {
      chatTemplate: ENDLESS,
      limits,
      signal: running.signal,
      timeout: 60_000,
    });
    const second = text.applyChatTemplate(MESSAGES, { signal: waiting.signal });
    const third = text.applyChatTemplate(MESSAGES);
    waiting.abort();
    await expect(second).rejects.toEqual(code("ERR_ABORTED"));
    setTimeout(() => running.abort(new Error("enough")), 100);
    await expect(first).rejects.toMatchObject({
      code: "ERR_ABORTED",
      cause: expect.objectContaining({ message: "enough" }),
    });
    expect((await third).length).toBeGreaterThan(5);
    await expect(text.encode("x", { signal: AbortSignal.abort() })).rejects.toEqual(code("ERR_ABORTED"));
    await expect(text.encode("x".repeat(50_000), { signal: AbortSignal.abort() })).rejects.toEqual(
      code("ERR_ABORTED"),
    );
  });

  test("a template that eats memory or time ends at its budget", async () => {
    const greedy =
      "{% set n = namespace(x=['a']) %}{% for i in range(40) %}{% set n.x = n.x + n.x %}{% endfor %}";
    for (const chatTemplate of [greedy, ENDLESS])
      await expect(
        text.renderChatTemplate(MESSAGES, { chatTemplate, timeout: 60_000 }),
      ).rejects.toMatchObject({
        code: "ERR_CHAT_TEMPLATE",
        message: expect.stringContaining('budget "work"'),
        details: expect.objectContaining({ budget: "work" }),
      });
    expect((await text.applyChatTemplate(MESSAGES)).length).toBeGreaterThan(5);
  });

  test("output past the bound is refused", async () => {
    const large =
      "{% set n = namespace(x='aaaaaaaa') %}{% for i in range(22) %}{% set n.x = n.x + n.x %}{% endfor %}{{ n.x }}";
    await expect(text.renderChatTemplate(MESSAGES, { chatTemplate: large })).rejects.toEqual(
      code("ERR_CHAT_TEMPLATE"),
    );
  });

  test("errors of the worker keep their code and message", async () => {
    await expect(
      text.applyChatTemplate(MESSAGES, { chatTemplate: "{{ raise_exception('No system role') }}" }),
    ).rejects.toMatchObject({
      code: "ERR_CHAT_TEMPLATE",
      message: expect.stringContaining("No system role"),
    });
    await expect(text.applyChatTemplate(MESSAGES, { chatTemplate: "{% if %}" })).rejects.toEqual(
      code("ERR_CHAT_TEMPLATE"),
    );
  });

  test.each([
    ["no list", "Hi"],
    ["no messages", []],
    ["a message that is no object", ["Hi"]],
    ["no role", [{ content: "x" }]],
    ["content that is a number", [{ role: "user", content: 5 }]],
    ["a function", [{ role: "user", content: "x", run: () => 1 }]],
  ])("messages: %s", async (_, messages) => {
    await expect(text.applyChatTemplate(messages as never)).rejects.toEqual(code("ERR_INVALID_ARGUMENT"));
    expect((await text.applyChatTemplate(MESSAGES)).length).toBeGreaterThan(5);
  });

  test.each([0, -1, NaN, Infinity, 600_001, "5"])("a timeout of %s", async (timeout) => {
    await expect(text.encode("x", { timeout: timeout as number })).rejects.toEqual(
      code("ERR_INVALID_ARGUMENT"),
    );
  });

  test("texts that are none, or too long, and a template that is too long", async () => {
    await expect(text.encode(5 as never)).rejects.toEqual(code("ERR_INVALID_ARGUMENT"));
    await expect(text.encode("a".repeat((1 << 24) + 1))).rejects.toEqual(code("ERR_INVALID_ARGUMENT"));
    await expect(text.applyChatTemplate(MESSAGES, { chatTemplate: "a".repeat(1 << 19) })).rejects.toEqual(
      code("ERR_INVALID_ARGUMENT"),
    );
  });

  test("the event loop goes on while a long text is encoded", async () => {
    const long = "The quick brown fox, 123 times. 日本語 ".repeat(30_000);
    const work = performance.now();
    plain.encode(long.slice(0, 200_000));
    const perCharacter = (performance.now() - work) / 200_000;
    const block = await longestBlock(() => text.encode(long, { timeout: 60_000 }));
    expect(block).toBeLessThan(Math.max(100, (perCharacter * long.length) / 4));
  });
});

describe("a tokenizer that nobody has checked", () => {
  // Exponential time on "aaaa…!".
  const evil = (json: Loose): void => {
    json["pre_tokenizer"] = {
      type: "Sequence",
      pretokenizers: [
        { type: "Split", pattern: { Regex: "(a|aa)+$" }, behavior: "Isolated", invert: false },
        { type: "ByteLevel", add_prefix_space: false, use_regex: false },
      ],
    };
  };

  test("is used in the worker only, and takes linear time there", async () => {
    await using text = await TextProcessor.create(source("gpt2", evil));
    expect(text.tokenizer.trusted).toBe(false);
    expect(text.tokenizer.decode(await text.encode("baa"))).toBe("baa");
    const long = `${"a".repeat(40)}!`.repeat(100);
    const block = await longestBlock(async () =>
      expect(text.tokenizer.decode(await text.encode(long, { timeout: 2_000 }))).toBe(long),
    );
    expect(block).toBeLessThan(250);
  });

  test("cannot block the event loop by what is done when it is made", async () => {
    const content = `${"a".repeat(40)}!`;
    const trap = (json: Loose): void => {
      json["normalizer"] = { type: "Replace", pattern: { Regex: "(a+)+$" }, content: "b" };
      json["added_tokens"].push({ id: 5000, content, normalized: true, special: false });
    };
    const block = await longestBlock(async () => {
      await using text = await TextProcessor.create(source("gpt2", trap), { timeout: 2_000 });
      expect(text.tokenizer.tokenToId(content)).toBe(text.tokenizer.vocabularySize - 1);
    });
    expect(block).toBeLessThan(250);
  });
});

describe("beginning and end", () => {
  test("what cannot be read is refused with its code", async () => {
    await expect(TextProcessor.create({ kind: "files", files: { tokenizerJson: "{" } })).rejects.toEqual(
      code("ERR_TOKENIZER"),
    );
    await expect(TextProcessor.create({ kind: "gguf", metadata: {} })).rejects.toEqual(code("ERR_TOKENIZER"));
    await expect(TextProcessor.create({ kind: "gguf", metadata: null as never })).rejects.toEqual(
      code("ERR_INVALID_ARGUMENT"),
    );
    await expect(TextProcessor.create(source("gpt2"), { signal: AbortSignal.abort() })).rejects.toEqual(
      code("ERR_ABORTED"),
    );
  });

  test("a model without a template is told apart", async () => {
    await using text = await TextProcessor.create({
      kind: "files",
      files: { tokenizerJson: tiny.tokenizers["gpt2"]!.json },
    });
    await expect(text.applyChatTemplate(MESSAGES)).rejects.toMatchObject({
      code: "ERR_CHAT_TEMPLATE",
      message: expect.stringContaining("Pass chatTemplate"),
    });
    expect((await text.applyChatTemplate(MESSAGES, { chatTemplate: template })).length).toBeGreaterThan(5);
  });

  test("after dispose every job is refused, those under way too, and the synchronous tokenizer goes on", async () => {
    const text = await TextProcessor.create(source("gpt2"));
    const running = text.renderChatTemplate(MESSAGES, { chatTemplate: ENDLESS, limits, timeout: 60_000 });
    const waiting = text.applyChatTemplate(MESSAGES);
    const disposal = text.dispose();
    await expect(running).rejects.toEqual(code("ERR_DISPOSED"));
    await expect(waiting).rejects.toEqual(code("ERR_DISPOSED"));
    await disposal;
    await expect(text.applyChatTemplate(MESSAGES)).rejects.toEqual(code("ERR_DISPOSED"));
    await expect(text.encode("a".repeat(20_000))).rejects.toEqual(code("ERR_DISPOSED"));
    expect(text.tokenizer.decode(text.tokenizer.encode("ok"))).toBe("ok");
    await text.dispose();
  });

  test("an idle worker keeps no process alive, and a job under way does", () => {
    const program = `
      import { TextProcessor } from "#lib/tokenizer/index.js";
      const json = { model: { type: "BPE", vocab: { a: 0, b: 1, ab: 2 }, merges: [["a", "b"]] }, added_tokens: [] };
      const text = await TextProcessor.create({ kind: "files", files: { tokenizerJson: json } });
      text.applyChatTemplate([{ role: "user", content: "abab" }], { chatTemplate: "{{ messages[0].content }}" }).then((ids) => console.log("done", ids.join()));`;
    const { stdout, stderr, status } = spawnSync(process.execPath, ["--input-type=module", "-e", program], {
      encoding: "utf8",
      timeout: 60_000,
    });
    expect({ stdout, stderr, status }).toEqual({ stdout: "done 2,2\n", stderr: "", status: 0 });
  });
});
