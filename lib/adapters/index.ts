export { inspectAdapter, type AdapterDescription } from "./inspect.js";
export type { AdapterLease, LeasedAdapters } from "./lease.js";
export type { AdapterGeneration } from "./named-adapter.js";
export type { AdapterFacts } from "./names.js";
export {
  ALIAS,
  LOAD,
  ROLLBACK,
  SWAP,
  UNLOAD,
  WATCH,
  type AdapterWatchOptions,
  type AliasAdapterOptions,
  type LoadAdapterOptions,
  type RollbackAdapterOptions,
  type SwapAdapterOptions,
  type UnloadAdapterOptions,
} from "./options.js";
export { AdapterRegistry, type AdapterReference } from "./registry.js";
export { ADAPTER, type AdapterSelection, type AdapterUse, type ScaleStep } from "./selection.js";
export type { AdapterSource } from "./source.js";
export type { AdapterStoreOptions } from "./store.js";
export type { AdapterTensor } from "./typed-tensors.js";
export type { AdapterState } from "./version.js";
export type { AdapterWatch, AdapterWatchEvent } from "./watch.js";
