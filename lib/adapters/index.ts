export { AdapterRegistry, type AdapterFacts, type AdapterSelection, type AdapterUse } from "./registry.js";
export type { AdapterSource } from "./source.js";
