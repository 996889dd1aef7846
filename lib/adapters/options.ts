import type { AdapterPrecision } from "../native/types.js";
import { boolean, callback, choice, integer, signal, text, type OptionsOf } from "../schema/index.js";
import type { AdapterWatchEvent } from "./watch.js";

const MAX_NAME = 256;

export const LOAD = {
  /**
   * What the low-rank factors A and B are kept in: "bfloat16", or "int8" with a scale for each rank, which takes half the memory and
   * half the reading; see the README for what that costs. Embeddings, norms, biases and whole tables stay as they are. Models of another
   * precision than "int8" keep float32 and refuse the option. Default: the model's `adapterPrecision`.
   */
  precision: choice<AdapterPrecision>(["bfloat16", "int8"], {
    description: "What the low-rank factors A and B are kept in.",
    default: { says: "the model's `adapterPrecision`", value: undefined },
  }),
  /** Ends it with ERR_ABORTED; everything stays as it was. */
  signal: signal({ description: "Ends the load." }),
};

export const ROLLBACK = {
  /** Throw ERR_ADAPTER_CONFLICT where the name is at another generation. 1 … 2^53-1; default: whatever is there. */
  expectedGeneration: integer({
    description: "Fail where the name is at another generation.",
    min: 1,
    max: Number.MAX_SAFE_INTEGER,
    default: { says: "whatever is there", value: 0 },
  }),
};

export const SWAP: typeof LOAD & typeof ROLLBACK = { ...LOAD, ...ROLLBACK };

export const UNLOAD = {
  /** Wait for the requests that run with it, rather than throw ERR_ADAPTER_IN_USE. Default true. */
  wait: boolean({
    description: "Wait for the requests that run with the adapter, rather than fail.",
    default: true,
  }),
};

export const ALIAS = {
  /** Throw ERR_ADAPTER_CONFLICT where the alias stands for another adapter. Default: whatever it stands for. */
  expectedTarget: text({
    description: "Fail where the alias stands for another adapter.",
    minLength: 1,
    maxLength: MAX_NAME,
    default: { says: "whatever it stands for", value: undefined },
  }),
};

export const WATCH = {
  /** Ends the watch. */
  signal: signal({ description: "Ends the watch." }),
  /** Called with each load, swap, unload and failure, also those before `watch` resolves. */
  onEvent: callback<(event: AdapterWatchEvent) => void>({
    description: "Called with each load, swap, unload and failure.",
  }),
  /** Milliseconds for which files must stay as they are before they are read. 10 … 60000, default 300. */
  settleMs: integer({
    description: "How long files must stay as they are before they are read.",
    unit: "milliseconds",
    min: 10,
    max: 60_000,
    default: 300,
  }),
  /** Unload adapters whose subfolder or file is deleted. Default true. */
  unloadRemoved: boolean({
    description: "Unload adapters whose subfolder or file is deleted.",
    default: true,
  }),
  /** Look at the files every so many milliseconds, for network shares that tell of no changes. 100 … 3600000; default: no polling. */
  pollMs: integer({
    description: "How often to look at the files, for network shares that tell of no changes.",
    unit: "milliseconds",
    min: 100,
    max: 3_600_000,
    default: { says: "no polling", value: undefined },
  }),
};

export interface LoadAdapterOptions extends OptionsOf<typeof LOAD> {}
export interface RollbackAdapterOptions extends OptionsOf<typeof ROLLBACK> {}
export interface SwapAdapterOptions extends LoadAdapterOptions, RollbackAdapterOptions {}
export interface UnloadAdapterOptions extends OptionsOf<typeof UNLOAD> {}
export interface AliasAdapterOptions extends OptionsOf<typeof ALIAS> {}
export interface AdapterWatchOptions extends OptionsOf<typeof WATCH> {}

const NAME = text<never>({ description: "A name.", minLength: 1, maxLength: MAX_NAME, required: true });

export function checkName(name: unknown): void {
  NAME.check("the adapter's name", name, undefined);
}
