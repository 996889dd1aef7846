/** Which characters of a rendered chat came from outside: exact, through every operation. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { ChatTemplate, Tokenizer } from "#lib/tokenizer/index.js";
import { readTiny } from "../tokenizer/golden.js";
import { readConversations, readTemplates } from "./golden.js";

const tokenizer = Tokenizer.fromFiles({ tokenizerJson: readTiny().tokenizers["llama3"]!.json });

/** The text with « » around each run of foreign characters. */
function marked(source: string, content: string, variables: Record<string, unknown> = {}): string {
  const { text, foreign } = new ChatTemplate(source).renderMarked([{ role: "user", content }], { variables });
  let shown = "";
  let at = 0;
  for (let i = 0; i < foreign.length; i += 2) {
    expect(foreign[i]!).toBeGreaterThanOrEqual(i === 0 ? 0 : foreign[i - 1]!);
    expect(foreign[i + 1]!).toBeGreaterThan(foreign[i]!);
    shown += `${text.slice(at, foreign[i])}«${text.slice(foreign[i], foreign[i + 1])}»`;
    at = foreign[i + 1]!;
  }
  expect(at).toBeLessThanOrEqual(text.length);
  return shown + text.slice(at);
}

const C = "messages[0].content";

test.each([
  ["printed", `a{{ ${C} }}b`, "x<y", "a«x<y»b"],
  ["within brackets of the template", `<{{ ${C} }}>`, "|im_start|", "<«|im_start|»>"],
  ["joined with +", `{{ '<|' + ${C} + '|>' }}`, "im_end", "<|«im_end»|>"],
  ["joined with ~", `{{ ${C} ~ '|' ~ ${C} }}`, "a", "«a»|«a»"],
  ["stripped", `[{{ ${C} | trim }}]`, "  a b ", "[«a b»]"],
  ["stripped of characters", `{{ ('<' ~ ${C} ~ '>').strip('<a') }}`, "aba", "«ba»>"],
  ["cut", `{{ ('01' ~ ${C} ~ '89')[1:5] }}`, "abc", "1«abc»"],
  ["reversed", `{{ ('<' ~ ${C})[::-1] }}`, "ab", "«ba»<"],
  ["one character", `{{ ('<' ~ ${C})[1] }}{{ ('<' ~ ${C})[0] }}`, "ab", "«a»<"],
  ["replaced away", `{{ ('<|#' ~ ${C}).replace('#', '') }}`, "im#_end", "<|«im_end»"],
  ["put in by replace", `{{ '<|#|>'.replace('#', ${C}) }}`, "im_end", "<|«im_end»|>"],
  ["replaced by the template", `{{ ${C}.replace('a', '<') }}`, "xay", "«x»<«y»"],
  ["upper case", `{{ ('<' ~ ${C}) | upper }}`, "ab", "<«AB»"],
  ["upper case of another length", `{{ ('<' ~ ${C}) | upper }}`, "ß", "«<SS»"],
  ["split and joined", `{{ ('a,' ~ ${C} ~ ',b').split(',') | join('|') }}`, "x,y", "a|«x»|«y»|b"],
  ["partitioned", `{{ (${C} ~ '=v').partition('=') | join(';') }}`, "k", "«k»;=;v"],
  ["characters gone through", `{% for c in '<' ~ ${C} %}{{ c }}.{% endfor %}`, "ab", "<.«a».«b»."],
  ["as JSON", `{{ [${C}] | tojson }}`, 'a"b', '["«a\\"b»"]'],
  ["as Python's list", `{{ [${C}, 'o'] }}`, "a'b", "[\"«a'b»\", 'o']"],
  ["formatted with %", `{{ '<%s|%3s>' % (${C}, 'o') }}`, "ab", "<«ab»|  o>"],
  ["formatted with {}", `{{ '<{:>4}>'.format(${C}) }}`, "ab", "<  «ab»>"],
  ["a format from outside", `{{ ${C}.format('own') }}`, "<{}>", "«<»own«>»"],
  ["a format from outside that fills", `{{ ${C}.format('own') }}`, "{:<5}", "«own  »"],
  ["centred", `{{ ${C} | center(4) }}`, "ab", " «ab» "],
  ["indented", `{{ ${C} | indent(2) }}`, "a\nb", "«a»\n  «b»"],
  ["truncated", `{{ ${C} | truncate(5, true, '...', 0) }}`, "abcdefg", "«ab»..."],
  ["escaped", `{{ ('<' ~ ${C}) | escape }}`, "<", "&lt;«&lt;»"],
  ["through a macro", `{% macro f(x) %}<{{ x }}>{% endmacro %}{{ f(${C}) | upper }}`, "ab", "<«AB»>"],
  ["through set and a block", `{% set a %}<{{ ${C} }}>{% endset %}{{ a }}`, "ab", "<«ab»>"],
  [
    "through a namespace",
    `{% set n = namespace(s='<') %}{% for i in [1, 2] %}{% set n.s = n.s ~ ${C} %}{% endfor %}{{ n.s }}`,
    "ab",
    "<«abab»",
  ],
  ["through a filter block", `{% filter replace('o', '0') %}o{{ ${C} }}o{% endfilter %}`, "xox", "0«x»0«x»0"],
  ["repeated", `{{ ('<' ~ ${C}) * 2 }}`, "a", "<«a»<«a»"],
  ["sorted and made unique", `{{ [${C}, 'b', 'a'] | sort | join(',') }}`, "aa", "a,«aa»,b"],
  ["compared only", `{{ ${C} == 'a' }}{{ ${C} | length }}{{ 'a' in ${C} }}`, "a", "True1True"],
  ["asked for with default", `{{ nothing | default(${C}) }}`, "a", "«a»"],
  ["emoji", `{{ ('😀' ~ ${C})[1:] }}`, "👍a", "«👍a»"],
  ["the empty text", `<{{ ${C} }}>`, "", "<>"],
])("%s", (_, source, content, expected) => {
  expect(marked(source, content)).toBe(expected);
});

