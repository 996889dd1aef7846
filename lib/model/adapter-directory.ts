import { readdir, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { adapterDirectory } from "./sources/environment.js";
import { ownerIsGone, ownerTag } from "./sources/file-lock.js";

/** A folder of another host, whose process cannot be asked after, is stale when nothing was written there for so long. */
const STALE_MS = 30 * 24 * 3600 * 1000;
const TAG = /^[0-9a-f]{8}-\d{1,10}-[0-9a-f]{8}$/;

/** Deletes what processes have left that ended without disposing of their models. Never fails. */
async function tidy(directory: string): Promise<void> {
  for (const name of await readdir(directory).catch(() => [])) {
    if (!TAG.test(name)) continue;
    const folder = join(directory, name);
    const facts = await stat(folder).catch(() => null);
    if (facts && (ownerIsGone(name) || Date.now() - facts.mtimeMs > STALE_MS))
      await rm(folder, { recursive: true, force: true }).catch(() => {});
  }
}

/**
 * One model's own folder for adapters that are evicted; it is made when the first is written. `directory`: where the caller wants it;
 * undefined: in the user's cache, where adapters have a limit in memory; false: nowhere.
 */
export function adapterSpillFolder(directory: string | false | undefined, limited: boolean): string | null {
  if (directory === false || (directory === undefined && !limited)) return null;
  const parent = directory ?? adapterDirectory();
  void tidy(parent);
  return join(parent, ownerTag());
}
