/** Whatever a tokenizer's files and texts hold, work is linear, growth is bounded, and what is refused is refused with a code. */
import fc from "fast-check";
import { expressionPattern } from "#lib/tokenizer/split-pattern.js";
import { describe, expect, test } from "vitest";
import { AddedTokenMatcher, type AddedToken } from "#lib/tokenizer/added-tokens.js";
import { StreamingDetokenizer, TextProcessor, Tokenizer } from "#lib/tokenizer/index.js";
import { replaceMatches, replaceString } from "#lib/tokenizer/text-builder.js";
import { hashBytes } from "#lib/tokenizer/vocabulary.js";
import { readTiny } from "./golden.js";

// eslint-disable-next-line @typescript-eslint/no-explicit-any -- JSON of any shape, to be changed
type Json = Record<string, any>;
const tiny = readTiny();
const changed = (name: string, change: (json: Json) => void): Json => {
  const json: Json = structuredClone(tiny.tokenizers[name]!.json);
  change(json);
  return json;
};
const make = (name: string, change: (json: Json) => void = () => {}): Tokenizer =>
  Tokenizer.fromFiles({ tokenizerJson: changed(name, change) });
const code = (expected: string) => expect.objectContaining({ code: expected });
const timed = (work: () => unknown): number => {
  const started = performance.now();
  work();
  return performance.now() - started;
};

const added = (content: string, more: Json = {}): Json => ({
  id: 0,
  content,
  special: false,
  normalized: false,
  single_word: false,
  lstrip: false,
  rstrip: false,
  ...more,
});
/** Gives added tokens the ids behind those of the vocabulary. */
const add = (json: Json, tokens: Json[]): void => {
  for (const token of tokens) json["added_tokens"].push({ ...token, id: 905 + json["added_tokens"].length });
};
const doubling = (steps: number): Json => ({
  type: "Sequence",
  normalizers: Array.from({ length: steps }, () => ({
    type: "Replace",
    pattern: { String: "a" },
    content: "aa",
  })),
});

describe("added tokens", () => {
  const token = (content: string, id: number): AddedToken => ({
    id,
    content,
    special: false,
    normalized: null,
    singleWord: false,
    lstrip: false,
    rstrip: false,
  });

  test("the leftmost match, then the longest, for any tokens and text", () => {
    const unit = fc.constantFrom("a", "b", "ab", "c", "\u{1f600}", "\u{1f601}");
    const string = fc.array(unit, { minLength: 1, maxLength: 6 }).map((parts) => parts.join(""));
    fc.assert(
      fc.property(
        fc.uniqueArray(string, { maxLength: 12 }),
        fc.array(unit, { maxLength: 60 }),
        (list, parts) => {
          const text = parts.join("");
          const expected: [number, number][] = [];
          for (let at = 0; at < text.length;) {
            const longest = Math.max(
              0,
              ...list.filter((each) => text.startsWith(each, at)).map((each) => each.length),
            );
            if (longest > 0) expected.push([at, at + longest]);
            at += longest || 1;
          }
          const found = new AddedTokenMatcher(list.map(token))
            .split(text, () => true)
            .filter((section) => section.token !== null);
          expect(found.map(({ start, end }) => [start, end])).toEqual(expected);
          for (const { start, end, token } of found) expect(text.slice(start, end)).toBe(token!.content);
        },
      ),
      { numRuns: 2_000 },
    );
  });

  test("matches across the windows in which a long text is scanned", () => {
    const matcher = new AddedTokenMatcher([token("<|end|>", 1), token("x".repeat(70_000), 2)]);
    for (let shift = 65_520; shift < 65_545; ++shift) {
      const text = `${"-".repeat(shift)}<|end|>${"-".repeat(70_000)}${"x".repeat(70_001)}`;
      const found = matcher.split(text, () => true).filter((section) => section.token !== null);
      expect(found.map(({ start, token }) => [start, token!.id])).toEqual([
        [shift, 1],
        [shift + 70_007, 2],
      ]);
    }
  });

  test("1,000 tokens a…ab on a text of a: linear", () => {
    const tokenizer = make("gpt2", (json) =>
      add(
        json,
        Array.from({ length: 1_000 }, (_, i) => added(`${"a".repeat(i + 1)}b`)),
      ),
    );
    expect(timed(() => tokenizer.encode("a".repeat(8_192)))).toBeLessThan(2_000);
    expect(timed(() => tokenizer.encode("a".repeat(1_000_000)))).toBeLessThan(10_000);
  });

  test("tokens that swallow white space, in a text of nothing else: linear", () => {
    const tokenizer = make("gpt2", (json) => add(json, [added("\n", { lstrip: true, rstrip: true })]));
    expect(timed(() => tokenizer.encode("\n ".repeat(300_000)))).toBeLessThan(5_000);
  });

  test("too many characters of them together are refused", () => {
    const tokens = Array.from({ length: 3_000 }, (_, i) => added(`${"a".repeat(i + 1)}b`));
    expect(() => make("gpt2", (json) => add(json, tokens))).toThrow(code("ERR_TOKENIZER"));
  });
});

