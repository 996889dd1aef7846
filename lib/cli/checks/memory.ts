import { freemem, totalmem } from "node:os";
import { byteText } from "../terminal.js";
import type { Finding } from "./index.js";

/** What the smallest model takes with its cache. */
const MIN_FREE = 500e6;

export async function memory(): Promise<Finding> {
  const limit = process.constrainedMemory() || Infinity;
  const total = Math.min(totalmem(), limit);
  const free = Math.min(process.availableMemory?.() ?? freemem(), total);
  const says = `${byteText(free)} of ${byteText(total)} available${limit < totalmem() ? ", by this container's limit" : ""}`;
  return free >= MIN_FREE
    ? { state: "ok", says }
    : {
        state: "failure",
        says,
        remedy: `Expected ${byteText(MIN_FREE)} for the smallest model. End other programs, or raise the limit.`,
      };
}
