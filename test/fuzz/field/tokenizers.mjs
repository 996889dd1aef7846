/** tokenizer.json and its companions with places changed, dropped and blown up; what can be loaded encodes and decodes hostile texts. */
import { setImmediate as nextTurn } from "node:timers/promises";
import { StreamingDetokenizer, TextProcessor } from "../../../dist/tokenizer/index.js";
import { readTiny, TINY_NAMES } from "./files.mjs";

const STEPS = [
  { type: "Replace", pattern: { String: "a" }, content: "aaaaaaaaaaaaaaaa" },
  { type: "Replace", pattern: { Regex: "(a+)+$" }, content: "b" },
  { type: "Replace", pattern: { Regex: "" }, content: "xx" },
  { type: "Prepend", prepend: "x".repeat(1_000) },
  { type: "NFKD" },
  { type: "Lowercase" },
  { type: "Strip", strip_left: true, strip_right: true },
];
const SPLITS = [
  "(a|aa)+b",
  "(x+x+)+y",
  "\\s+(?!\\S)|\\s+",
  "(?=(a+)+b)",
  "[^\\r\\n\\p{L}]?\\p{L}+|\\p{N}",
  "(.*)*x",
  "a{1000}{1000}",
];

/** Stands for values nested more deeply than JSON.stringify can write. */
const DEEP = "deeply nested";

function textOf(random, json) {
  const depth = random.pick([10, 1_000, 5_000, 200_000]);
  const deep = random.chance(0.5) ? ["[", "]"] : ['{"a":', "}"];
  return JSON.stringify(json).replace(`"${DEEP}"`, () => `${deep[0].repeat(depth)}1${deep[1].repeat(depth)}`);
}

function change(random, json) {
  const kind = random.below(6);
  if (kind === 0) {
    const normalizers = Array.from({ length: random.below(64) }, () => random.pick(STEPS));
    return { ...json, normalizer: { type: "Sequence", normalizers } };
  }
  if (kind === 1) {
    const pattern = { Regex: random.pick(SPLITS) };
    return {
      ...json,
      pre_tokenizer: { type: "Split", pattern, behavior: "Isolated", invert: random.chance(0.2) },
    };
  }
  if (kind === 2) {
    const count = random.below(3_000);
    const added = Array.from({ length: count }, (_, i) => ({
      id: 10_000 + i,
      content: `${"a".repeat(i % 500)}${i % 3 ? "b" : i}`,
      special: random.chance(0.3),
      normalized: random.chance(0.3),
      lstrip: random.chance(0.1),
      rstrip: random.chance(0.1),
      single_word: random.chance(0.1),
    }));
    return { ...json, added_tokens: [...(json.added_tokens ?? []), ...added] };
  }
  if (kind === 3)
    return { ...json, [random.pick(["unused", "normalizer", "decoder", "model", "truncation"])]: DEEP };
  if (kind === 4) {
    const content = random.pick(["aa", "a".repeat(1_000), ""]);
    const decoders = Array.from({ length: random.below(40) }, () => ({
      type: "Replace",
      pattern: { String: "a" },
      content,
    }));
    return { ...json, decoder: { type: "Sequence", decoders } };
  }
  return random.mutate(json);
}

export async function createTokenizers() {
  return {
    async run(random) {
      const json = change(random, readTiny(random.pick(TINY_NAMES)));
      const tokenizerConfig = random.mutate({
        eos_token: "</s>",
        bos_token: null,
        chat_template: "{{ messages }}",
        added_tokens_decoder: {},
      });
      const text = await TextProcessor.create({
        kind: "files",
        files: { tokenizerJson: textOf(random, json), tokenizerConfig: JSON.stringify(tokenizerConfig) },
      });
      try {
        const sample = random.chance(0.3)
          ? "a".repeat(random.pick([100, 8_192, 200_000]))
          : random.text(8_192);
        const ids = await text.encode(sample, { parseSpecialTokens: random.chance(0.5), timeout: 10_000 });
        // As answers come: a few tokens at a time.
        const stream = new StreamingDetokenizer(text.tokenizer);
        for (let i = 0; i < Math.min(ids.length, 1_000); i += 8) {
          for (const id of ids.subarray(i, i + 8)) stream.push(id);
          await nextTurn();
        }
        stream.flush();
        text.tokenizer.decode(ids.subarray(0, 8));
      } finally {
        await text.dispose();
      }
    },
    dispose: async () => {},
  };
}
