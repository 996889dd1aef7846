/** tokenizer.json and its neighbours in any shape: an error with a code, or a tokenizer that works; never anything else. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { LowrankError } from "#lib/errors/index.js";
import { Tokenizer } from "#lib/tokenizer/index.js";
import { readTiny } from "./golden.js";

const tiny = readTiny();
// eslint-disable-next-line @typescript-eslint/no-explicit-any -- JSON of any shape, to be damaged
type Json = Record<string, any>;
const base = (name = "gpt2"): Json => structuredClone(tiny.tokenizers[name]!.json);

const TOKENIZER_ERROR = expect.objectContaining({
  code: "ERR_TOKENIZER",
  message: expect.stringMatching(/^Expected .*, received .*\.|^Expected .*: .*\./s),
});

function changed(name: string, change: (json: Json) => void): Json {
  const json = base(name);
  change(json);
  return json;
}

describe("refused", () => {
  const cases: [string, unknown][] = [
    ["no JSON", "{"],
    ["bytes that are no JSON", Uint8Array.of(0xff, 0xfe)],
    ["a list", "[]"],
    ["null", "null"],
    ["no model", {}],
    ["a model that is a list", { model: [] }],
    ["another model", changed("gpt2", (json) => (json["model"].type = "WordPiece"))],
    ["no vocabulary", changed("gpt2", (json) => delete json["model"].vocab)],
    ["an id that is no number", changed("gpt2", (json) => (json["model"].vocab["x1"] = "7"))],
    ["a negative id", changed("gpt2", (json) => (json["model"].vocab["x1"] = -1))],
    ["a huge id", changed("gpt2", (json) => (json["model"].vocab["x1"] = 2 ** 31))],
    ["a fractional id", changed("gpt2", (json) => (json["model"].vocab["x1"] = 1.5))],
    ["two tokens of one id", changed("gpt2", (json) => (json["model"].vocab["x1"] = 5))],
    ["merges that are no list", changed("gpt2", (json) => (json["model"].merges = {}))],
    ["no merges", changed("gpt2", (json) => delete json["model"].merges)],
    ["a merge of three", changed("gpt2", (json) => json["model"].merges.push("a b c"))],
    ["a merge of unknown tokens", changed("gpt2", (json) => json["model"].merges.push(["zzz", "qqq"]))],
    ["a merge whose union is no token", changed("gpt2", (json) => json["model"].merges.push(["ÿ", "ÿ"]))],
    ["dropout", changed("gpt2", (json) => (json["model"].dropout = 0.5))],
    ["a suffix for the end of words", changed("gpt2", (json) => (json["model"].end_of_word_suffix = "</w>"))],
    ["an added token without content", changed("gpt2", (json) => json["added_tokens"].push({ id: 3000 }))],
    [
      "an added token with a huge id",
      changed("gpt2", (json) => json["added_tokens"].push({ id: 1e12, content: "new" })),
    ],
    [
      "an added token with another's id",
      changed("gpt2", (json) => json["added_tokens"].push({ id: 5, content: "new" })),
    ],
    ["added tokens that are no list", changed("gpt2", (json) => (json["added_tokens"] = "x"))],
    [
      "an unknown pre-tokenizer",
      changed("gpt2", (json) => (json["pre_tokenizer"] = { type: "BertPreTokenizer" })),
    ],
    ["a pre-tokenizer that is a number", changed("gpt2", (json) => (json["pre_tokenizer"] = 5))],
    [
      "a pre-tokenizer nested 1,000 deep",
      changed("gpt2", (json) => (json["pre_tokenizer"] = nested("pretokenizers", 1000))),
    ],
    [
      "a step after ByteLevel",
      changed(
        "gpt2",
        (json) =>
          (json["pre_tokenizer"] = {
            type: "Sequence",
            pretokenizers: [{ type: "ByteLevel" }, { type: "Digits" }],
          }),
      ),
    ],
    ["an unclosed group", changed("gpt2", (json) => (json["pre_tokenizer"] = split("(")))],
    ["a bad property", changed("gpt2", (json) => (json["pre_tokenizer"] = split("\\p{NoSuchThing}")))],
    [
      "a class nested 1,000 deep",
      changed("gpt2", (json) => (json["pre_tokenizer"] = split("[".repeat(1000) + "a" + "]".repeat(1000)))),
    ],
    ["a pattern of 1 MB", changed("gpt2", (json) => (json["pre_tokenizer"] = split("a".repeat(1 << 20))))],
    [
      "a pattern that is a number",
      changed(
        "gpt2",
        (json) => (json["pre_tokenizer"] = { type: "Split", pattern: { Regex: 5 }, behavior: "Isolated" }),
      ),
    ],
    [
      "an unknown behaviour",
      changed("gpt2", (json) => (json["pre_tokenizer"] = { ...split("a"), behavior: "Sometimes" })),
    ],
    [
      "an unknown normalizer",
      changed("gpt2", (json) => (json["normalizer"] = { type: "Precompiled", precompiled_charsmap: "" })),
    ],
    [
      "a normalizer nested 1,000 deep",
      changed("gpt2", (json) => (json["normalizer"] = nested("normalizers", 1000))),
    ],
    [
      "a replacement that is no string",
      changed(
        "gpt2",
        (json) => (json["normalizer"] = { type: "Replace", pattern: { String: "a" }, content: {} }),
      ),
    ],
    ["an unknown decoder", changed("gpt2", (json) => (json["decoder"] = { type: "CTC" }))],
    [
      "a post-processor with an id out of range",
      changed("llama3", (json) => (json["post_processor"].special_tokens["<s>"].ids = [1e9])),
    ],
    [
      "a post-processor without its tokens",
      changed("llama3", (json) => (json["post_processor"].special_tokens = {})),
    ],
    [
      "a post-processor without a sequence",
      changed("llama3", (json) => (json["post_processor"].single = [])),
    ],
    ["scores that are no numbers", changed("unigram", (json) => (json["model"].vocab[7][1] = "high"))],
    ["an unk_id out of range", changed("unigram", (json) => (json["model"].unk_id = 1e6))],
  ];
  test.each(cases)("%s", (_, tokenizerJson) => {
    expect(() => Tokenizer.fromFiles({ tokenizerJson: tokenizerJson as never })).toThrow(TOKENIZER_ERROR);
  });

  test.each([
    ["a configuration that is no JSON", { tokenizerConfig: "x" }],
    ["an end of text that is no id", { generationConfig: { eos_token_id: [2, "</s>"] } }],
    ["thousands of ends of text", { generationConfig: { eos_token_id: Array(5000).fill(2) } }],
    ["a template that is a number", { tokenizerConfig: { chat_template: 5 } }],
    ["a template that is too long", { chatTemplate: "x".repeat(1 << 19) }],
  ])("%s", (_, files) => {
    expect(() => Tokenizer.fromFiles({ tokenizerJson: base(), ...files })).toThrow(TOKENIZER_ERROR);
  });
});

const split = (pattern: string): Json => ({
  type: "Split",
  pattern: { Regex: pattern },
  behavior: "Isolated",
  invert: false,
});

function nested(key: string, depth: number): Json {
  let inner: Json = { type: "Sequence", [key]: [] };
  for (let i = 0; i < depth; ++i) inner = { type: "Sequence", [key]: [inner] };
  return inner;
}

test("Object.prototype stays as it is, and lends nothing", () => {
  const text = JSON.stringify(base()).replace(
    '"vocab":{',
    '"vocab":{"__proto__":9000,"constructor":9001,"toString":9002,',
  );
  const tokenizer = Tokenizer.fromFiles({
    tokenizerJson: text.replace(/^\{/, '{"__proto__":{"polluted":1},'),
    tokenizerConfig: '{"__proto__":{"bos_token":"<s>"}}',
  });
  expect(({} as Json)["polluted"]).toBeUndefined();
  expect(tokenizer.tokenToId("__proto__")).toBe(9000);
  expect(tokenizer.tokenToId("constructor")).toBe(9001);
  expect(tokenizer.tokenToId("hasOwnProperty")).toBeNull();
  expect(tokenizer.bosTokenId).toBeNull();
  expect(tokenizer.decode(tokenizer.encode("constructor __proto__"))).toBe("constructor __proto__");
});

test("merges in a circle come to an end", () => {
  // a + b -> ab, ab + a -> aba, … and the same pairs again: every merge shortens the word, so it ends.
  const vocab = { a: 0, b: 1, ab: 2, ba: 3, aba: 4, bab: 5, abab: 6 };
  const merges = [
    ["a", "b"],
    ["b", "a"],
    ["ab", "a"],
    ["a", "ba"],
    ["ab", "ab"],
    ["a", "b"],
    ["ba", "b"],
  ];
  const tokenizer = Tokenizer.fromFiles({ tokenizerJson: { model: { type: "BPE", vocab, merges } } });
  expect([...tokenizer.encode("ab".repeat(1000))].map((id) => tokenizer.idToToken(id)).join("")).toBe(
    "ab".repeat(1000),
  );
});

test("any damage to a tokenizer.json gives ERR_TOKENIZER or a working tokenizer", () => {
  const names = Object.keys(tiny.tokenizers);
  const junk = fc.oneof(
    fc.jsonValue({ maxDepth: 2 }),
    fc.constantFrom<unknown>(
      null,
      -1,
      1e308,
      "",
      "\u2581",
      [],
      {},
      [[]],
      { type: "Sequence" },
      { type: "Split" },
    ),
  );
  fc.assert(
    fc.property(
      fc.constantFrom(...names),
      fc.array(fc.tuple(fc.nat(), fc.nat(), fc.nat(), junk), { minLength: 1, maxLength: 3 }),
      fc.string({ unit: "binary" }),
      (name, damages, text) => {
        const json = base(name);
        for (const [first, second, third, value] of damages) {
          // Walk down up to three levels and put junk there.
          let place: Json = json;
          for (const step of [first, second]) {
            const keys = Object.keys(place);
            const next: unknown = keys.length > 0 ? place[keys[step % keys.length]!] : null;
            if (typeof next === "object" && next !== null && Object.keys(next).length > 0)
              place = next as Json;
          }
          const keys = Object.keys(place);
          place[keys[third % keys.length]!] = value;
        }
        try {
          const tokenizer = Tokenizer.fromFiles({ tokenizerJson: json });
          if (tokenizer.trusted) expect(typeof tokenizer.decode(tokenizer.encode(text))).toBe("string");
        } catch (error) {
          if (!LowrankError.isInstance(error)) throw error;
          expect(error.code).toBe("ERR_TOKENIZER");
        }
      },
    ),
    { numRuns: 1_500 },
  );
}, 300_000);
