// The one list of native sources, for binding.gyp and CMakeLists.txt alike: what lies in the folders.
// Usage: node scripts/native-sources.mjs core|bindings|tests|bench|<instruction set> [prefix]
import { readdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { compiledApart } from "./instruction-sets.mjs";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");

const folders = compiledApart.map(({ name }) => ({ name, folder: `native/cpu/${name}` }));
const groups = {
  core: {
    folder: "native",
    skip: [...folders.map(({ folder }) => `${folder}/`), "native/bindings/", "native/cuda/"],
  },
  ...Object.fromEntries(folders.map(({ name, folder }) => [name, { folder, skip: [] }])),
  bindings: { folder: "native/bindings", skip: [] },
  tests: { folder: "test/native", skip: [] },
  bench: { folder: "bench/native", skip: ["bench/native/cuda/"] },
};

/** Paths of a group's sources, relative to the repository's root, in order. */
export function nativeSources(name) {
  const { folder, skip } = groups[name];
  return readdirSync(join(root, folder), { recursive: true })
    .map((file) => `${folder}/${file.replaceAll("\\", "/")}`)
    .filter((file) => file.endsWith(".cpp") && !skip.some((prefix) => file.startsWith(prefix)))
    .sort();
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [, , group, prefix = ""] = process.argv;
  if (!Object.hasOwn(groups, group)) {
    process.stderr.write(`Expected one of ${Object.keys(groups).join(", ")} for the group.\n`);
    process.exit(2);
  }
  process.stdout.write(
    nativeSources(group)
      .map((file) => prefix + file)
      .join("\n"),
  );
}
