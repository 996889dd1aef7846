import type { BigIntStats } from "node:fs";
import { lstat, realpath } from "node:fs/promises";
import { join } from "node:path";
import { LowrankError } from "../errors/index.js";
import { belongsTo } from "../files/index.js";
import { identityOf, type FileIdentity } from "./file-identity.js";

/** What lies in an entry of a watched folder: an adapter's files, by their real paths. */
export interface WatchedFiles {
  files: FileIdentity[];
  /** All identities in one. */
  fingerprint: string;
  /** Milliseconds since the epoch of the last change. */
  changed: number;
  /** A link leads out of the watched folder: nothing of the entry is opened. */
  error: LowrankError | null;
}

const CONFIG = "adapter_config.json";
const WEIGHTS = ["adapter_model.safetensors", "adapter_model.bin"];

/** The name that an entry is loaded under. */
export const nameOf = (entry: string): string => entry.replace(/\.gguf$/, "");

interface Real {
  path: string;
  facts: BigIntStats;
}

/** What a path leads to; null where there is nothing. */
async function follow(path: string): Promise<Real | null> {
  try {
    const real = await realpath(path);
    return { path: real, facts: await lstat(real, { bigint: true }) };
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "ENOENT" || code === "ENOTDIR") return null;
    throw new LowrankError("ERR_IO", `Expected a readable entry at ${path}: ${(error as Error).message}.`, {
      cause: error,
    });
  }
}

/**
 * The adapter in an entry of `root`, a real path: a folder with configuration and weights, or a `.gguf` file. null where there is none,
 * "incomplete" where a folder lacks one of the two.
 */
export async function locate(root: string, entry: string): Promise<WatchedFiles | "incomplete" | null> {
  const found = await follow(join(root, entry));
  if (!found) return null;
  const parts = [found];
  if (found.facts.isDirectory()) {
    const [config, ...weights] = await Promise.all(
      [CONFIG, ...WEIGHTS].map((name) => follow(join(found.path, name))),
    );
    const first = weights.find((one) => one !== null);
    if (!config && !first) return null;
    if (!config || !first) return "incomplete";
    parts.push(config, first);
  } else if (!found.facts.isFile() || !entry.endsWith(".gguf")) return null;
  const escaped = parts.find(({ path }) => !belongsTo(root, path));
  const files = parts
    .filter(({ facts }) => facts.isFile())
    .map(({ path, facts }) => ({ path, identity: identityOf(facts) }));
  return {
    files,
    fingerprint: parts.map(({ path }) => path).join("\n") + files.map(({ identity }) => identity).join("\n"),
    changed: Math.max(
      ...parts.map(({ facts }) => Number(facts.mtimeMs > facts.ctimeMs ? facts.mtimeMs : facts.ctimeMs)),
    ),
    error: escaped
      ? new LowrankError(
          "ERR_ADAPTER_FORMAT",
          `Expected ${join(root, entry)} inside the watched folder, it is a link that leads out of it, to ${escaped.path}.`,
        )
      : null,
  };
}

/** True where what was read is what was found: the very same files, unchanged. */
export const sameFiles = (read: readonly FileIdentity[], found: readonly FileIdentity[]): boolean =>
  read.length === found.length && read.every(({ identity }, i) => identity === found[i]!.identity);
