import { checkBoolean, checkNumber } from "../errors/check.js";
import { expected } from "../errors/index.js";
import type { ServedRequest } from "../native/types.js";

/** How a request is served among others. None of it changes what it gets, only when. */
export interface ServingOptions {
  /**
   * Requests of higher priority are served first, and take the places of running ones of less where there are not enough; those go on
   * later. A waiting request gains a level every 5 s. An integer, -100 … 100, default 0.
   */
  priority?: number;
  /** The request fails with ERR_TIMEOUT when it has not ended so many milliseconds after it was made. 1 … 2^31-1; default: none. */
  timeoutMs?: number;
  /**
   * Use what was computed for earlier requests that began with the same tokens and adapters, and keep this one's for later ones.
   * Default true.
   */
  prefixCache?: boolean;
  /**
   * Requests with different salts share nothing of the prefix cache, so that no customer can learn by timing what another one asked.
   * At most 256 characters, default "".
   */
  cacheSalt?: string;
  /** Ends the request. */
  signal?: AbortSignal;
}

export const SERVING_KEYS = ["priority", "timeoutMs", "prefixCache", "cacheSalt", "signal"] as const;

const MAX_SALT = 256;

export function checkServing(options: ServingOptions): ServedRequest {
  const salt: unknown = options.cacheSalt;
  if (salt !== undefined && (typeof salt !== "string" || salt.length > MAX_SALT))
    throw expected(`a string of at most ${MAX_SALT} characters`, "cacheSalt", salt);
  return {
    priority: checkNumber("priority", options.priority, { min: -100, max: 100, default: 0, integer: true }),
    timeoutMs:
      options.timeoutMs === undefined
        ? 0
        : checkNumber("timeoutMs", options.timeoutMs, { min: 1, max: 2 ** 31 - 1, default: 0 }),
    prefixCache: checkBoolean("prefixCache", options.prefixCache, true),
    cacheSalt: salt ?? "",
  };
}
