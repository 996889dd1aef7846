/** Reads what test/golden/make_patterns.py wrote. */
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { gunzipSync } from "node:zlib";

const read = (name: string): unknown =>
  JSON.parse(
    gunzipSync(readFileSync(new URL(`../golden/data/patterns/${name}.json.gz`, import.meta.url))).toString(),
  );

export interface OnigurumaGolden {
  texts: string[];
  /** Name, pattern, six digits of the digest of the pieces of each text. */
  families: [string, string, string][];
  /** Pattern, text, digest of the text with its matches replaced by U+0001 and of its pieces. */
  cases: [string, string, string][];
  /** First and last code point. */
  ranges: [number, number][];
  /** Class, digest of its members in the ranges. */
  classes: [string, string][];
}

export const readOniguruma = (): OnigurumaGolden => read("oniguruma") as OnigurumaGolden;

/** Pattern, name, outcome of re.fullmatch, of PEFT's re.match: 1 for a match, 0 for none, -1 for no pattern. */
export type PythonCase = [string, string, number, number];

export const readPython = (): PythonCase[] => (read("python") as { cases: PythonCase[] }).cases;

export const digest = (values: Iterable<number>): string =>
  createHash("sha1")
    .update([...values].join(","))
    .digest("hex")
    .slice(0, 8);
