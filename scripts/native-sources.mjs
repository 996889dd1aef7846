// The one list of native sources, for binding.gyp and CMakeLists.txt alike: what lies in the folders.
// Usage: node scripts/native-sources.mjs core|avx2|avx512_vnni|bindings|tests|cuda-tests|bench [prefix]
import { readdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");

/** Folders, single files, and what in the folders belongs elsewhere. */
const groups = {
  core: {
    folders: ["native"],
    skip: ["native/cpu/avx2/", "native/cpu/avx512_vnni/", "native/bindings/", "native/cuda/"],
  },
  avx2: { folders: ["native/cpu/avx2"], skip: [] },
  avx512_vnni: { folders: ["native/cpu/avx512_vnni"], skip: [] },
  bindings: { folders: ["native/bindings"], skip: [] },
  tests: { folders: ["test/native"], skip: [] },
  "cuda-tests": {
    folders: ["test/cuda", "test/native/ops"],
    files: ["test/native/main.cpp"],
    skip: ["test/cuda/emulator/", "test/native/ops/available_backends.cpp"],
  },
  bench: { folders: ["bench/native"], skip: [] },
};

const group = groups[process.argv[2]];
if (!group) {
  process.stderr.write(`Expected one of ${Object.keys(groups).join(", ")} for the group.\n`);
  process.exit(2);
}
const files = group.folders
  .flatMap((folder) =>
    readdirSync(join(root, folder), { recursive: true }).map(
      (name) => `${folder}/${name.replaceAll("\\", "/")}`,
    ),
  )
  .concat(group.files ?? [])
  .filter((name) => name.endsWith(".cpp") && !group.skip.some((prefix) => name.startsWith(prefix)))
  .sort();
process.stdout.write(files.map((name) => (process.argv[3] ?? "") + name).join("\n"));