test("numbers, keys, tools, documents and roles are foreign; the template's own numbers are not", () => {
  const variables = { n: 5, f: 1.5, o: { "<|k|>": true }, big: "7" };
  expect(marked("{{ n }}{{ 5 }}{{ n + 1 }}{{ f }}{{ big | int }}", "", variables)).toBe("«5»56«1.57»");
  expect(marked("{% for k in o %}{{ k }}{% endfor %}{{ o }}{{ o | tojson }}", "", variables)).toBe(
    "«<|k|>»{'«<|k|>»': True}{\"«<|k|>»\": true}",
  );
  const { text, foreign } = new ChatTemplate(
    "{{ tools }}{{ documents[0].t }}{{ messages[0].role }}",
  ).renderMarked([{ role: "r", content: "" }], { tools: [{ a: "b" }], documents: [{ t: "d" }] });
  expect(text).toBe("[{'a': 'b'}]dr");
  expect([...foreign]).toEqual([3, 4, 8, 9, 12, 14]);
});

test("special tokens of the tokenizer are the template's own", () => {
  const template = new ChatTemplate("{{ bos_token }}{{ messages[0].content }}{{ eos_token }}", {
    bos_token: "<s>",
    eos_token: "</s>",
  });
  expect([...template.renderMarked([{ role: "user", content: "<s>" }]).foreign]).toEqual([3, 6]);
});

describe("control tokens", () => {
  /** Control tokens that the model will see. */
  const controls = (source: string, content: string): (string | null)[] => {
    const { text, foreign } = new ChatTemplate(source).renderMarked([{ role: "user", content }]);
    return [...tokenizer.encodeChat(text, foreign)]
      .filter((id) => tokenizer.isSpecial(id))
      .map((id) => tokenizer.idToToken(id));
  };

  test.each([
    [`<{{ ${C} }}>`, "|im_start|"],
    [`<|im_{{ ${C} }}`, "start|>"],
    [`{{ ${C} }}end|>`, "<|im_"],
    [`<|im{{ ${C} }}end|>`, "_"],
    [`{{ ('<' ~ ${C} ~ '>') | lower }}`, "|IM_END|"],
    [`{{ ${C}[::-1] }}`, ">|dne_mi|<"],
    [`{{ ${C}.split('-') | join }}`, "<|im_-end|>"],
    [`{{ ${C} | replace('#', '') }}`, "<|im#_end|>"],
    [`{{ '<|%s|>' % ${C} }}`, "im_end"],
    [`{{ '<|{}|>'.format(${C}) }}`, "im_end"],
    [`{{ ('xx' ~ ${C}).strip('x') }}`, "x<|im_end|>x"],
  ])("%s makes none of %j", (source, content) => {
    const { text } = new ChatTemplate(source).renderMarked([{ role: "user", content }]);
    expect(text).toMatch(/<\|im_(start|end)\|>/);
    expect(controls(source, content)).toEqual([]);
  });

  test("what the template writes in pieces of its own stays one", () => {
    const source = `{{ '<|' ~ 'im_start' ~ '|>' }}{{ ${C} }}{{ '<|IM_END|>' | lower }}{{ ('a<|im_end|>b')[1:-1] }}`;
    expect(controls(source, "<|im_end|>")).toEqual(["<|im_start|>", "<|im_end|>", "<|im_end|>"]);
  });

  test("no text of messages becomes one, through any template of the goldens", async () => {
    const { roles, conversations } = readConversations();
    const templates = [...(await readTemplates())].filter(([name]) =>
      ["qwen3", "smollm2", "named/tool_use", "chatml"].includes(name),
    );
    expect(templates).toHaveLength(4);
    const content = fc
      .array(
        fc.constantFrom(
          "<|im_end|>",
          "<|im_start|>",
          "</s>",
          "<s>",
          "<",
          "|",
          ">",
          "im_end",
          "<|im_",
          "end|>",
          "</think>",
          "<think>",
          " ",
          "\n",
          "é😀",
        ),
        { maxLength: 8 },
      )
      .map((pieces) => pieces.join(""));
    fc.assert(
      fc.property(fc.constantFrom(...templates), content, content, ([, source], first, second) => {
        const template = new ChatTemplate(source, roles);
        const count = (a: string, b: string): number => {
          const { text, foreign } = template.renderMarked(
            [
              { role: "user", content: a },
              { role: "assistant", content: b },
              { role: "user", content: "x" },
            ],
            { tools: conversations["tools as functions"]!.tools },
          );
          return [...tokenizer.encodeChat(text, foreign)].filter((id) => tokenizer.isSpecial(id)).length;
        };
        expect(count(first, second)).toBe(count("a", "b"));
      }),
      { numRuns: 400 },
    );
  });
});
