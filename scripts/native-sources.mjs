// The one list of native sources, for binding.gyp and CMakeLists.txt alike: what lies in the folders.
// Usage: node scripts/native-sources.mjs core|avx2|avx_vnni|avx512vl_vnni|avx512_vnni|bindings|tests|bench [prefix]
import { readdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");

// Each compiled with flags of its own.
const INSTRUCTION_SETS = ["avx2", "avx_vnni", "avx512vl_vnni", "avx512_vnni"];

const groups = {
  core: {
    folder: "native",
    skip: [...INSTRUCTION_SETS.map((name) => `native/cpu/${name}/`), "native/bindings/", "native/cuda/"],
  },
  ...Object.fromEntries(INSTRUCTION_SETS.map((name) => [name, { folder: `native/cpu/${name}`, skip: [] }])),
  bindings: { folder: "native/bindings", skip: [] },
  tests: { folder: "test/native", skip: [] },
  bench: { folder: "bench/native", skip: ["bench/native/cuda/"] },
};

const group = groups[process.argv[2]];
if (!group) {
  process.stderr.write(`Expected one of ${Object.keys(groups).join(", ")} for the group.\n`);
  process.exit(2);
}
const files = readdirSync(join(root, group.folder), { recursive: true })
  .map((name) => `${group.folder}/${name.replaceAll("\\", "/")}`)
  .filter((name) => name.endsWith(".cpp") && !group.skip.some((prefix) => name.startsWith(prefix)))
  .sort();
process.stdout.write(files.map((name) => (process.argv[3] ?? "") + name).join("\n"));
