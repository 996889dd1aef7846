import {
  checkChoice,
  checkFunction,
  checkInt8Choice,
  checkKnown,
  checkNumber,
  checkSignal,
} from "../errors/check.js";
import { expected } from "../errors/index.js";
import type { AdapterPrecision, Precision } from "../native/types.js";
import type { ModelSourceProgress } from "./sources/index.js";

/** What `onProgress` is told: files being fetched, then weights being read, quantised and packed. */
export type LoadProgress =
  | ModelSourceProgress
  | {
      stage: "load";
      /** Weights done and in all. */
      parameters: number;
      totalParameters: number;
    };

export type DeviceName = "auto" | "cpu" | "cuda" | `cuda:${number}`;

export interface LoadModelOptions {
  /**
   * Where to compute: the CPU; a CUDA device by its number, or "cuda" for the first that can be used; or "auto": such a device, or else
   * the CPU, and `model.device` says why. See `devices()`. Default "auto".
   */
  device?: DeviceName;
  /**
   * "int8": int8 weights and activations, bfloat16 KV cache. "w8-float32" and "float32" are for proving and comparing: the same int8
   * weights, or the checkpoint's own, computed in float32. Default "int8".
   */
  precision?: Precision;
  /**
   * What keys and values are kept in, with precision "int8": "bfloat16", or "int8" with a scale for each token and head, which takes
   * 53 % of the memory at 64 dimensions a head. Default "bfloat16". The other precisions keep float32.
   */
  kvCache?: "bfloat16" | "int8";
  /**
   * What the A and B of adapters are kept in, with precision "int8", unless the load of an adapter says otherwise: "bfloat16", or "int8",
   * which halves what a token reads of an adapter. Default "bfloat16". The other precisions keep float32.
   */
  adapterPrecision?: AdapterPrecision;
  /** Threads that compute. 1 … 256; default: physical cores within the process's affinity mask and cgroup quota. */
  threads?: number;
  /** Tokens that one sequence may hold, prompt and answer. 1 … 2^24; default: what the model was trained for, at most 8192. */
  contextLength?: number;
  /** Requests that are computed at once, in one batch; more wait their turn. 1 … 1024, default 8. */
  maxSequences?: number;
  /** Requests beyond those that may wait; more are refused with ERR_QUEUE_FULL. 0 … 2^20, default 1024. */
  maxQueue?: number;
  /**
   * Tokens that one step computes at most, prompts and answers of all requests together. More are faster for long prompts, fewer keep
   * the steps short. 1 … 16384, default 512. Beside running answers a step takes fewer, so that these keep their pace.
   */
  maxStepTokens?: number;
  /**
   * Bytes of keys and values at most, taken as they are needed. When they are used up, texts that no request uses are forgotten, then
   * the newest request of least priority gives way and goes on later. One context at least. Default: maxSequences contexts, but at most a
   * quarter of the machine's memory, or half of what a CUDA device has free beside the weights, where all of it is taken at once.
   */
  kvCacheMemory?: number;
  /** Called with progress, at most about every 30 ms. */
  onProgress?: (progress: LoadProgress) => void;
  /** Stops the load with ERR_ABORTED. */
  signal?: AbortSignal;
  /** As `huggingface-cli`: branch, tag or commit of an `hf:` model. Default: "main", or the alias's pinned one. */
  revision?: string;
  /** Access token for private models. Default: HF_TOKEN, then the stored login. */
  token?: string;
  /** Use only what lies on this machine. Default: HF_HUB_OFFLINE. */
  offline?: boolean;
  /** Folder for downloaded models. Default: the hub's usual cache. */
  cacheDirectory?: string;
  /**
   * Folder that keeps int8 weights and tokenizers as they are computed with, so that the next load copies them and takes a fraction of
   * the time. A model takes its int8 size there, and is deleted when unused for 30 days. false: keep nothing. Default:
   * `${XDG_CACHE_HOME:-~/.cache}/lowrank/packed`, for models from 8 MiB on.
   */
  packedDirectory?: string | false;
  /**
   * Bytes that adapters may take in memory. Those that no request runs with and no name pins are evicted, the least recently used first,
   * and read again when a request names them. 1 … 2^53-1; default: no limit.
   */
  adapterMemory?: number;
  /**
   * Bytes of a CUDA device's memory that adapters keep between steps. Those beyond it stay in the host's memory and are copied when a
   * step uses them, in place of the least recently used. One that is larger is refused with ERR_OUT_OF_MEMORY when it is loaded. Models
   * on one device share it, and the last load that names it decides. 1 … 2^53-1; default: a quarter of the device's memory.
   */
  deviceAdapterMemory?: number;
  /**
   * Folder for adapters that no file holds (loaded from memory, or from a watched folder), so that they can be evicted and gone back to.
   * A subfolder of it is this model's own and goes with it. false: nowhere. Default: none without `adapterMemory`, with it
   * `${XDG_CACHE_HOME:-~/.cache}/lowrank/adapters`.
   */
  adapterDirectory?: string | false;
}

