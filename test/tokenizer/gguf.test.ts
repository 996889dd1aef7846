/** Vocabularies as GGUF files hold them. The real ones are in exactness.test.ts. */
import { describe, expect, test } from "vitest";
import { IGNORED_KEYS } from "#lib/tokenizer/ignored-keys.js";
import { Tokenizer, type PackedStrings } from "#lib/tokenizer/index.js";
import { readTiny } from "./golden.js";

const tiny = readTiny();

interface BpeJson {
  model: { vocab: Record<string, number>; merges: string[][] };
  added_tokens: { id: number; content: string; special: boolean }[];
}

/** The key-values that llama.cpp's converter would write for a byte-level tokenizer.json. */
function byteLevelMetadata(name: string, pre: string): Record<string, unknown> {
  const { model, added_tokens } = tiny.tokenizers[name]!.json as unknown as BpeJson;
  const tokens: string[] = [];
  for (const [token, id] of Object.entries(model.vocab)) tokens[id] = token;
  const types = tokens.map(() => 1);
  for (const { id, content, special } of added_tokens) {
    tokens[id] = content;
    types[id] = special ? 3 : 4;
  }
  return {
    "general.architecture": "llama",
    "tokenizer.ggml.model": "gpt2",
    "tokenizer.ggml.pre": pre,
    "tokenizer.ggml.tokens": tokens,
    "tokenizer.ggml.token_type": types,
    "tokenizer.ggml.merges": model.merges.map((pair) => pair.join(" ")),
    "tokenizer.ggml.bos_token_id": 1,
    "tokenizer.ggml.eos_token_id": 2,
    "tokenizer.chat_template": "{{ messages }}",
  };
}

function pack(strings: string[]): PackedStrings {
  const parts = strings.map((text) => Buffer.from(text));
  const offsets = new Uint32Array(strings.length + 1);
  parts.forEach((part, i) => (offsets[i + 1] = offsets[i]! + part.length));
  return { bytes: new Uint8Array(Buffer.concat(parts)), offsets };
}

describe("gpt2: byte-level BPE", () => {
  test.each([
    ["gpt2_plain", "gpt-2"],
    ["smollm", "smollm"],
    ["llama3", "llama-bpe"],
    ["qwen2", "qwen2"],
    ["tekken", "tekken"],
  ])("%s by tokenizer.ggml.pre %s has the ids of its tokenizer.json", (name, pre) => {
    const tiny_name = name === "gpt2_plain" ? "gpt2" : name;
    const tokenizer = Tokenizer.fromGguf(byteLevelMetadata(tiny_name, pre));
    const { parsed } = tiny.tokenizers[tiny_name]!;
    tiny.texts.forEach((text, i) => {
      if (tiny_name === "gpt2" && /<mid>|<end>|word/.test(text)) return; // GGUF has no lstrip, rstrip, single_word
      expect(
        [...tokenizer.encode(text, { addSpecialTokens: false, parseSpecialTokens: true })],
        text,
      ).toEqual(parsed[i]);
    });
  });

  test("facts: begin and end of text, roles, template", () => {
    const tokenizer = Tokenizer.fromGguf(byteLevelMetadata("llama3", "llama-bpe"));
    expect([...tokenizer.encode("")]).toEqual([1]); // llama-bpe adds <s> unless told otherwise
    expect(tokenizer.eosTokenIds).toEqual([2, 4]);
    expect(tokenizer.specialTokens).toEqual({ bos_token: "<s>", eos_token: "</s>" });
    expect(tokenizer.chatTemplate).toBe("{{ messages }}");
    const told = {
      ...byteLevelMetadata("llama3", "llama-bpe"),
      "tokenizer.ggml.add_bos_token": false,
      "tokenizer.ggml.add_eos_token": true,
      "tokenizer.ggml.eot_token_id": 3n,
    };
    expect([...Tokenizer.fromGguf(told).encode("")]).toEqual([2]);
    expect(Tokenizer.fromGguf(told).eosTokenIds).toEqual([2, 3, 4]);
    expect([...Tokenizer.fromGguf(byteLevelMetadata("smollm", "smollm")).encode("")]).toEqual([]);
  });

  test("packed strings and typed arrays do as well as lists", () => {
    const metadata = byteLevelMetadata("smollm", "smollm");
    const packed = {
      ...metadata,
      "tokenizer.ggml.tokens": pack(metadata["tokenizer.ggml.tokens"] as string[]),
      "tokenizer.ggml.merges": pack(metadata["tokenizer.ggml.merges"] as string[]),
      "tokenizer.ggml.token_type": Float64Array.from(metadata["tokenizer.ggml.token_type"] as number[]),
    };
    const [lists, arrays] = [Tokenizer.fromGguf(metadata), Tokenizer.fromGguf(packed)];
    for (const text of tiny.texts) expect(arrays.encode(text)).toEqual(lists.encode(text));
  });
});

