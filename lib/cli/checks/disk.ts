import { constants } from "node:fs";
import { access, stat, statfs } from "node:fs/promises";
import { dirname } from "node:path";
import { cacheDirectories } from "../../model/index.js";
import { byteText } from "../terminal.js";
import type { Finding } from "./index.js";

const MIN_SPACE = 1e9;

/** The folder itself, or the nearest above it that there is. */
async function existing(path: string): Promise<string> {
  for (;;) {
    if (await stat(path).catch(() => undefined)) return path;
    const above = dirname(path);
    if (above === path) return path;
    path = above;
  }
}

export async function cacheFolders(): Promise<Finding> {
  for (const path of cacheDirectories()) {
    const at = await existing(path);
    const writable = await access(at, constants.W_OK | constants.X_OK).then(
      async () => (await stat(at)).isDirectory(),
      () => false,
    );
    if (!writable)
      return {
        state: "failure",
        says: `${at} is no folder that can be written to`,
        remedy: "Change its permissions, or set HF_HOME and XDG_CACHE_HOME to a folder of your own.",
      };
  }
  return { state: "ok", says: cacheDirectories().join(", ") };
}

export async function diskSpace(): Promise<Finding> {
  let least: { path: string; free: number } | undefined;
  for (const path of cacheDirectories()) {
    const { bavail, bsize } = await statfs(await existing(path));
    const free = bavail * bsize;
    if (least === undefined || free < least.free) least = { path, free };
  }
  const says = `${byteText(least!.free)} free for ${least!.path}`;
  return least!.free >= MIN_SPACE
    ? { state: "ok", says }
    : {
        state: "failure",
        says,
        remedy: `Expected ${byteText(MIN_SPACE)} for a model. Free space: lowrank models remove NAME, or set XDG_CACHE_HOME to another disk.`,
      };
}
