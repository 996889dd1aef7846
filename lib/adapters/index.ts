export { AdapterRegistry, type AdapterFacts, type PinnedAdapters } from "./registry.js";
export { checkSelection, type AdapterSelection, type AdapterUse } from "./selection.js";
export type { AdapterSource } from "./source.js";
