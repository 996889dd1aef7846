import { createHash } from "node:crypto";
import { mkdir, readFile, readdir, realpath, rm, stat, utimes, writeFile } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import type { ModelFacts } from "../native/types.js";
import { hashFile, packedDirectory, type ResolvedModel } from "./sources/index.js";

// A packed file is named after what it holds: the content of the model's files and, for weights, the backend, its layout, and how the
// instruction set that calibrated them rounds. As reading all of a large model takes seconds, its hash is kept under the files' identity as the file system tells it.

/** Smaller models are packed in less time than it takes to look for them. */
const MIN_BYTES = 8 * 2 ** 20;
const DAY_MS = 24 * 3600 * 1000;
const UNUSED_DAYS = 30;
/** A file that changed so shortly ago may change again without its times telling. */
const SETTLED_MS = 2_000;

/** Paths of the files that keep a model as it is computed with; "" for none. */
export interface PackedModel {
  /** int8 weights, written and read by the engine. */
  weights: string;
  /** Tables of the tokenizer. */
  tokenizer: string;
}
const NONE: PackedModel = { weights: "", tokenizer: "" };

const sha256 = (text: string): string => createHash("sha256").update(text).digest("hex");

interface Identity {
  /** Of all files together, by path, device, inode, size and times. */
  key: string;
  bytes: number;
  /** Milliseconds since the epoch of the last change. */
  changed: number;
}

async function identify(files: string[]): Promise<Identity> {
  const facts: string[] = [];
  let bytes = 0;
  let changed = 0;
  for (const file of files) {
    const { dev, ino, size, mtimeNs, ctimeNs } = await stat(file, { bigint: true });
    facts.push([await realpath(file), dev, ino, size, mtimeNs, ctimeNs].join(" "));
    bytes += Number(size);
    changed = Math.max(changed, Number(mtimeNs / 1_000_000n), Number(ctimeNs / 1_000_000n));
  }
  return { key: sha256(facts.join("\n")), bytes, changed };
}

async function hashContent(files: string[], signal: AbortSignal): Promise<string> {
  const all = createHash("sha256");
  for (const file of files) all.update(`${basename(file)} ${await hashFile(file, signal)}\n`);
  return all.digest("hex");
}

async function contentOf(
  files: string[],
  identity: Identity,
  directory: string,
  signal: AbortSignal,
): Promise<string> {
  const memo = join(directory, "sources", identity.key);
  const known = await readFile(memo, "utf8").catch(() => "");
  if (/^[0-9a-f]{64}$/.test(known)) return known;
  const hash = await hashContent(files, signal);
  if (Date.now() - identity.changed > SETTLED_MS) {
    await mkdir(dirname(memo), { recursive: true, mode: 0o700 });
    await writeFile(memo, hash, { mode: 0o600 });
  }
  return hash;
}

/**
 * The files that keep a model; never rejects. `directory`: where the caller wants it, for models of any size;
 * undefined: the user's cache, for models that gain by it; false: nowhere. `packedWeightsId`: what weights depend on beside the model.
 */
export async function findPackedModel(
  resolved: ResolvedModel,
  directory: string | false | undefined,
  packedWeightsId: string,
  signal: AbortSignal,
): Promise<PackedModel> {
  if (directory === false) return NONE;
  const folder = directory ?? packedDirectory();
  try {
    const identity = await identify(resolved.files);
    if (directory === undefined && identity.bytes < MIN_BYTES) return NONE;
    await mkdir(folder, { recursive: true, mode: 0o700 });
    const content = await contentOf(resolved.files, identity, folder, signal);
    return {
      weights: join(folder, `${sha256(`${packedWeightsId} ${content}`)}.weights`),
      tokenizer: join(folder, `${content}.tokenizer`),
    };
  } catch {
    // A cache that cannot be kept, or a model that cannot be read, which the engine reports; an abort is seen by the caller.
    return NONE;
  }
}

/** Marks the files as used, and deletes what nobody has used for a month. Never fails. */
export async function tidyPackedModels(
  packed: PackedModel,
  state: ModelFacts["packedWeights"],
): Promise<void> {
  if (state === "none") return;
  const now = new Date();
  for (const path of [packed.weights, packed.tokenizer]) await utimes(path, now, now).catch(() => undefined);
  if (state === "restored") return;
  const folder = dirname(packed.weights);
  for (const below of [folder, join(folder, "sources")]) {
    for (const name of await readdir(below).catch(() => [])) {
      const ours = below !== folder || /^[0-9a-f]{64}\.(weights|tokenizer)(\.partial-.*)?$/.test(name);
      const file = join(below, name);
      const facts = ours ? await stat(file).catch(() => undefined) : undefined;
      if (facts?.isFile() && now.getTime() - facts.mtimeMs > UNUSED_DAYS * DAY_MS)
        await rm(file, { force: true }).catch(() => undefined);
    }
  }
}
