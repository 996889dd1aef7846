import { expected } from "../errors/index.js";
import type { Precision } from "./types.js";

/** Refuses an option that only models of precision "int8" have, where it was given. */
export function requireInt8(name: string, given: unknown, precision: Precision): void {
  if (given !== undefined && precision !== "int8")
    throw expected("a model of precision int8", name, given, `Leave it out with precision ${precision}.`);
}
