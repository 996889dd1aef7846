/** Against jinja2 as transformers sets it up: real templates, the language piece by piece, and random values. */
import { describe, expect, test } from "vitest";
import { ChatTemplate, type ChatMessage } from "#lib/tokenizer/index.js";
import {
  digest,
  readConversations,
  readFamilies,
  readSnippets,
  readTemplates,
  readValues,
} from "./golden.js";

const { roles, conversations } = readConversations();

/** The text, or the reason of ERR_CHAT_TEMPLATE; any other error is none. */
function outcome(render: () => string): { text: string } | { refused: string } {
  try {
    return { text: render() };
  } catch (error) {
    expect(error).toMatchObject({ code: "ERR_CHAT_TEMPLATE", details: { reason: expect.any(String) } });
    return { refused: (error as { details: { reason: string } }).details.reason };
  }
}

describe("templates of model families", async () => {
  const templates = await readTemplates();
  const families = readFamilies();

  test("every template of the goldens is there, and no other", () => {
    expect([...templates.keys()].sort()).toEqual(Object.keys(families).sort());
    expect(templates.size).toBeGreaterThanOrEqual(38);
  });

  test.each(Object.entries(families))("%s", (name, cases) => {
    const template = new ChatTemplate(templates.get(name)!, roles);
    expect(Object.keys(cases)).toEqual(Object.keys(conversations));
    for (const [chat, expected] of Object.entries(cases)) {
      const { messages, tools, documents, variables, add_generation_prompt } = conversations[chat]!;
      const options = { tools, documents, variables, addGenerationPrompt: add_generation_prompt ?? true };
      const result = outcome(() => template.render(messages, options));
      if ("text" in result) expect(digest(result.text), chat).toBe(expected);
      // The one reason to refuse what transformers renders: it would print a list of parts as Python writes it.
      else if (expected !== null) expect(`${chat}: ${result.refused}`).toMatch(/^parts .*takes text only/);
    }
  });
});

/** What is refused though jinja2 renders it. */
const REFUSED = [
  /^\S+ is not supported here$/,
  /^str\.encode is not supported here$/,
  /^the attribute "real" is not supported here$/,
];

describe("the language", () => {
  const { variables, snippets } = readSnippets();
  const { messages, ...rest } = variables as { messages: ChatMessage[] };

  test.each(snippets)("%j", (source, expected) => {
    const result = outcome(() => new ChatTemplate(source).render(messages, { variables: rest }));
    if ("text" in result) expect(result.text).toBe(expected);
    else if (expected !== null)
      expect(
        REFUSED.some((reason) => reason.test(result.refused)),
        result.refused,
      ).toBe(true);
  });

  test("few pieces of it are refused", () => {
    const refused = snippets.filter(
      ([source, expected]) =>
        expected !== null &&
        "refused" in outcome(() => new ChatTemplate(source).render(messages, { variables: rest })),
    );
    expect(refused.map(([source]) => source)).toEqual(["{{ 'a'.encode() }}", "{{ 1.5.real }}", "{{ self }}"]);
  });
});

test("random values through tojson, repr, methods, filters, formats and slices", () => {
  const values = readValues();
  let refused = 0;
  for (const [source, variables, expected] of values) {
    const result = outcome(() => new ChatTemplate(source).render([], { variables }));
    if ("text" in result) {
      expect(result.text, `${source} with ${JSON.stringify(variables)}`).toBe(expected);
    } else if (expected !== null) {
      // Letters whose case JavaScript's tables do not have as Python's, and strings with half a surrogate pair.
      expect(result.refused).toMatch(/with the letter [Σǆß]|half a surrogate pair/);
      ++refused;
    }
  }
  expect(values.length).toBe(4_000);
  expect(refused).toBeLessThan(50);
});
