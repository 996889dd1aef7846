import { lstat, readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { hubCacheDirectory, modelCacheDirectory } from "./environment.js";
import { MODEL_ALIASES } from "./aliases.js";

/** A model that lies on this machine. */
export interface CachedModel {
  /** What `loadModel` takes. */
  name: string;
  /** Its folder: in the hub's cache, which other programs use, too, or in the package's own. */
  path: string;
  source: "hub" | "pypi";
  /** What it takes on the disk. */
  bytes: number;
}

const HUB_FOLDER = /^models--([\w.-]+)--([\w.-]+)$/;
const hubName = (folder: string): string | undefined => {
  const [, owner, name] = HUB_FOLDER.exec(folder) ?? [];
  return owner === undefined ? undefined : `hf:${owner}/${name}`;
};

/** Bytes of all files below; links count for nothing. Sizes of what goes away meanwhile are left out. */
async function folderBytes(path: string): Promise<number> {
  let bytes = 0;
  for (const entry of await readdir(path, { withFileTypes: true }).catch(() => [])) {
    const below = join(path, entry.name);
    if (entry.isDirectory()) bytes += await folderBytes(below);
    else if (entry.isFile()) bytes += (await lstat(below).catch(() => undefined))?.size ?? 0;
  }
  return bytes;
}

async function below(
  folder: string,
  source: CachedModel["source"],
  nameOf: (folder: string) => string | undefined,
): Promise<CachedModel[]> {
  const found: CachedModel[] = [];
  for (const entry of await readdir(folder, { withFileTypes: true }).catch(() => [])) {
    const name = nameOf(entry.name);
    if (name === undefined || !entry.isDirectory()) continue;
    const path = join(folder, entry.name);
    const bytes = await folderBytes(path);
    if (bytes > 0) found.push({ name, path, source, bytes });
  }
  return found;
}

/** Models in the caches, by name. Never rejects: a folder that cannot be read counts as empty. */
export async function cachedModels(): Promise<CachedModel[]> {
  const aliases = new Set(MODEL_ALIASES.map(({ name }) => name));
  const all = [
    ...(await below(modelCacheDirectory(), "pypi", (name) => (aliases.has(name) ? name : undefined))),
    ...(await below(hubCacheDirectory(), "hub", hubName)),
  ];
  return all.sort((a, b) => (a.name < b.name ? -1 : 1));
}

/** Deletes a model that `cachedModels` gave. Errors of the file system pass. */
export async function removeCachedModel({ path }: CachedModel): Promise<void> {
  await rm(path, { recursive: true, force: true });
}