const KEYS = [
  "device",
  "precision",
  "kvCache",
  "adapterPrecision",
  "threads",
  "contextLength",
  "maxSequences",
  "maxQueue",
  "maxStepTokens",
  "kvCacheMemory",
  "onProgress",
  "signal",
  "revision",
  "token",
  "offline",
  "cacheDirectory",
  "packedDirectory",
  "adapterMemory",
  "deviceAdapterMemory",
  "adapterDirectory",
] as const;

export interface CheckedLoadOptions {
  device: DeviceName;
  precision: Precision;
  int8KvCache: boolean;
  adapterPrecision: AdapterPrecision;
  threads: number;
  contextLength: number;
  maxSequences: number;
  maxQueue: number;
  maxStepTokens: number;
  /** Bytes; undefined: a default. */
  kvCacheMemory: number | undefined;
  packedDirectory: string | false | undefined;
  /** Infinity: no limit. */
  adapterMemory: number;
  /** Bytes; 0: as it is. */
  deviceAdapterMemory: number;
  adapterDirectory: string | false | undefined;
  onProgress: ((progress: LoadProgress) => void) | undefined;
  signal: AbortSignal | undefined;
}

function checkDevice(value: unknown): DeviceName {
  if (value === undefined) return "auto";
  if (typeof value !== "string" || !/^(auto|cpu|cuda(:\d{1,4})?)$/.test(value))
    throw expected(
      '"auto", "cpu", "cuda" or "cuda:" with a number',
      "device",
      value,
      "devices() lists what is there.",
    );
  return value as DeviceName;
}

export function checkLoadOptions(options: LoadModelOptions): CheckedLoadOptions {
  checkKnown("options", options, KEYS);
  const integer = (name: keyof LoadModelOptions, min: number, max: number, fallback: number): number =>
    checkNumber(name, options[name], { min, max, default: fallback, integer: true });
  const directory = (name: "packedDirectory" | "adapterDirectory"): string | false | undefined => {
    const value: unknown = options[name];
    if (value === undefined || value === false || (typeof value === "string" && value !== "")) return value;
    throw expected("a folder's path or false", name, value);
  };
  const precision = checkChoice("precision", options.precision, ["int8", "w8-float32", "float32"], "int8");
  const kept = (name: "kvCache" | "adapterPrecision"): "bfloat16" | "int8" =>
    checkInt8Choice(name, options[name], ["bfloat16", "int8"], precision) ?? "bfloat16";
  return {
    device: checkDevice(options.device),
    precision,
    int8KvCache: kept("kvCache") === "int8",
    adapterPrecision: kept("adapterPrecision"),
    threads: integer("threads", 1, 256, 0),
    contextLength: integer("contextLength", 1, 2 ** 24, 0),
    maxSequences: integer("maxSequences", 1, 1024, 8),
    maxQueue: integer("maxQueue", 0, 2 ** 20, 1024),
    maxStepTokens: integer("maxStepTokens", 1, 2 ** 14, 512),
    kvCacheMemory: options.kvCacheMemory === undefined ? undefined : integer("kvCacheMemory", 1, 1e15, 1),
    packedDirectory: directory("packedDirectory"),
    adapterMemory: integer("adapterMemory", 1, 2 ** 53 - 1, Infinity),
    deviceAdapterMemory: integer("deviceAdapterMemory", 1, 2 ** 53 - 1, 0),
    adapterDirectory: directory("adapterDirectory"),
    onProgress: checkFunction("onProgress", options.onProgress),
    signal: checkSignal(options.signal),
  };
}
