import { mkdir, readdir, readFile, realpath, rename, rm, writeFile } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { LowrankError } from "../../errors/index.js";
import type { FileChecksum } from "./checked-file.js";
import { ownerTag } from "./file-lock.js";
import { downloadHubFile, type HubFile } from "./hub-download.js";
import { isHubOutage } from "./hub-errors.js";
import { findHubCommit, listHubFiles } from "./hub-listing.js";
import { connectToHub } from "./hub-fetch.js";
import { ggufFiles, ggufModels, requireAllParts } from "./gguf-parts.js";
import { missingOf, readModelFolder } from "./local-model.js";
import { MAX_INDEX_BYTES, SAFETENSORS_INDEX, selectMetadata, selectWeights } from "./model-files.js";
import type { ResolvedModel } from "./resolved-model.js";
import type { SourceContext } from "./source-context.js";

/** A model on the hub. */
export interface HubModel {
  /** `owner/name`. */
  repo: string;
  /** Branch, tag or commit. */
  revision: string;
  /** Path of a `.gguf` file in the repository, or of the first part of a split one; without it the repository is one model. */
  file?: string | undefined;
  /** What the file must be, where that is known beforehand. */
  checksum?: FileChecksum | undefined;
}

const COMMIT = /^[0-9a-f]{40}$/;

/** The folder of a repository in the hub's cache. */
export function hubStorage(repo: string, context: SourceContext): string {
  return join(context.hubCache, `models--${repo.replace("/", "--")}`);
}

/**
 * Resolves a model on the hub: from the cache without a request where a commit is asked for and complete, else by asking
 * the hub for the revision's commit and bringing over what the cache lacks. A hub that is down leaves the revision that
 * was downloaded before, which is reported.
 */
export async function resolveHubModel(model: HubModel, context: SourceContext): Promise<ResolvedModel> {
  const cached = await findCachedModel(model, context);
  if (cached && (context.offline || COMMIT.test(model.revision))) return cached;
  if (context.offline) {
    throw new LowrankError(
      "ERR_MODEL_NOT_FOUND",
      `Expected ${model.repo}@${model.revision} in the cache, as offline mode is on, received no complete copy. ` +
        `Tried: ${hubStorage(model.repo, context)}. Bring the files over (docs/models.md), or allow the network once: ` +
        "unset HF_HUB_OFFLINE or leave out options.offline.",
      { details: { name: `hf:${model.repo}`, tried: [hubStorage(model.repo, context)] } },
    );
  }
  try {
    return await downloadModel(model, context);
  } catch (error) {
    if (!cached || !isHubOutage(error)) throw error;
    context.onProgress?.({ stage: "fallback", source: "cache", reason: (error as Error).message });
    return cached;
  }
}

/** What lies in the hub's cache of a revision, if it can be used as it is. Sends no request. */
export async function findCachedModel(
  model: HubModel,
  context: SourceContext,
): Promise<ResolvedModel | undefined> {
  const storage = hubStorage(model.repo, context);
  const commit = COMMIT.test(model.revision) ? model.revision : await readRef(storage, model.revision);
  if (commit === undefined) return undefined;
  const snapshot = join(storage, "snapshots", commit);
  if (model.file !== undefined) {
    return cachedGguf(model, commit, join(snapshot, ...model.file.split("/")));
  }
  try {
    const folder = await readModelFolder(snapshot);
    // Weights come last in our own downloads; other programs fetch file by file, and may have left the tokenizer out.
    const complete = context.offline || folder.files.some((file) => basename(file) === "tokenizer.json");
    return complete ? { ...folder, name: model.repo, revision: commit } : undefined;
  } catch {
    const names = await readdir(snapshot).catch((): string[] => []);
    const [only, ...more] = ggufModels(names);
    if (only === undefined || more.length > 0 || names.includes("config.json")) return undefined;
    return cachedGguf(model, commit, join(snapshot, only));
  }
}

async function cachedGguf(model: HubModel, commit: string, path: string): Promise<ResolvedModel | undefined> {
  const files = ggufFiles(path);
  return (await missingOf(files)).length === 0 ? ggufModel(model, commit, files) : undefined;
}

/** Removes a cached file, and what its link in the snapshot leads to, so that it is downloaded anew. */
export async function discardCachedFile(path: string): Promise<void> {
  await rm(await realpath(path), { force: true });
  await rm(path, { force: true });
}

async function readRef(storage: string, revision: string): Promise<string | undefined> {
  const commit = await readFile(join(storage, "refs", ...revision.split("/")), "utf8").catch(() => "");
  return COMMIT.test(commit.trim()) ? commit.trim() : undefined;
}