describe("a normalizer that makes texts longer", () => {
  test("is stopped before it has", () => {
    const tokenizer = make("gpt2", (json) => (json["normalizer"] = doubling(40)));
    expect(tokenizer.trusted).toBe(false);
    for (const text of ["a", "a".repeat(8_192), "a b ".repeat(10_000)])
      expect(
        timed(() => expect(() => tokenizer.encode(text)).toThrow(code("ERR_INVALID_ARGUMENT"))),
      ).toBeLessThan(2_000);
    const kept = make("gpt2", (json) => (json["normalizer"] = doubling(3)));
    expect(kept.encode("abc")).toEqual(make("gpt2").encode("aaaaaaaabc"));
  });

  test("is stopped when it is given the added tokens", () => {
    const tokens = Array.from({ length: 60 }, (_, i) => added(`${"a".repeat(i + 1)}b`, { normalized: true }));
    const build = (): unknown =>
      make("gpt2", (json) => {
        json["normalizer"] = doubling(40);
        add(json, tokens);
      });
    expect(timed(() => expect(build).toThrow(code("ERR_TOKENIZER")))).toBeLessThan(2_000);
  });

  test.each([
    ["NFKD", "\ufdfa"],
    ["NFKC", "\ufdfa"],
    ["NFD", "\u0390"],
  ])("%s of a text that it makes too long", (type, character) => {
    const tokenizer = make("gpt2", (json) => (json["normalizer"] = { type }));
    expect(() => tokenizer.encode(character.repeat(12_000_000))).toThrow(code("ERR_INVALID_ARGUMENT"));
  });

  test("replacing is what JavaScript does, across the windows in which a long text is searched", () => {
    const part = fc.constantFrom("a", "ab", "aba", " ", "b", "\u2581");
    fc.assert(
      fc.property(fc.array(part, { maxLength: 30 }), part, fc.string({ maxLength: 3 }), (parts, from, to) => {
        const text = parts.join("").repeat(20);
        expect(replaceString(text, from, to, Infinity)).toBe(text.replaceAll(from, () => to));
      }),
    );
    for (let shift = 65_500; shift < 65_560; ++shift) {
      const text = `${"-".repeat(shift)}abcab${"-".repeat(100)}abc`;
      expect(replaceString(text, "abc", "x", Infinity)).toBe(text.replaceAll("abc", "x"));
    }
    expect(replaceString("aXbX", "X", "yy", 6)).toBe("ayybyy");
    expect(replaceString("aXbX", "X", "yy", 5)).toBeNull();
    expect(replaceMatches("aXbX", expressionPattern(/X/gu), "yy", 5)).toBeNull();
    expect(replaceMatches("baaac", expressionPattern(/a*/gu), "-", 99)).toBe("-b-c-"); // as Rust: no empty match behind a match
  });
});

