import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";
import { LowrankError } from "../errors/index.js";
import type { DecoderNames, NativeAddon } from "./types.js";

let loaded: NativeAddon | undefined;

/** Loads the native addon: a prebuilt binary of this platform where the package carries one, else the local build. */
export function addon(): NativeAddon {
  if (loaded) return loaded;
  const require = createRequire(import.meta.url);
  const root = fileURLToPath(new URL("../..", import.meta.url));
  try {
    const load = require("node-gyp-build") as (directory: string) => unknown;
    loaded = load(root) as NativeAddon;
    loaded.setErrorClass(LowrankError);
  } catch (cause) {
    throw new LowrankError(
      "ERR_BACKEND_UNAVAILABLE",
      `Expected the native addon of lowrank for ${process.platform}-${process.arch}, it could not be loaded: ` +
        `${(cause as Error).message}. Build it with "npm run build:native" in the package's folder ` +
        "(a C++20 compiler, make and python3 are needed).",
      { cause },
    );
  }
  return loaded;
}

/** What the parts of a decoder are called, in every dialect. */
export const decoderNames = (): DecoderNames => addon().decoderNames;