/** A SentencePiece vocabulary by hand: BPE with scores, byte tokens, runs of blanks as user-defined tokens. */
function sentencePiece(more: Record<string, unknown> = {}): Record<string, unknown> {
  const tokens: [string, number, number][] = [
    ["<unk>", 0, 2],
    ["<s>", 0, 3],
    ["</s>", 0, 3],
    ["<ab>", -1000, 3],
    ["  ", -1000, 4],
    ["   ", -1000, 4],
    ["\n\n", -1000, 4],
  ];
  for (let byte = 0; byte < 256; ++byte)
    tokens.push([`<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`, 0, 6]);
  ["▁a", "ab", "▁ab", "bc", "abc", "aa", "<ab", "b>"].forEach((token, i) => tokens.push([token, -i, 1]));
  for (const character of "▁abc<>0xA")
    if (!tokens.some(([token]) => token === character)) tokens.push([character, -1e6, 1]);
  return {
    "tokenizer.ggml.model": "llama",
    "tokenizer.ggml.tokens": tokens.map(([token]) => token),
    "tokenizer.ggml.scores": tokens.map(([, score]) => score),
    "tokenizer.ggml.token_type": tokens.map(([, , type]) => type),
    "tokenizer.ggml.bos_token_id": 1,
    "tokenizer.ggml.eos_token_id": 2,
    "tokenizer.ggml.unknown_token_id": 0,
    "tokenizer.ggml.add_space_prefix": false,
    "tokenizer.ggml.add_bos_token": false,
    ...more,
  };
}

describe("llama: SentencePiece BPE with scores", () => {
  const cut = (text: string, more = {}, options = {}): (string | null)[] => {
    const tokenizer = Tokenizer.fromGguf(sentencePiece(more));
    return [...tokenizer.encode(text, options)].map((id) => tokenizer.idToToken(id));
  };

  test("merges by score, then the leftmost", () => {
    expect(cut("abc")).toEqual(["abc"]); // ab (-1), then ab + c = abc (-4)
    expect(cut(" abc")).toEqual(["▁ab", "c"]); // ▁a (0), then ▁ab (-2) before bc (-3): nothing is left for abc
    expect(cut("aaa")).toEqual(["aa", "a"]);
    expect(cut("bcab")).toEqual(["bc", "ab"]);
  });

  test("the longest run of blanks goes first, then words", () => {
    expect(cut("   ab")).toEqual(["▁▁▁", "ab"]);
    expect(cut("    ab")).toEqual(["▁▁▁", "▁ab"]);
    expect(cut("a  b")).toEqual(["a", "▁▁", "b"]);
    expect(
      Tokenizer.fromGguf(sentencePiece()).decode(Tokenizer.fromGguf(sentencePiece()).encode("   ab")),
    ).toBe("   ab");
  });

  test("unknown characters fall back to bytes, and bytes make characters again", () => {
    expect(cut("é\n")).toEqual(["<0xC3>", "<0xA9>", "<0x0A>"]);
    expect(cut("\n\n")).toEqual(["\n\n"]);
    const tokenizer = Tokenizer.fromGguf(sentencePiece());
    expect(tokenizer.decode(tokenizer.encode("日本 é"))).toBe("日本 é");
  });

  test("text is never merged into control or byte tokens", () => {
    expect(cut("<ab>")).toEqual(["<ab", ">"]);
    expect(cut("<ab>", {}, { parseSpecialTokens: true })).toEqual(["<ab>"]);
    expect(cut("<0xA0>")).not.toContain("<0xA0>");
  });

  test("a blank before the text where the model wants one, taken off again", () => {
    const tokenizer = Tokenizer.fromGguf(
      sentencePiece({ "tokenizer.ggml.add_space_prefix": true, "tokenizer.ggml.add_bos_token": true }),
    );
    const ids = tokenizer.encode("ab");
    expect([...ids].map((id) => tokenizer.idToToken(id))).toEqual(["<s>", "▁ab"]);
    expect(tokenizer.decode(ids)).toBe("ab");
  });
});

