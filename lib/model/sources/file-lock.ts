import { createHash, randomBytes, randomUUID } from "node:crypto";
import { link, mkdir, readFile, rename, rm, stat, utimes, writeFile } from "node:fs/promises";
import { hostname } from "node:os";
import { dirname } from "node:path";
import { setTimeout as delay } from "node:timers/promises";

// Node has no flock. A lock here is a file that only one process can create. It spares work that two processes would do
// twice; it is not what keeps files whole: each process writes under a name of its own and renames a checked file.

const HEARTBEAT_MS = 2_000;
const STALE_MS = 30_000;
const POLL_MS = 100;

const HOST = createHash("sha256").update(hostname()).digest("hex").slice(0, 8);

/** A name part that no other process uses, from which {@link ownerIsGone} can tell whether its process still runs. */
export function ownerTag(): string {
  return `${HOST}-${process.pid}-${randomBytes(4).toString("hex")}`;
}

/** True if `tag` is of a process of this host that has ended; false where that cannot be known. */
export function ownerIsGone(tag: string): boolean {
  const [, host, pid] = /^([0-9a-f]{8})-(\d{1,10})-[0-9a-f]{8}$/.exec(tag) ?? [];
  if (host !== HOST) return false;
  try {
    process.kill(Number(pid), 0);
    return false;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "ESRCH";
  }
}

export interface FileLockOptions {
  /** Ends the wait; the rejection is the signal's reason. */
  signal?: AbortSignal | undefined;
  /** Called once if another holder has to be waited for. */
  onWait?: (() => void) | undefined;
}

/**
 * Runs `action` while this caller alone holds the lock file at `path`, among threads and processes. The lock of a
 * process that died is taken over at once on the same host, and after 30 s without its heartbeat elsewhere.
 */
export async function withFileLock<T>(
  path: string,
  options: FileLockOptions,
  action: () => Promise<T>,
): Promise<T> {
  await mkdir(dirname(path), { recursive: true });
  const content = JSON.stringify({ owner: ownerTag(), token: randomUUID() });
  await acquire(path, content, options);
  const heartbeat = setInterval(() => {
    const now = new Date();
    utimes(path, now, now).catch(() => {}); // taken over: the other one keeps it alive
  }, HEARTBEAT_MS);
  heartbeat.unref();
  try {
    return await action();
  } finally {
    clearInterval(heartbeat);
    await removeIfUnchanged(path, content);
  }
}

async function acquire(path: string, content: string, { signal, onWait }: FileLockOptions): Promise<void> {
  let seen = "";
  let seenSince = 0;
  let told = false;
  for (;;) {
    signal?.throwIfAborted();
    try {
      await writeFile(path, content, { flag: "wx" });
      return;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
    }
    const holder = await readLock(path);
    if (holder === undefined) continue;
    // How long a lock stood still is measured by this process's clock: those of two hosts may differ.
    const state = `${holder.mtimeMs} ${holder.content}`;
    const now = performance.now();
    if (state !== seen) [seen, seenSince] = [state, now];
    if (ownerIsGone(holder.owner) || now - seenSince > STALE_MS) {
      await removeIfUnchanged(path, holder.content);
      continue;
    }
    if (!told) {
      told = true;
      onWait?.();
    }
    await delay(POLL_MS, undefined, signal ? { signal } : {});
  }
}

async function readLock(
  path: string,
): Promise<{ content: string; owner: string; mtimeMs: number } | undefined> {
  try {
    const [content, { mtimeMs }] = await Promise.all([readFile(path, "utf8"), stat(path)]);
    const owner = /"owner":"([^"]*)"/.exec(content)?.[1] ?? "";
    return { content, owner, mtimeMs };
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
}

/** Removes the lock if it is still the one with `content`: renamed first, as between a look and a removal it may change. */
async function removeIfUnchanged(path: string, content: string): Promise<void> {
  const aside = `${path}.${randomUUID()}`;
  try {
    if ((await readFile(path, "utf8")) !== content) return;
    await rename(path, aside);
    if ((await readFile(aside, "utf8")) !== content) await link(aside, path);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code !== "ENOENT" && code !== "EEXIST") throw error;
  } finally {
    await rm(aside, { force: true });
  }
}
