import { expected } from "../errors/index.js";
import { ENGINE, requireInt8 } from "../native/index.js";
import type { AdapterPrecision, Precision } from "../native/types.js";
import {
  callback,
  checkOptions,
  choice,
  integer,
  option,
  signal,
  type CheckedOf,
  type OptionsOf,
} from "../schema/index.js";
import { SOURCE, type ModelSourceProgress } from "./sources/index.js";

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

const folder = (facts: { description: string; says: string }) =>
  option<string | false, string | false, unknown, undefined>({
    description: facts.description,
    default: { says: facts.says, value: undefined },
    json: { anyOf: [{ type: "string", minLength: 1 }, { const: false }] },
    check: (value, name) => {
      if (value !== false && (typeof value !== "string" || value === ""))
        throw expected("a folder's path or false", name, value);
      return value;
    },
  });

const DEVICE = "^(auto|cpu|cuda(:\\d{1,4})?)$";

const LOADING = {
  /**
   * Where to compute: the CPU; a CUDA device by its number, or "cuda" for the first that can be used; or "auto": such a device, or else
   * the CPU, and `model.device` says why. See `devices()`. Default "auto".
   */
  device: option<DeviceName, DeviceName, unknown, "auto">({
    description: "Where to compute: auto, cpu, cuda, or cuda: with the number of a device.",
    default: "auto",
    json: { type: "string", pattern: DEVICE },
    check: (value, name) => {
      if (typeof value === "string" && new RegExp(DEVICE).test(value)) return value as DeviceName;
      throw expected(
        '"auto", "cpu", "cuda" or "cuda:" with a number',
        name,
        value,
        "devices() lists what is there.",
      );
    },
  }),
  /**
   * "int8": int8 weights and activations, bfloat16 KV cache. "w8-float32" and "float32" are for proving and comparing: the same int8
   * weights, or the checkpoint's own, computed in float32. Default "int8".
   */
  precision: choice<Precision, Precision>(["int8", "w8-float32", "float32"], {
    description: "What weights and activations are computed in.",
    default: "int8",
  }),
  /**
   * What keys and values are kept in, with precision "int8": "bfloat16", or "int8" with a scale for each token and head, which takes
   * 53 % of the memory at 64 dimensions a head. Default "bfloat16". The other precisions keep float32.
   */
  kvCache: choice<"bfloat16" | "int8", "bfloat16">(["bfloat16", "int8"], {
    description: "What keys and values are kept in, with precision int8.",
    default: "bfloat16",
  }),
  /**
   * What the A and B of adapters are kept in, with precision "int8", unless the load of an adapter says otherwise: "bfloat16", or "int8",
   * which halves what a token reads of an adapter. Default "bfloat16". The other precisions keep float32.
   */
  adapterPrecision: choice<AdapterPrecision, AdapterPrecision>(["bfloat16", "int8"], {
    description: "What the A and B of adapters are kept in, with precision int8.",
    default: "bfloat16",
  }),
  /** Called with progress, at most about every 30 ms. */
  onProgress: callback<(progress: LoadProgress) => void>({ description: "Called with progress." }),
  /** Stops the load with ERR_ABORTED. */
  signal: signal({ description: "Stops the load." }),
  /**
   * Folder that keeps int8 weights and tokenizers as they are computed with, so that the next load copies them and takes a fraction of
   * the time. A model takes its int8 size there, and is deleted when unused for 30 days. false: keep nothing. Default:
   * `${XDG_CACHE_HOME:-~/.cache}/lowrank/packed`, for models from 8 MiB on.
   */
  packedDirectory: folder({
    description: "Folder that keeps weights and tokenizers as they are computed with; false: keep nothing.",
    says: "`${XDG_CACHE_HOME:-~/.cache}/lowrank/packed`, for models from 8 MiB on",
  }),
  /**
   * Bytes that adapters may take in memory. Those that no request runs with and no name pins are evicted, the least recently used first,
   * and read again when a request names them. 1 … 2^53-1; default: no limit.
   */
  adapterMemory: integer({
    description: "What adapters may take in memory; those that nobody uses are evicted.",
    unit: "bytes",
    min: 1,
    max: Number.MAX_SAFE_INTEGER,
    default: { says: "no limit", value: Infinity },
  }),
  /**
   * Bytes of a CUDA device's memory that adapters keep between steps. Those beyond it stay in the host's memory and are copied when a
   * step uses them, in place of the least recently used. One that is larger is refused with ERR_OUT_OF_MEMORY when it is loaded. Models
   * on one device share it, and the last load that names it decides. 1 … 2^53-1; default: a quarter of the device's memory.
   */
  deviceAdapterMemory: integer({
    description: "Memory of a CUDA device that adapters keep between steps.",
    unit: "bytes",
    min: 1,
    max: Number.MAX_SAFE_INTEGER,
    default: { says: "a quarter of the device's memory", value: 0 },
  }),
  /**
   * Folder for adapters that no file holds (loaded from memory, or from a watched folder), so that they can be evicted and gone back to.
   * A subfolder of it is this model's own and goes with it. false: nowhere. Default: none without `adapterMemory`, with it
   * `${XDG_CACHE_HOME:-~/.cache}/lowrank/adapters`.
   */
  adapterDirectory: folder({
    description: "Folder for adapters that no file holds; false: nowhere.",
    says: "none without `adapterMemory`, with it `${XDG_CACHE_HOME:-~/.cache}/lowrank/adapters`",
  }),
};

export const LOAD: typeof LOADING & typeof ENGINE & typeof SOURCE = { ...LOADING, ...ENGINE, ...SOURCE };

export interface LoadModelOptions
  extends OptionsOf<typeof LOADING>, OptionsOf<typeof ENGINE>, OptionsOf<typeof SOURCE> {}

/** LoadModelOptions, checked and complete. */
export type CheckedLoadOptions = CheckedOf<typeof LOAD>;

export function checkLoadOptions(options: LoadModelOptions): CheckedLoadOptions {
  const checked = checkOptions(LOAD, options);
  for (const name of ["kvCache", "adapterPrecision"] as const)
    requireInt8(name, options[name], checked.precision);
  return checked;
}
