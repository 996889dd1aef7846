import { constants } from "node:fs";
import { open, realpath } from "node:fs/promises";
import { join } from "node:path";
import { LowrankError } from "../../errors/index.js";
import { belongsTo } from "../../files/index.js";

/** What a path in a folder leads to, through any links: a real path. Rejects with ERR_MODEL_FORMAT where that lies outside, and with what the file system says. */
export async function containedPath(folder: string, name: string): Promise<string> {
  const path = join(folder, name);
  const [root, target] = await Promise.all([realpath(folder), realpath(path)]);
  if (belongsTo(root, target)) return target;
  throw new LowrankError(
    "ERR_MODEL_FORMAT",
    `Expected a file inside ${folder} for ${name}, received a link to ${target}. Put the file itself into the folder.`,
    { details: { path, target } },
  );
}

/** ERR_MODEL_FORMAT for what is no regular file: opening a pipe or a device may never end. */
export const notRegularFile = (path: string): LowrankError =>
  new LowrankError(
    "ERR_MODEL_FORMAT",
    `Expected a regular file at ${path}, received a pipe, a device or a folder. Put the file itself there.`,
    { details: { path } },
  );

/**
 * The bytes of a file in a folder; undefined where there is none. Rejects with ERR_MODEL_FORMAT for a link that leads out of the folder,
 * for what is no regular file, and for more than `most` bytes; with ERR_IO for what cannot be read.
 */
export async function readContainedFile(
  folder: string,
  name: string,
  most: number,
): Promise<Buffer | undefined> {
  const path = join(folder, name);
  let file;
  try {
    // Without O_NONBLOCK, opening a named pipe would wait for a writer for ever.
    file = await open(await containedPath(folder, name), constants.O_RDONLY | (constants.O_NONBLOCK ?? 0));
    const facts = await file.stat();
    if (!facts.isFile()) throw notRegularFile(path);
    if (facts.size > most)
      throw new LowrankError(
        "ERR_MODEL_FORMAT",
        `Expected at most ${most} bytes for ${path}, received ${facts.size}. Fetch the file again.`,
        { details: { path } },
      );
    const bytes = Buffer.allocUnsafeSlow(facts.size);
    let done = 0;
    while (done < bytes.length) {
      const { bytesRead } = await file.read(bytes, done, bytes.length - done, done);
      if (bytesRead === 0) break; // it was cut short in the meantime
      done += bytesRead;
    }
    return bytes.subarray(0, done);
  } catch (error) {
    if (LowrankError.isInstance(error)) throw error;
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === "ENOENT") return undefined;
    throw new LowrankError("ERR_IO", `Expected a readable file at ${path}: ${message}.`, { cause: error });
  } finally {
    await file?.close();
  }
}
