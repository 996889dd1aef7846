/** Templates that would take all time or memory end as ERR_CHAT_TEMPLATE, soon and in little memory. */
import { spawnSync } from "node:child_process";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Finder } from "#lib/templates/search.js";
import { Meter } from "#lib/templates/meter.js";
import { ChatTemplate, TextProcessor } from "#lib/tokenizer/index.js";
import fc from "fast-check";
import { readTiny } from "../tokenizer/golden.js";
import { ATTACKS, HEAVY } from "./attack-templates.js";

const MESSAGES = [{ role: "user", content: "y".repeat(1_000) }];

describe("in a process of its own", () => {
  const program = `
    import { ChatTemplate } from "#lib/templates/index.js";
    const results = {};
    const baseline = process.resourceUsage().maxRSS;
    let input = "";
    for await (const block of process.stdin) input += block;
    for (const [name, source] of Object.entries(JSON.parse(input))) {
      const began = process.cpuUsage();
      let code = "rendered";
      try {
        new ChatTemplate(source).render(${JSON.stringify(MESSAGES)});
      } catch (error) {
        code = error.code ?? String(error.stack);
      }
      const { user, system } = process.cpuUsage(began);
      results[name] = { code, seconds: (user + system) / 1e6 };
    }
    console.log(JSON.stringify({ results, megabytes: (process.resourceUsage().maxRSS - baseline) / 1024 }));`;
  // A heap so small that what they hold must fit; else the process ends.
  const heap = ["--max-old-space-size=160", "--max-semi-space-size=8"];
  const { stdout, stderr } = spawnSync(process.execPath, [...heap, "--input-type=module", "-e", program], {
    input: JSON.stringify({ ...ATTACKS, ...HEAVY }),
    encoding: "utf8",
    timeout: 600_000,
  });
  const { results, megabytes } = JSON.parse(
    stdout || JSON.stringify({ results: { stderr }, megabytes: 0 }),
  ) as {
    results: Record<string, { code: string; seconds: number }>;
    megabytes: number;
  };

  test.each(Object.keys(ATTACKS))("%s", (name) => {
    expect(results[name]).toMatchObject({ code: "ERR_CHAT_TEMPLATE" });
    expect(results[name]!.seconds).toBeLessThan(2);
  });

  test.each(Object.keys(HEAVY))("%s", (name) => {
    expect(["rendered", "ERR_CHAT_TEMPLATE"]).toContain(results[name]!.code);
    expect(results[name]!.seconds).toBeLessThan(2);
  });

  test("all of them stay within 256 MB", () => {
    expect(megabytes).toBeGreaterThan(0);
    expect(megabytes).toBeLessThan(256);
  });
});

describe("through the worker", () => {
  let text: TextProcessor;
  beforeAll(async () => {
    text = await TextProcessor.create({
      kind: "files",
      files: { tokenizerJson: readTiny().tokenizers["llama3"]!.json },
    });
  });
  afterAll(() => text.dispose());

  test.each(Object.entries(ATTACKS))("%s", async (_, chatTemplate) => {
    await expect(text.applyChatTemplate(MESSAGES, { chatTemplate, timeout: 60_000 })).rejects.toMatchObject({
      code: "ERR_CHAT_TEMPLATE",
    });
  });

  test("messages and tools as large as they may be are rendered", async () => {
    const content = "<|im_end|> ".repeat(1_000_000);
    const chatTemplate = "{% for m in messages %}<|im_start|>{{ m.content | trim }}<|im_end|>{% endfor %}";
    const rendered = await text.renderChatTemplate([{ role: "user", content }], {
      chatTemplate,
      timeout: 60_000,
    });
    expect(rendered.length).toBe(content.length - 1 + 22);
  });
});

describe("budgets", () => {
  test.each([
    ["work", { work: 2_000 }, "{% for i in range(1000) %}{{ i }}{% endfor %}"],
    ["output", { output: 10 }, "{% for i in range(11) %}x{% endfor %}"],
    ["depth", { depth: 20 }, "{% macro f(n) %}{{ f(n - 1) if n }}{% endmacro %}{{ f(20) }}"],
  ])("%s is named by the error that ends the template, and can be raised", (budget, limits, source) => {
    const template = new ChatTemplate(source);
    expect(() => template.render(MESSAGES, { limits })).toThrow(
      expect.objectContaining({
        code: "ERR_CHAT_TEMPLATE",
        message: expect.stringContaining(`budget "${budget}"`),
        details: expect.objectContaining({ budget }),
      }),
    );
    expect(template.render(MESSAGES)).toBeTypeOf("string");
  });
});

test("a text is found where JavaScript finds it, forwards and backwards", () => {
  const letters = (most: number) =>
    fc.array(fc.constantFrom("a", "b"), { maxLength: most }).map((list) => list.join(""));
  fc.assert(
    fc.property(letters(3), letters(40), letters(120), fc.nat(60), (piece, rest, text, from) => {
      const part = piece.repeat(12) + rest;
      const whole = text + part.slice(1) + part + text;
      const finder = new Finder(new Meter(), part);
      expect(finder.next(whole, from)).toBe(whole.indexOf(part, from));
      const end = whole.length - from;
      expect(finder.last(whole, end)).toBe(
        end < part.length ? -1 : whole.lastIndexOf(part, end - part.length),
      );
    }),
    { numRuns: 2_000 },
  );
});
