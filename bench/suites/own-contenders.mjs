// This package as a contender, in processes that differ by what they have loaded.
import { fileURLToPath } from "node:url";
import { mergedModel } from "../python.mjs";

const script = fileURLToPath(new URL("../contenders/lowrank.mjs", import.meta.url));

const own = (name, file, adapter = "", env = {}) => ({
  name,
  command: process.execPath,
  args: (threads) => [script, file, String(threads), adapter],
  env,
});

/** By kind, a contender. adapter: a PEFT folder. */
const KINDS = {
  plain: ({ model }) => own("lowrank", model.file),
  adapters: ({ model, adapter }) => own("lowrank with adapters", model.file, adapter),
  merged: ({ model, adapter, log }) => own("lowrank, merged", mergedModel(model, adapter, log)),
  avx2: ({ model }) => own("lowrank, AVX2", model.file, "", { LOWRANK_ISA: "avx2" }),
};

/** The contenders of some kinds: what cannot be made, such as merged weights without Python, is missing with its reason. */
export function ownContenders(kinds, asked) {
  const contenders = [];
  const missing = [];
  for (const kind of kinds)
    try {
      contenders.push({ ...KINDS[kind](asked), kind });
    } catch (error) {
      missing.push({ name: `lowrank, ${kind}`, reason: error.message });
    }
  return { contenders, missing };
}
