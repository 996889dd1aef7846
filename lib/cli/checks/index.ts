import { cacheFolders, diskSpace } from "./disk.js";
import { hub } from "./hub.js";
import { addonLoads, cuda, instructionSet, nodeVersion } from "./machine.js";
import { memory } from "./memory.js";
import { packedCache } from "./packed-cache.js";

/** What a check found. */
export interface Finding {
  /** warning: something that people may want to know, but nothing fails. */
  state: "ok" | "warning" | "failure";
  says: string;
  remedy?: string;
}

export interface Check {
  name: string;
  find: (signal: AbortSignal) => Promise<Finding>;
}

/** In the order in which one fault explains the next. */
export const CHECKS: readonly Check[] = [
  { name: "Node.js", find: nodeVersion },
  { name: "engine", find: addonLoads },
  { name: "instruction set", find: instructionSet },
  { name: "CUDA", find: cuda },
  { name: "memory", find: memory },
  { name: "caches", find: cacheFolders },
  { name: "disk", find: diskSpace },
  { name: "packed weights", find: packedCache },
  { name: "network", find: hub },
];
