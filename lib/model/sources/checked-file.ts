import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { mkdir, open, readFile, realpath, rename, stat, writeFile } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { ownerTag } from "./file-lock.js";
import { progressMeter } from "./progress.js";
import type { SourceContext } from "./source-context.js";

/** What a file must be, byte for byte. */
export interface FileChecksum {
  /** Lower-case hex. */
  sha256: string;
  /** Bytes. */
  size: number;
}

/** Block in which files are read to be hashed, in bytes. */
export const READ_BYTES = 1024 * 1024;

/** SHA-256 of a file in lower-case hex, read in blocks of 1 MiB. */
export async function hashFile(
  path: string,
  signal: AbortSignal | undefined,
  onBytes: (bytes: number) => void = () => {},
): Promise<string> {
  const hash = createHash("sha256");
  let bytes = 0;
  for await (const block of createReadStream(path, { highWaterMark: READ_BYTES, signal })) {
    hash.update(block as Buffer);
    onBytes((bytes += (block as Buffer).length));
  }
  return hash.digest("hex");
}

/** Size of the regular file at `path` (symbolic links are followed), or undefined where there is none. */
export async function fileSize(path: string): Promise<number | undefined> {
  try {
    const found = await stat(path);
    return found.isFile() ? found.size : undefined;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "ENOENT" || code === "ENOTDIR") return undefined;
    throw error;
  }
}

/**
 * True if the file at `path` is the one that `checksum` names. The whole file is hashed once; the result is recorded in
 * the model cache with the file's size, inode and time of change, and is trusted for as long as these stay the same.
 */
export async function isCheckedFile(
  path: string,
  checksum: FileChecksum,
  context: SourceContext,
): Promise<boolean> {
  if ((await fileSize(path)) !== checksum.size) return false;
  const state = await fileState(path);
  const record = join(context.modelCache, ".checked", `${checksum.sha256}.json`);
  if ((await readFile(record, "utf8").catch(() => "")) === state) return true;
  const meter = progressMeter(context.onProgress, "verify", basename(path), checksum.size);
  if ((await hashFile(path, context.signal, meter)) !== checksum.sha256) return false;
  if ((await fileState(path)) !== state) return false; // it changed under the hash
  // Without the record the file is only hashed again the next time, so a cache that cannot be written is no error.
  await writeRecord(record, state).catch(() => {});
  return true;
}

/** Records that the file at `path`, which was hashed while it was written, is the one that `sha256` names. */
export async function recordCheckedFile(path: string, sha256: string, context: SourceContext): Promise<void> {
  await writeRecord(join(context.modelCache, ".checked", `${sha256}.json`), await fileState(path));
}

async function fileState(path: string): Promise<string> {
  const target = await realpath(path);
  const { size, mtimeNs, ctimeNs, ino } = await stat(target, { bigint: true });
  return JSON.stringify({
    path: target,
    size: `${size}`,
    mtimeNs: `${mtimeNs}`,
    ctimeNs: `${ctimeNs}`,
    ino: `${ino}`,
  });
}

async function writeRecord(path: string, content: string): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  const temporary = `${path}.${ownerTag()}`;
  await writeFile(temporary, content);
  await rename(temporary, path);
}

/** Moves a finished file to its final name, so that the name shows either nothing or the whole file, also after a crash. */
export async function publishFile(temporary: string, final: string): Promise<void> {
  const file = await open(temporary, "r+");
  try {
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(temporary, final);
  // The rename itself; not every system can open a folder for this.
  const folder = await open(dirname(final), "r").catch(() => undefined);
  await folder?.sync().catch(() => {});
  await folder?.close();
}