describe("a decoder that makes tokens longer", () => {
  const replacing = (from: string, to: string, steps: number): Json => ({
    type: "Sequence",
    decoders: Array.from({ length: steps }, () => ({
      type: "Replace",
      pattern: { String: from },
      content: to,
    })),
  });

  test("is refused where a token would become too long", () => {
    const build = (): unknown => make("llama2", (json) => (json["decoder"] = replacing("e", "ee", 40)));
    expect(timed(() => expect(build).toThrow(code("ERR_TOKENIZER")))).toBeLessThan(2_000);
    const kept = make("llama2", (json) => (json["decoder"] = replacing("e", "ee", 2)));
    expect(kept.decode([kept.tokenToId("e")!])).toBe("eeee");
  });

  test("ids whose text is too long are refused, as are lists that are none", () => {
    const long = "x".repeat(60_000);
    const tokenizer = make("gpt2", (json) => add(json, [added(long)]));
    const id = tokenizer.tokenToId(long)!;
    expect(tokenizer.decode([id, id])).toHaveLength(120_000);
    expect(() => tokenizer.decode(new Int32Array(5_000).fill(id))).toThrow(code("ERR_INVALID_ARGUMENT"));
    for (const ids of [{ length: -1 }, { length: 1e12 }, { length: "x" }, null, 5])
      expect(() => tokenizer.decode(ids as never)).toThrow(code("ERR_INVALID_ARGUMENT"));
    const stream = new StreamingDetokenizer(tokenizer);
    for (let i = 0; i < 2_000; ++i) expect(stream.push(id)).toHaveLength(60_000);
  });
});

describe("models", () => {
  test.each([
    ["gpt2", "<"],
    ["llama2", "a"],
    ["llama2", "日"],
    ["unigram", "a"],
  ])("%s: one word of 8 million %s is refused, one of a million is not", (name, character) => {
    const tokenizer = make(name);
    expect(() => tokenizer.encode(character.repeat(8_000_000))).toThrow(code("ERR_INVALID_ARGUMENT"));
    expect(tokenizer.encode(character.repeat(1_000_000)).length).toBeGreaterThan(1_000);
  });

  test("millions of characters that one pattern matches: ids, or a refusal", () => {
    for (const [name, character] of [
      ["gpt2", "日"],
      ["word_level", "日"],
      ["punctuation", "\u0301"],
    ] as const)
      for (const count of [1 << 20, 1 << 22, 1 << 24]) {
        const tokenizer = make(name);
        try {
          expect(tokenizer.encode(character.repeat(count)).length).toBeGreaterThan(0);
        } catch (error) {
          expect(error).toEqual(code("ERR_INVALID_ARGUMENT"));
          expect(count).toBeGreaterThan(1 << 20);
        }
      }
  }, 60_000);

  test("16 million separate tokens", () => {
    const ids = make("gpt2", (json) => add(json, [added("\n")])).encode("\n".repeat(1 << 24));
    expect(ids).toHaveLength(1 << 24);
  }, 60_000);

  test("a Unigram model of long tokens is linear, and bounded", () => {
    const long = (to: number) => (json: Json) => {
      for (let i = 2; i <= to; ++i) json["model"].vocab.push(["a".repeat(i), -3 - i]);
    };
    const tokenizer = make("unigram", long(512));
    expect(tokenizer.trusted).toBe(false);
    expect(timed(() => tokenizer.encode("a".repeat(8_192)))).toBeLessThan(2_000);
    expect(() => make("unigram", long(513))).toThrow(code("ERR_TOKENIZER"));
  });

  test("a vocabulary whose tokens collide in the hash table is refused", () => {
    const slot = (text: string): number => {
      let hash = hashBytes(Buffer.from(text), 0, text.length);
      hash = Math.imul(hash ^ (hash >>> 15), 0x2c1b3c6d);
      return (hash ^ (hash >>> 13)) & 1023;
    };
    const tokens: string[] = [];
    for (let i = 0; tokens.length < 400; ++i) if (slot(`t${i}`) === 7) tokens.push(`t${i}`);
    const vocab = Object.fromEntries(tokens.map((token, id) => [token, id]));
    expect(() =>
      Tokenizer.fromFiles({ tokenizerJson: { model: { type: "BPE", vocab, merges: [] } } }),
    ).toThrow(code("ERR_TOKENIZER"));
  });

  const HOSTILE = [
    "a",
    "ab",
    "<",
    " ",
    "\n",
    "日",
    "\u{1f600}",
    "1",
    "!",
    "A",
    "\u0301",
    "'s",
    " \n",
    "\u2581",
    "\ufdfa",
  ];
  test.each(Object.keys(tiny.tokenizers))(
    "%s: 8,192 characters take little time where it is trusted",
    (name) => {
      const tokenizer = make(name);
      if (!tokenizer.trusted)
        return expect(["metaspace", "other_pattern", "unigram", "unigram_bytes"]).toContain(name);
      const texts = HOSTILE.map((part) => part.repeat(8_192 / part.length).slice(0, 8_192));
      for (const text of texts) tokenizer.encode(text);
      for (const text of texts)
        expect(
          Math.min(
            timed(() => tokenizer.encode(text)),
            timed(() => tokenizer.encode(text)),
          ),
        ).toBeLessThan(250);
    },
  );

  test("many steps make a tokenizer one for the worker", () => {
    const pretokenizers = Array.from({ length: 20 }, () => ({
      type: "Split",
      pattern: { String: "a" },
      behavior: "Isolated",
      invert: false,
    }));
    expect(
      make("word_level", (json) => (json["pre_tokenizer"] = { type: "Sequence", pretokenizers })).trusted,
    ).toBe(false);
  });

  test("a post-processor of a million pieces", () => {
    for (const piece of [{ Sequence: { id: "A" } }, { SpecialToken: { id: "<s>" } }])
      expect(() =>
        make("llama3", (json) => (json["post_processor"].single = Array(1_000_000).fill(piece))),
      ).toThrow(code("ERR_TOKENIZER"));
  });
});

