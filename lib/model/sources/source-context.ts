import { join, resolve } from "node:path";
import { LowrankError } from "../../errors/index.js";
import { hubCacheDirectory, hubEndpoint, hubOffline, hubToken, modelCacheDirectory } from "./environment.js";
import type { ResolveModelOptions } from "./options.js";
import type { OnModelSourceProgress } from "./progress.js";

/** Bounds on what a server may make us wait for, retry or hold in memory. */
export interface HubLimits {
  /** Time to connect, in ms; a hub that cannot be reached must not hold up the fallback. */
  connectMs: number;
  /** Time from a request to the head of its answer, in ms. */
  responseMs: number;
  /** Time that may be waited inside an answer for the next `stallBytes`, or for its end, in ms. */
  stallMs: number;
  /** Bytes that `stallMs` must bring: a byte now and then is no download. */
  stallBytes: number;
  /** Retries in a row without progress, for answers that may be better the next time. */
  retries: number;
  /** Wait before the first retry, in ms; doubled with each, 10 s at most. */
  retryDelayMs: number;
  /** Size of an answer of the hub's JSON API, in bytes. */
  metadataBytes: number;
  /** Entries that one listing of a repository may have, and pages that they may come in. */
  listedFiles: number;
  listedPages: number;
}

export const DEFAULT_HUB_LIMITS: HubLimits = {
  connectMs: 3_000,
  responseMs: 10_000,
  stallMs: 30_000,
  stallBytes: 32 * 1024,
  retries: 4,
  retryDelayMs: 500,
  metadataBytes: 16 * 1024 * 1024,
  listedFiles: 10_000,
  listedPages: 200,
};

/** Everything that a source needs to know, read once at the start of a call. */
export interface SourceContext {
  onProgress: OnModelSourceProgress | undefined;
  signal: AbortSignal | undefined;
  /** Absolute folder in the layout of the hub's cache. */
  hubCache: string;
  /** Absolute folder of the models that came from wheels, `<alias>/<file>`. */
  modelCache: string;
  endpoint: string;
  token: string | undefined;
  offline: boolean;
  limits: HubLimits;
}

/** Joins checked options with the environment. Throws ERR_INVALID_ARGUMENT on variables that cannot be used. */
export async function createSourceContext(
  options: ResolveModelOptions,
  limits: Partial<HubLimits> = {},
): Promise<SourceContext> {
  const { onProgress, signal, cacheDirectory, token, offline } = options;
  const directory = cacheDirectory === undefined ? undefined : resolve(cacheDirectory);
  return {
    onProgress,
    signal,
    hubCache: directory ?? hubCacheDirectory(),
    modelCache: directory === undefined ? modelCacheDirectory() : join(directory, "lowrank"),
    endpoint: hubEndpoint(),
    token: await hubToken(token),
    offline: offline ?? hubOffline(),
    limits: { ...DEFAULT_HUB_LIMITS, ...limits },
  };
}

/** Throws ERR_ABORTED once `signal` is aborted. */
export function throwIfAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw aborted(signal);
}

export function aborted(signal: AbortSignal): LowrankError {
  return new LowrankError(
    "ERR_ABORTED",
    "Expected the model to be resolved, received an abort signal. Call again to go on where it stopped.",
    { cause: signal.reason },
  );
}