function ggufModel({ repo }: HubModel, commit: string, files: string[]): ResolvedModel {
  return { kind: "gguf", path: files[0]!, name: repo, revision: commit, files };
}

async function downloadModel(model: HubModel, context: SourceContext): Promise<ResolvedModel> {
  await connectToHub(context);
  const storage = hubStorage(model.repo, context);
  const commit = COMMIT.test(model.revision)
    ? model.revision
    : await findHubCommit(model.repo, model.revision, context);
  const folder = model.file?.includes("/") ? dirname(model.file) : "";
  const listed = await listHubFiles(model.repo, commit, folder, context);
  const file = model.file ?? onlyGguf(model, listed);
  const resolved =
    file === undefined
      ? await downloadFolder(model, commit, listed, storage, context)
      : await downloadGguf(model, commit, file, listed, storage, context);
  // Last, so that the name never stands for a commit whose files are not all there.
  if (commit !== model.revision) await writeRef(storage, model.revision, commit);
  return resolved;
}

/** The GGUF file of a repository that holds nothing else to load; undefined for one with safetensors. */
function onlyGguf({ repo }: HubModel, listed: ReadonlyMap<string, HubFile>): string | undefined {
  const names = [...listed.keys()];
  if (names.includes("config.json") && names.some((name) => /\.safetensors$/.test(name))) return undefined;
  const files = ggufModels(names);
  if (files.length <= 1) return files[0];
  const shown = files.slice(0, 20).map((name) => `hf:${repo}/${name}`);
  throw new LowrankError(
    "ERR_MODEL_NOT_FOUND",
    `Expected one model in ${repo}, received ${files.length} GGUF files. Name one of them: ${shown.join(", ")}.`,
    { details: { name: `hf:${repo}`, files: files.slice(0, 100) } },
  );
}

async function downloadGguf(
  model: HubModel,
  commit: string,
  file: string,
  listed: ReadonlyMap<string, HubFile>,
  storage: string,
  context: SourceContext,
): Promise<ResolvedModel> {
  const entry = listed.get(file);
  if (!entry) throw missingFile(model, file);
  const { checksum } = model;
  if (checksum && (entry.size !== checksum.size || entry.checksum.hex !== checksum.sha256)) {
    throw new LowrankError(
      "ERR_DOWNLOAD",
      `Expected SHA-256 ${checksum.sha256} for ${model.repo}/${file}, received ${entry.checksum.hex} in the hub's list. ` +
        `The file was changed there; to use it as it is now write hf:${model.repo}/${file}.`,
      { details: { reason: "checksum", retryable: false } },
    );
  }
  const parts = ggufFiles(file);
  const missing = parts.filter((part) => !listed.has(part));
  requireAllParts(parts, missing, `hf:${model.repo}`);
  const files: string[] = [];
  for (const part of parts) files.push(await downloadHubFile(listed.get(part)!, storage, context));
  return ggufModel(model, commit, files);
}

async function downloadFolder(
  model: HubModel,
  commit: string,
  listed: ReadonlyMap<string, HubFile>,
  storage: string,
  context: SourceContext,
): Promise<ResolvedModel> {
  const names = [...listed.keys()];
  if (!names.includes("config.json")) throw missingFile(model, "config.json");
  const fetchFile = (name: string): Promise<string> => downloadHubFile(listed.get(name)!, storage, context);
  const readIndex = async (): Promise<string> => {
    if (listed.get(SAFETENSORS_INDEX)!.size > MAX_INDEX_BYTES) return ""; // refused as broken
    return readFile(await fetchFile(SAFETENSORS_INDEX), "utf8");
  };
  const weights = await selectWeights(names, readIndex, `hf:${model.repo}`);
  if (weights.length === 0) throw missingFile(model, "*.safetensors");
  const files: string[] = [];
  // One after another, weights last: where a weight file stands, everything before it does.
  for (const name of [...selectMetadata(names), ...weights]) files.push(await fetchFile(name));
  return { kind: "folder", path: dirname(files[0]!), name: model.repo, revision: commit, files };
}

function missingFile({ repo, revision }: HubModel, file: string): LowrankError {
  return new LowrankError(
    "ERR_MODEL_NOT_FOUND",
    `Expected ${file} in ${repo}@${revision}, received a repository without it. ` +
      "Name a repository with config.json and safetensors, or a file: hf:owner/name/file.gguf.",
    { details: { name: `hf:${repo}`, file } },
  );
}

async function writeRef(storage: string, revision: string, commit: string): Promise<void> {
  const path = join(storage, "refs", ...revision.split("/"));
  await mkdir(dirname(path), { recursive: true });
  const temporary = `${path}.${ownerTag()}`;
  await writeFile(temporary, commit);
  await rename(temporary, path);
}