describe("ids past the vocabulary", () => {
  const NONE = 4294967295;
  test.each(["padding_token_id", "unknown_token_id", "eot_token_id", "eom_token_id", "seperator_token_id"])(
    "%s: as if it were not there",
    (key) => {
      for (const metadata of [byteLevelMetadata("smollm", "smollm"), sentencePiece()]) {
        delete metadata[`tokenizer.ggml.${key}`];
        const tokenizer = Tokenizer.fromGguf({ ...metadata, [`tokenizer.ggml.${key}`]: NONE });
        const without = Tokenizer.fromGguf(metadata);
        expect(tokenizer.definition).toEqual(without.definition);
      }
    },
  );
  test.each(["bos_token_id", "eos_token_id"])("%s: an error that names the key", (key) => {
    expect(() =>
      Tokenizer.fromGguf({ ...byteLevelMetadata("smollm", "smollm"), [`tokenizer.ggml.${key}`]: NONE }),
    ).toThrow(expect.objectContaining({ code: "ERR_TOKENIZER", message: expect.stringContaining(key) }));
  });
});

describe("no key is silently unused", () => {
  const KEYS: Record<string, unknown[]> = {
    "tokenizer.ggml.model": ["t5"],
    "tokenizer.ggml.pre": ["qwen2", "no-such"],
    "tokenizer.ggml.tokens": [["a"]],
    "tokenizer.ggml.token_type": [undefined, [1]],
    "tokenizer.ggml.scores": [[1], undefined],
    "tokenizer.ggml.merges": [["a b c"], []],
    "tokenizer.ggml.bos_token_id": [2, undefined],
    "tokenizer.ggml.eos_token_id": [1, undefined],
    "tokenizer.ggml.eot_token_id": [5],
    "tokenizer.ggml.eom_token_id": [5],
    "tokenizer.ggml.unknown_token_id": [undefined, 1],
    "tokenizer.ggml.padding_token_id": [1],
    "tokenizer.ggml.add_bos_token": [true, "yes"],
    "tokenizer.ggml.add_eos_token": [true, 1],
    "tokenizer.ggml.add_space_prefix": [true, "yes"],
    "tokenizer.ggml.add_sep_token": [true],
    "tokenizer.ggml.remove_extra_whitespaces": [true],
    "tokenizer.ggml.precompiled_charsmap": [[1, 2]],
    "tokenizer.ggml.token_type_count": [2],
    "tokenizer.ggml.seperator_token_id": [1],
    "tokenizer.ggml.cls_token_id": [1],
    "tokenizer.ggml.mask_token_id": [1],
    "tokenizer.ggml.added_tokens": [["a"]],
    "tokenizer.huggingface.json": ["{}"],
    "tokenizer.chat_template": ["x"],
  };
  const TEXTS = ["a  b   <s>c", " é\n\nab ab 12345's", "日本<|im_end|>\u0001", "</s>"];
  const outcome = (metadata: Record<string, unknown>): string => {
    try {
      const tokenizer = Tokenizer.fromGguf(metadata);
      const { eosTokenIds, bosTokenId, specialTokens, chatTemplate } = tokenizer;
      const ids = TEXTS.map((text) => [...tokenizer.encode(text)]);
      return JSON.stringify([
        ids,
        eosTokenIds,
        bosTokenId,
        specialTokens,
        chatTemplate,
        tokenizer.decode(ids.flat()),
      ]);
    } catch (error) {
      expect(error).toMatchObject({ code: "ERR_TOKENIZER" });
      return "refused";
    }
  };

  test.each([
    ["gpt2", byteLevelMetadata("smollm", "smollm")],
    ["llama", sentencePiece()],
  ])("%s: a changed key changes what comes out, or is refused, or is on the list", (_, metadata) => {
    expect(Object.keys(metadata).filter((key) => key.startsWith("tokenizer.") && !(key in KEYS))).toEqual([]);
    const unchanged = outcome(metadata);
    for (const [key, values] of Object.entries(KEYS))
      if (values.every((value) => outcome({ ...metadata, [key]: value }) === unchanged))
        expect(Object.keys(IGNORED_KEYS), key).toContain(key);
  });
});

