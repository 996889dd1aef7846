/** Templates with names, as Hermes 3 has them: chosen for each request as transformers' get_chat_template does. */
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { readModelFolder } from "#lib/model/sources/local-model.js";
import { chooseTemplate, TextProcessor, Tokenizer, type TokenizerFiles } from "#lib/tokenizer/index.js";
import { readTiny } from "../tokenizer/golden.js";
import { digest, readConversations, readFamilies } from "./golden.js";

const tokenizerJson = readTiny().tokenizers["llama3"]!.json;
const make = (files: Omit<TokenizerFiles, "tokenizerJson">) =>
  Tokenizer.fromFiles({ tokenizerJson, ...files }).definition;
const LIST = [
  { name: "rag", template: "R" },
  { name: "default", template: "D" },
  { name: "tool_use", template: "T" },
];

describe("the definition", () => {
  test("holds all of a list in tokenizer_config.json", () => {
    const { chatTemplate, chatTemplates } = make({ tokenizerConfig: { chat_template: LIST } });
    expect(chatTemplate).toBe("D");
    expect(chatTemplates).toEqual({ default: "D", tool_use: "T", rag: "R" });
  });

  test("a single template is the default one", () => {
    expect(make({ tokenizerConfig: { chat_template: "S" } }).chatTemplates).toEqual({ default: "S" });
    expect(make({}).chatTemplates).toEqual({});
    expect(make({}).chatTemplate).toBeNull();
  });

  test("chat_template.jinja and additional_chat_templates go before tokenizer_config.json", () => {
    const files = { tokenizerConfig: { chat_template: LIST }, chatTemplate: "F" };
    expect(make(files).chatTemplates).toEqual({ default: "F" });
    const more = make({ ...files, additionalChatTemplates: { tool_use: "A" } });
    expect(more.chatTemplates).toEqual({ default: "F", tool_use: "A" });
    const only = make({
      tokenizerConfig: { chat_template: LIST },
      additionalChatTemplates: { tool_use: "A" },
    });
    expect(only.chatTemplates).toEqual({ tool_use: "A" });
    expect(only.chatTemplate).toBeNull();
  });

  test("GGUF keeps them under keys of their own", () => {
    const metadata = {
      "tokenizer.ggml.model": "gpt2",
      "tokenizer.ggml.tokens": ["a", "b"],
      "tokenizer.ggml.merges": [],
      "tokenizer.chat_template": "D",
      "tokenizer.chat_templates": ["tool_use", "rag"],
      "tokenizer.chat_template.tool_use": "T",
      "tokenizer.chat_template.rag": "R",
    };
    const { chatTemplate, chatTemplates } = Tokenizer.fromGguf(metadata).definition;
    expect(chatTemplate).toBe("D");
    expect(chatTemplates).toEqual({ default: "D", tool_use: "T", rag: "R" });
  });

  test.each([
    ["no name", [{ template: "x" }]],
    ["no template", [{ name: "default" }]],
    ["no object", ["x"]],
    ["an empty name", [{ name: "", template: "x" }]],
    ["too many", Array.from({ length: 65 }, (_, i) => ({ name: `t${i}`, template: "x" }))],
  ])("a list with %s is ERR_TOKENIZER", (_, list) => {
    expect(() => make({ tokenizerConfig: { chat_template: list } })).toThrow(
      expect.objectContaining({ code: "ERR_TOKENIZER" }),
    );
  });
});

describe("the choice", () => {
  const both = { chatTemplates: { default: "D", tool_use: "T" } };

  test("follows the tools of the request", () => {
    expect(chooseTemplate(both, undefined)).toBe("D");
    expect(chooseTemplate(both, null)).toBe("D");
    expect(chooseTemplate(both, [{}])).toBe("T");
    expect(chooseTemplate(both, [])).toBe("T"); // an empty list is given, too
    expect(chooseTemplate({ chatTemplates: { default: "D" } }, [{}])).toBe("D");
    expect(chooseTemplate({ chatTemplates: {} }, [{}])).toBeNull();
    expect(chooseTemplate({ chatTemplates: { constructor: "C", default: "D" } }, undefined)).toBe("D");
  });

  test("without a default one, there is none", () => {
    const named = { chatTemplates: { tool_use: "T", rag: "R" } };
    expect(chooseTemplate(named, [{}])).toBe("T");
    expect(() => chooseTemplate(named, undefined)).toThrow(
      expect.objectContaining({
        code: "ERR_CHAT_TEMPLATE",
        message: expect.stringContaining("rag, tool_use"),
      }),
    );
  });

  test("is made for each chat", async () => {
    const { roles, named, conversations } = readConversations();
    const families = readFamilies();
    const list = Object.entries(named).map(([name, template]) => ({ name, template }));
    await using text = await TextProcessor.create({
      kind: "files",
      files: { tokenizerJson, tokenizerConfig: { ...roles, chat_template: list } },
    });
    for (const chat of ["one question", "tools as functions", "tools as objects", "calls with objects"]) {
      const { messages, tools } = conversations[chat]!;
      const rendered = await text.renderChatTemplate(messages, { tools });
      expect(digest(rendered), chat).toBe(families[tools ? "named/tool_use" : "named/default"]![chat]);
    }
  });
});

test("a model's folder brings its additional templates along", async () => {
  const folder = await mkdtemp(join(tmpdir(), "lowrank-templates-"));
  try {
    await mkdir(join(folder, "additional_chat_templates"));
    const files = [
      "config.json",
      "model.safetensors",
      "chat_template.jinja",
      "additional_chat_templates/tool_use.jinja",
    ];
    for (const name of [...files, "additional_chat_templates/notes.txt"])
      await writeFile(join(folder, name), "{}");
    const resolved = await readModelFolder(folder);
    expect(resolved.files.map((path) => path.slice(folder.length + 1)).sort()).toEqual([...files].sort());
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});
