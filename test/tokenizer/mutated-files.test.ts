/**
 * No key of a tokenizer's files is silently unused: with each of them changed in turn, the ids and texts are those of Hugging Face's
 * library (test/golden/make_tokenizer_mutations.py), or the file is refused.
 */
import { readFileSync } from "node:fs";
import { gunzipSync } from "node:zlib";
import { describe, expect, test } from "vitest";
import { LowrankError } from "#lib/errors/index.js";
import { IGNORED_KEYS } from "#lib/tokenizer/ignored-keys.js";
import { Tokenizer } from "#lib/tokenizer/index.js";
import { readTiny } from "./golden.js";

type Json = Record<string | number, unknown>;

interface Mutation {
  file: "none" | "tokenizer.json" | "tokenizer_config.json";
  tokenizer: string;
  path: (string | number)[];
  /** Left out: the key is removed. */
  value?: unknown;
  outcome: number;
}

interface Outcome {
  ids: number[][];
  texts: string[];
  error?: string;
}

const { texts, config, outcomes, cases } = JSON.parse(
  gunzipSync(readFileSync(new URL("../golden/data/tokenizer/mutations.json.gz", import.meta.url))).toString(),
) as { texts: string[]; config: Json; outcomes: Outcome[]; cases: Mutation[] };
const tiny = readTiny();

/** Where we differ from the library on purpose: the beginning of what is found, and the reason. */
const DIFFERENCES: [RegExp, string][] = [
  [
    /^tokenizer\.json: added_tokens = (undefined|null): the library refuses/,
    "A file without added tokens is complete; transformers alone asks for the key, the Rust library does not.",
  ],
  [
    /^tokenizer\.json: added_tokens\.\d\.single_word = undefined: the library refuses/,
    "A flag that is left out is false.",
  ],
  [
    /^tokenizer\.json: normalizer = \{"type":"Strip".*: the library refuses it \(PanicException\)/,
    "A fault of the library.",
  ],
  [
    /^tokenizer\.json: pre_tokenizer = \{"type":"Metaspace",.*"add_prefix_space":false\}: the library refuses/,
    "Files from before prepend_scheme have no other way to say it.",
  ],
  [
    /^tokenizer\.json: added_tokens\.(1\.normalized = true|5\.content = "<\/s>"|5\.special = true): text/,
    "The library shows a control token that its normalizer changes; here none is shown.",
  ],
  [
    /^tokenizer_config\.json: additional_special_tokens = \["New York"\]: text/,
    "The library shows a control token that its normalizer changes; here none is shown.",
  ],
  [
    /^tokenizer\.json: (added_tokens\.1\.single_word = true|normalizer\.content = "<\/s>"): ids/,
    "A Unigram model of the library makes control tokens of text that was not to be parsed.",
  ],
];

function changed(json: Json, mutation: Mutation): Json {
  const copy = structuredClone(json);
  let place = copy;
  for (const key of mutation.path.slice(0, -1)) place = place[key] as Json;
  const last = mutation.path.at(-1)!;
  if ("value" in mutation) place[last] = mutation.value;
  else if (Array.isArray(place)) place.splice(last as number, 1);
  else delete place[last];
  return copy;
}

function ours(mutation: Mutation): Outcome | LowrankError {
  const { json } = tiny.tokenizers[mutation.tokenizer]!;
  try {
    const tokenizer = Tokenizer.fromFiles({
      tokenizerJson: mutation.file === "tokenizer.json" ? changed(json, mutation) : json,
      tokenizerConfig: mutation.file === "tokenizer_config.json" ? changed(config, mutation) : config,
    });
    const ids = texts.map((text) => [...tokenizer.encode(text, { parseSpecialTokens: true })]);
    return { ids, texts: ids.map((row) => tokenizer.decode(row)) };
  } catch (error) {
    if (LowrankError.isInstance(error)) return error;
    throw error;
  }
}

const differences: string[] = [];

describe.each([...new Set(cases.map(({ tokenizer }) => tokenizer))])("%s", (name) => {
  test("each key changed in turn", () => {
    const wrong: string[] = [];
    const [unchanged] = cases
      .filter(({ tokenizer, file }) => tokenizer === name && file === "none")
      .map(({ outcome }) => JSON.stringify(outcomes[outcome]));
    for (const mutation of cases.filter(({ tokenizer }) => tokenizer === name)) {
      const theirs = outcomes[mutation.outcome]!;
      const mine = ours(mutation);
      const where = `${mutation.file}: ${mutation.path.join(".")} = ${JSON.stringify(mutation.value)}`;
      if (LowrankError.isInstance(mine)) {
        if (mine.code !== "ERR_TOKENIZER") wrong.push(`${where}: ${mine.message}`);
      } else if (theirs.error !== undefined) {
        // What the library refuses may be taken here where the value, or its absence, changes nothing.
        if (JSON.stringify(mine) !== unchanged)
          wrong.push(`${where}: the library refuses it (${theirs.error})`);
      } else {
        const ids = texts.findIndex((_, i) => mine.ids[i]!.join() !== theirs.ids[i]!.join());
        const decoded = texts.findIndex((_, i) => mine.texts[i] !== theirs.texts[i]);
        if (ids >= 0) wrong.push(`${where}: ids ${mine.ids[ids]!.join()} for ${theirs.ids[ids]!.join()}`);
        else if (decoded >= 0)
          wrong.push(`${where}: text ${mine.texts[decoded]} for ${theirs.texts[decoded]}`);
      }
    }
    expect(wrong.filter((each) => !DIFFERENCES.some(([pattern]) => pattern.test(each)))).toEqual([]);
    differences.push(...wrong);
  });
});

test("each difference on the list is one", () => {
  for (const [pattern] of DIFFERENCES)
    expect(
      differences.some((each) => pattern.test(each)),
      String(pattern),
    ).toBe(true);
});

test("the keys of tokenizer_config.json that are on the list of ignored ones change nothing", () => {
  const listed = Object.keys(IGNORED_KEYS).flatMap(
    (key) => /^tokenizer_config\.json: (\w+)$/.exec(key)?.[1] ?? [],
  );
  expect(listed.length).toBeGreaterThan(10);
  for (const key of listed) {
    const changes = cases.filter(({ file, path }) => file === "tokenizer_config.json" && path[0] === key);
    expect(changes.length, key).toBeGreaterThan(0);
    for (const change of changes) {
      const unchanged = cases.find(
        ({ file, tokenizer }) => file === "none" && tokenizer === change.tokenizer,
      )!;
      const mine = ours(change);
      if (!LowrankError.isInstance(mine)) expect(mine.ids, key).toEqual(outcomes[unchanged.outcome]!.ids);
    }
  }
});
