// The layers of native/: what is further up may include what is further down, never the other way.
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";

const native = join(import.meta.dirname, "../../native");

/** Lowest first. Folders of one line may include each other. */
const LAYERS = [
  ["core"],
  ["quant", "ops"],
  ["formats"],
  ["backend"],
  ["decoder"],
  ["kv_cache"],
  ["lora"],
  ["model"],
  ["engine"],
  ["bindings"],
];
const levelOf = (folder: string): number => LAYERS.findIndex((names) => names.includes(folder));

/** Implementations of the ops see what the ops see, and the backend's contract; nothing below bindings sees them. */
const IMPLEMENTATIONS = ["cpu", "device", "cuda"];

function mayInclude(from: string, to: string): boolean {
  if (from === to) return true;
  if (IMPLEMENTATIONS.includes(from))
    return (from === "cuda" && to === "device") || (levelOf(to) >= 0 && levelOf(to) <= levelOf("backend"));
  return levelOf(to) >= 0 && levelOf(to) <= levelOf(from);
}

/** [including file, folder of the included one], of files in folders of native/. */
const includes = readdirSync(native, { recursive: true })
  .map((file) => file.toString().replaceAll("\\", "/"))
  .filter((file) => /^[a-z_]+\/.*\.(h|cpp|cu)$/.test(file))
  .flatMap((file) =>
    [...readFileSync(join(native, file), "utf8").matchAll(/^#include "([a-z_]+)\//gm)].map(
      ([, to]) => [file, to!] as const,
    ),
  )
  .filter(([, to]) => levelOf(to) >= 0 || IMPLEMENTATIONS.includes(to));

test("native folders include only what lies below them", () => {
  expect(includes.length).toBeGreaterThan(100);
  const wrong = includes.filter(([file, to]) => !mayInclude(file.split("/")[0]!, to));
  expect(wrong.map(([file, to]) => `${file} includes ${to}/`)).toEqual([]);
});

test("every folder of native has its layer", () => {
  const folders = readdirSync(native, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map(({ name }) => name);
  expect(folders.filter((name) => levelOf(name) < 0 && !IMPLEMENTATIONS.includes(name))).toEqual([]);
});