describe("bad metadata", () => {
  const good = byteLevelMetadata("smollm", "smollm");
  const bad: [string, Record<string, unknown>][] = [
    ["no model", { "tokenizer.ggml.model": undefined }],
    ["another kind", { "tokenizer.ggml.model": "bert" }],
    ["an unknown pre-tokenizer", { "tokenizer.ggml.pre": "no-such" }],
    ["a pre-tokenizer that is no string", { "tokenizer.ggml.pre": { toString: 1 } }],
    ["no tokens", { "tokenizer.ggml.tokens": [] }],
    ["tokens that are no strings", { "tokenizer.ggml.tokens": [1, 2] }],
    ["tokens that are no list", { "tokenizer.ggml.tokens": "abc" }],
    ["token types of another length", { "tokenizer.ggml.token_type": [1, 2] }],
    [
      "token types that are no numbers",
      { "tokenizer.ggml.token_type": (good["tokenizer.ggml.tokens"] as string[]).map(() => "x") },
    ],
    ["an id past the vocabulary", { "tokenizer.ggml.eos_token_id": 1e9 }],
    ["a negative id", { "tokenizer.ggml.bos_token_id": -1 }],
    ["an id that is no number", { "tokenizer.ggml.bos_token_id": "1" }],
    ["a merge of unknown tokens", { "tokenizer.ggml.merges": ["zzzz qqqq"] }],
    ["a merge that is no pair", { "tokenizer.ggml.merges": ["abc"] }],
    ["merges that are no strings", { "tokenizer.ggml.merges": [null] }],
    [
      "packed strings with falling offsets",
      { "tokenizer.ggml.tokens": { bytes: new Uint8Array(8), offsets: Uint32Array.of(0, 4, 2, 8) } },
    ],
    [
      "packed strings past their bytes",
      { "tokenizer.ggml.tokens": { bytes: new Uint8Array(8), offsets: Uint32Array.of(0, 4, 9) } },
    ],
    [
      "packed strings that do not begin at 0",
      { "tokenizer.ggml.tokens": { bytes: new Uint8Array(8), offsets: Uint32Array.of(1, 4) } },
    ],
    [
      "packed strings without offsets",
      { "tokenizer.ggml.tokens": { bytes: new Uint8Array(8), offsets: new Uint32Array(0) } },
    ],
    ["a template that is too long", { "tokenizer.chat_template": "x".repeat(1 << 19) }],
  ];
  test.each(bad)("%s", (_, change) => {
    expect(() => Tokenizer.fromGguf({ ...good, ...change })).toThrow(
      expect.objectContaining({
        code: "ERR_TOKENIZER",
        message: expect.stringMatching(/^Expected .*, received /s),
      }),
    );
  });

  test.each([
    ["no scores", { "tokenizer.ggml.scores": undefined }],
    ["too few scores", { "tokenizer.ggml.scores": [1] }],
    [
      "scores that are no numbers",
      { "tokenizer.ggml.scores": (sentencePiece()["tokenizer.ggml.tokens"] as string[]).map(() => NaN) },
    ],
  ])("%s", (_, change) => {
    expect(() => Tokenizer.fromGguf(sentencePiece(change))).toThrow(
      expect.objectContaining({ code: "ERR_TOKENIZER" }),
    );
  });

  test.each([null, undefined, 5])("metadata that is %s", (metadata) => {
    expect(() => Tokenizer.fromGguf(metadata as never)).toThrow(
      expect.objectContaining({ code: "ERR_TOKENIZER" }),
    );
  });
});
