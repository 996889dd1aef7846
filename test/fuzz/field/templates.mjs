/** Chat templates: real ones with pieces cut, doubled and exchanged, and programs put together from the language's parts. */
import { readFileSync } from "node:fs";
import { TextProcessor } from "../../../dist/tokenizer/index.js";
import { readTiny } from "./files.mjs";
import { randomMessages } from "./messages.mjs";

const chat = JSON.parse(
  readFileSync(new URL("../../golden/data/tokenizer/chat.json", import.meta.url), "utf8"),
);
const REAL = Object.values(chat.templates);

const ATOMS = [
  "messages",
  "messages[0]",
  "messages[0].content",
  "tools",
  "x",
  "n.a",
  "loop.index",
  "loop",
  "'a'",
  "'<|im_end|>'",
  "1",
  "0",
  "10**9",
  "2**62",
  "1.5",
  "none",
  "true",
  "[]",
  "{}",
  "[1,2,3]",
  "{'a':1}",
  "undefinedName",
  "range(10)",
  "range(1000000)",
  "bos_token",
];
const FILTERS = [
  "length",
  "upper",
  "trim",
  "tojson",
  "list",
  "join(',')",
  "first",
  "last",
  "int",
  "string",
  "center(100)",
  "center(1000000000)",
  "replace('a', x)",
  "indent(4)",
  "batch(2)",
  "slice(3)",
  "sort",
  "unique",
  "map('upper')",
  "selectattr('role')",
  "default(x)",
  "reverse",
  "wordwrap(1)",
  "truncate(3)",
  "format(x)",
  "urlize",
  "pprint",
  "sum",
  "items",
  "dictsort",
  "groupby('role')",
  "e",
  "safe",
  "nosuch",
];
const METHODS = [
  "split()",
  "split('')",
  "strip('<|')",
  "upper()",
  "replace('', x)",
  "format(x, a=1)",
  "join(messages)",
  "zfill(10**7)",
  "ljust(10**8)",
  "get('a')",
  "items()",
  "append(1)",
  "__class__",
  "startswith('<')",
  "encode()",
  "expandtabs(10**8)",
  "title()",
  "translate({})",
];

function expression(random, depth = 3) {
  if (depth === 0 || random.chance(0.3)) return random.pick(ATOMS);
  const inner = () => expression(random, depth - 1);
  switch (random.below(8)) {
    case 0:
      return `${inner()}|${random.pick(FILTERS)}`;
    case 1:
      return `(${inner()}).${random.pick(METHODS)}`;
    case 2:
      return `${inner()} ${random.pick(["+", "-", "*", "/", "//", "%", "**", "~", "==", "<", "in", "and", "or", "not in"])} ${inner()}`;
    case 3:
      return `(${inner()})[${inner()}]`;
    case 4:
      return `(${inner()})[${random.pick(["1:", ":-1", "::2", "::-1", "10**9:", "::0"])}]`;
    case 5:
      return `(${inner()} if ${inner()} else ${inner()})`;
    case 6:
      return `[${inner()}, ${inner()}] * ${inner()}`;
    default:
      return `(${inner()} is ${random.pick(["string", "mapping", "defined", "none", "iterable", "divisibleby(2)", "nosuch"])})`;
  }
}

function statement(random, depth = 3) {
  const inner = () => (depth === 0 ? "x" : statement(random, depth - 1));
  switch (random.below(9)) {
    case 0:
      return `{% for m in ${expression(random)} %}${inner()}{% if ${expression(random, 1)} %}{% break %}{% endif %}{% else %}${inner()}{% endfor %}`;
    case 1:
      return `{% if ${expression(random)} %}${inner()}{% elif ${expression(random, 1)} %}${inner()}{% else %}${inner()}{% endif %}`;
    case 2:
      return `{% set x = ${expression(random)} %}${inner()}`;
    case 3:
      return `{% set n = namespace(a='aa') %}{% for i in range(60) %}{% set n.a = n.a ${random.pick(["+", "~", "*"])} ${random.pick(["n.a", "2", "'b'"])} %}{% endfor %}`;
    case 4:
      return `{% macro f(a) %}{{ f(a + 1) if a < ${random.pick(["3", "1000000"])} else a }}{% endmacro %}{{ f(0) }}`;
    case 5:
      return `{% for a in range(100000) %}{% for b in range(100000) %}${random.chance(0.5) ? "{{ a }}" : ""}{% endfor %}{% endfor %}`;
    case 6:
      return `{% filter ${random.pick(FILTERS)} %}${inner()}{% endfilter %}`;
    default:
      return `{{ ${expression(random)} }}${inner()}`;
  }
}

function mutated(random) {
  let source = random.pick(REAL);
  for (let i = random.below(6); i >= 0; i--) {
    const at = random.below(source.length);
    const end = Math.min(source.length, at + random.below(60));
    const kind = random.below(4);
    if (kind === 0) source = source.slice(0, at) + source.slice(end);
    else if (kind === 1) source = source.slice(0, end) + source.slice(at);
    else if (kind === 2) source = source.slice(0, at) + random.text(100) + source.slice(end);
    else source = source.slice(0, at) + statement(random, 1) + source.slice(at);
  }
  return source;
}

const nested = (random) => {
  const [open, close] = random.pick([
    ["(", ")"],
    ["[", "]"],
    ["not ", ""],
    ["-", ""],
    ["{'a':", "}"],
  ]);
  const depth = random.pick([10, 100, 10_000, 100_000]);
  return `{{ ${open.repeat(depth)}1${close.repeat(depth)} }}`;
};

export async function createTemplates() {
  const text = await TextProcessor.create({
    kind: "files",
    files: { tokenizerJson: readTiny("llama3"), tokenizerConfig: { eos_token: "</s>" } },
  });
  return {
    async run(random) {
      const kind = random.below(10);
      const chatTemplate = kind === 0 ? nested(random) : kind < 5 ? mutated(random) : statement(random);
      const messages = random.chance(0.8)
        ? chat.chats[random.pick(Object.keys(chat.chats))]
        : randomMessages(random);
      const tools = random.chance(0.3) ? [{ name: random.text(), parameters: random.json() }] : undefined;
      await text.applyChatTemplate(messages, { chatTemplate, tools, maxTokens: 8192 });
    },
    dispose: () => text.dispose(),
  };
}