describe("unused keys", () => {
  const deep = (depth: number): string => `${'{"x":'.repeat(depth)}1${"}".repeat(depth)}`;
  const PLACES = [
    ["at the top", (text: string, value: string) => text.replace(/^\{/, `{"unused":${value},`)],
    [
      "in the model",
      (text: string, value: string) => text.replace('"model":{', `"model":{"unused":${value},`),
    ],
    [
      "in a pre-tokenizer",
      (text: string, value: string) =>
        text.replace('"pre_tokenizer":{', `"pre_tokenizer":{"unused":${value},`),
    ],
    [
      "in a normalizer",
      (text: string, value: string) => text.replace('"normalizer":{', `"normalizer":{"unused":${value},`),
    ],
    [
      "in a decoder",
      (text: string, value: string) => text.replace('"decoder":{', `"decoder":{"unused":${value},`),
    ],
    [
      "in an added token",
      (text: string, value: string) =>
        text.replace('"added_tokens":[{', `"added_tokens":[{"unused":${value},`),
    ],
  ] as const;

  test.each(PLACES)("%s: 3,000 and 300,000 nested objects change nothing", async (_, put) => {
    const text = JSON.stringify(tiny.tokenizers["qwen2"]!.json);
    const plain = Tokenizer.fromFiles({ tokenizerJson: text });
    for (const depth of [3_000, 300_000]) {
      const tokenizerJson = put(text, deep(depth));
      expect(tokenizerJson.length).toBeGreaterThan(text.length);
      const started = performance.now();
      await using processor = await TextProcessor.create({ kind: "files", files: { tokenizerJson } });
      expect(processor.tokenizer.encode("Hello é")).toEqual(plain.encode("Hello é"));
      expect((await processor.encode("Hello é ".repeat(5_000))).length).toBeGreaterThan(5_000);
      expect(processor.tokenizer.definition).toEqual(plain.definition);
      expect(performance.now() - started).toBeLessThan(20_000);
    }
  });

  test("nested objects where a value belongs are refused", () => {
    const text = JSON.stringify(tiny.tokenizers["qwen2"]!.json);
    for (const key of ["added_tokens", "pre_tokenizer", "normalizer", "decoder", "post_processor", "model"])
      expect(() =>
        Tokenizer.fromFiles({
          tokenizerJson: text.replace(/^\{/, "{").replace(`"${key}":`, `"${key}":${deep(300_000)},"old":`),
        }),
      ).toThrow(code("ERR_TOKENIZER"));
  });
});
