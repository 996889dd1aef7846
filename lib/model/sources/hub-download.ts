import { createHash, type Hash } from "node:crypto";
import { createReadStream } from "node:fs";
import { constants, copyFile, mkdir, open, readdir, rename, rm, symlink } from "node:fs/promises";
import { basename, dirname, join, relative } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { AppendingFile } from "./appending-file.js";
import { fileSize, publishFile, READ_BYTES } from "./checked-file.js";
import { ownerIsGone, ownerTag, withFileLock } from "./file-lock.js";
import { asHubError, hubError, isRetryable } from "./hub-errors.js";
import { hubFetch } from "./hub-fetch.js";
import { progressMeter } from "./progress.js";
import { throwIfAborted, type SourceContext } from "./source-context.js";

/** One file of a repository at one commit, as the hub lists it. */
export interface HubFile {
  repo: string;
  commit: string;
  /** Path in the repository. */
  path: string;
  /** Bytes. */
  size: number;
  /**
   * Large files have the SHA-256 of their content; others the id that git gives them, the SHA-1 of a short header and
   * the content. The cache names the file by it, and the download is checked against it.
   */
  checksum: { algorithm: "sha256" | "git-sha1"; hex: string };
}

// What the hub library leaves to its caller, as downloadFileToCacheDir neither resumes nor checks nor reports, and lets
// two processes write one file: a partial file of one's own, a checksum, retries, and a name that appears in one step.

/**
 * Brings a file into the hub's cache, in the folder `storage` of its repository, and returns its path in the snapshot.
 * A partial download stays as `blobs/<checksum>.<owner>.incomplete` and is resumed.
 */
export async function downloadHubFile(
  file: HubFile,
  storage: string,
  context: SourceContext,
): Promise<string> {
  const blob = join(storage, "blobs", file.checksum.hex);
  const pointer = join(storage, "snapshots", file.commit, ...file.path.split("/"));
  if ((await fileSize(pointer)) === file.size) return pointer;
  await mkdir(dirname(blob), { recursive: true });
  const lock = join(dirname(storage), ".locks", basename(storage), `${file.checksum.hex}.lowrank.lock`);
  const onWait = (): void => context.onProgress?.({ stage: "wait", file: basename(file.path) });
  await withFileLock(lock, { signal: context.signal, onWait }, async () => {
    if ((await fileSize(blob)) === file.size) return;
    const partial = await claimPartial(blob);
    try {
      await receiveFile(file, partial, context);
      await publishFile(partial, blob);
    } catch (error) {
      await releasePartial(partial, blob).catch(() => {});
      throw error;
    }
  });
  await linkSnapshot(blob, pointer);
  return pointer;
}

/** Takes over what an earlier attempt left, under a name of this attempt alone; the largest, where there are several. */
async function claimPartial(blob: string): Promise<string> {
  const own = `${blob}.${ownerTag()}.incomplete`;
  const left: { path: string; size: number }[] = [];
  for (const name of await readdir(dirname(blob))) {
    if (!name.startsWith(`${basename(blob)}.`) || !name.endsWith(".incomplete")) continue;
    const tag = name.slice(basename(blob).length + 1, -".incomplete".length);
    if (tag !== "released" && !ownerIsGone(tag)) continue;
    const path = join(dirname(blob), name);
    left.push({ path, size: (await fileSize(path)) ?? 0 });
  }
  left.sort((a, b) => a.size - b.size);
  const best = left.pop();
  for (const { path } of left) await rm(path, { force: true });
  if (best) await rename(best.path, own).catch(() => {}); // another one was quicker
  return own;
}

async function releasePartial(partial: string, blob: string): Promise<void> {
  const size = (await fileSize(partial)) ?? 0;
  if (size > 0) await rename(partial, `${blob}.released.incomplete`);
  else await rm(partial, { force: true });
}

function startHash({ checksum, size }: HubFile): Hash {
  return checksum.algorithm === "sha256" ? createHash("sha256") : createHash("sha1").update(`blob ${size}\0`);
}

/** Progress after which the count of failures in a row starts anew, in bytes. */
const PROGRESS_BYTES = 8 * 1024 * 1024;

/** Downloads `file` to `partial`, going on behind the bytes that are there, and checks the whole. */
async function receiveFile(file: HubFile, partial: string, context: SourceContext): Promise<void> {
  const { limits, signal } = context;
  const handle = await open(partial, constants.O_RDWR | constants.O_CREAT); // no flag of fopen's does both
  const { size: found } = await handle.stat();
  const target = new AppendingFile(handle, found);
  let hash = startHash(file);
  const restart = (): Promise<void> => {
    hash = startHash(file);
    return target.restart();
  };
  try {
    if (found > file.size) await restart();
    else if (found > 0) await hashPartial(partial, found, hash, context, basename(file.path));
    const meter = progressMeter(context.onProgress, "download", basename(file.path), file.size);
    let resumed = target.position > 0;
    let failures = 0;
    let furthest = target.position;
    meter(target.position);
    for (;;) {
      try {
        if (target.position < file.size) {
          for await (const block of openContent(file, target.position, context)) {
            await target.append(block);
            hash.update(block);
            meter(target.position);
          }
        }
        if (target.position < file.size) throw cutShort(file, target.position);
        await target.flush();
        if (hash.digest("hex") === file.checksum.hex) return;
        await restart();
        if (!resumed) throw wrongChecksum(file);
        resumed = false; // the part that was there may have been the bad one
      } catch (error) {
        throwIfAborted(signal);
        const reached = target.position;
        if (error instanceof RangeIgnored) await restart();
        else if (!isRetryable(error)) throw error;
        // Bytes that had come before already are no progress: a server that ignores ranges begins anew each time.
        const progresses = target.position - furthest > PROGRESS_BYTES;
        failures = progresses ? 1 : failures + 1;
        furthest = Math.max(furthest, target.position);
        if (failures > limits.retries) throw error instanceof RangeIgnored ? cutShort(file, reached) : error;
        await delay(
          Math.min(limits.retryDelayMs * 2 ** (failures - 1), 10_000),
          undefined,
          signal ? { signal } : {},
        );
      }
    }
  } finally {
    await target.flush(); // what has come is resumed the next time
    await handle.close();
  }
}

/** Adds the `size` bytes that an earlier attempt left to `hash`. */
async function hashPartial(
  partial: string,
  size: number,
  hash: Hash,
  { signal, onProgress }: SourceContext,
  name: string,
): Promise<void> {
  const meter = progressMeter(onProgress, "verify", name, size);
  let bytes = 0;
  for await (const block of createReadStream(partial, { highWaterMark: READ_BYTES, end: size - 1, signal })) {
    hash.update(block as Buffer);
    meter((bytes += (block as Buffer).length));
  }
}

/** Thrown where a server answers the request for a part with the whole. */
class RangeIgnored extends Error {}

/** The bytes of `file` from `start` on, through the hub library's own download. */
async function* openContent(
  file: HubFile,
  start: number,
  context: SourceContext,
): AsyncGenerator<Uint8Array> {
  const { downloadFile } = await import("@huggingface/hub");
  const what = `${file.repo}/${file.path}`;
  const request = hubFetch(context, { what, maxBytes: file.size - start });
  // The library's stream keeps no more than the text of an error that comes before the first byte.
  let failure: unknown;
  const fetchPart: typeof fetch = async (input, init) => {
    try {
      const response = await request(input, init);
      if (start > 0 && !startsAt(response, start)) {
        await response.body?.cancel();
        throw new RangeIgnored();
      }
      return response;
    } catch (error) {
      failure = error;
      throw error;
    }
  };
  const path = file.path.split("/").map(encodeURIComponent).join("/");
  const url = `${context.endpoint}/${file.repo}/resolve/${file.commit}/${path}`;
  // Plain HTTP with ranges, not the hub's chunk protocol: it can be resumed at any byte and mirrors speak it.
  const downloadInfo = { url, size: file.size, etag: file.checksum.hex };
  const repo = { type: "model" as const, name: file.repo };
  try {
    const content = await downloadFile({ repo, path: file.path, fetch: fetchPart, xet: false, downloadInfo });
    if (!content)
      throw hubError(`Expected ${what}, received nothing.`, { reason: "answer", retryable: false });
    for await (const chunk of content.slice(start).stream()) yield chunk as Uint8Array;
  } catch (error) {
    throw failure ?? (context.signal?.aborted ? error : asHubError(error, what));
  }
}

function startsAt(response: Response, start: number): boolean {
  return (
    response.status === 206 && (response.headers.get("content-range") ?? "").startsWith(`bytes ${start}-`)
  );
}

function cutShort({ repo, path, size }: HubFile, received: number): Error {
  return hubError(
    `Expected ${size} bytes for ${repo}/${path}, received ${received}. ` +
      "Check the network and call again: the download goes on where it stopped.",
    { reason: "network", retryable: true, received },
  );
}

function wrongChecksum({ repo, path, checksum }: HubFile): Error {
  return hubError(
    `Expected ${checksum.algorithm} ${checksum.hex} for ${repo}/${path}, received other bytes, which were deleted. ` +
      "Call again; if it stays so, a proxy or mirror changes the file.",
    { reason: "checksum", retryable: false },
  );
}

/** Shows a blob under its name in the snapshot: a relative link, or a copy where the system allows no links. */
async function linkSnapshot(blob: string, pointer: string): Promise<void> {
  await mkdir(dirname(pointer), { recursive: true });
  const temporary = `${pointer}.${ownerTag()}`;
  try {
    await symlink(relative(dirname(pointer), blob), temporary);
  } catch {
    await copyFile(blob, temporary);
  }
  await rename(temporary, pointer);
}
