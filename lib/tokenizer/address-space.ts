import { readFileSync } from "node:fs";
import { LowrankError } from "../errors/index.js";

/** Bytes of address space that starting a worker takes (600 to 850 MB were measured): V8 ends the process where it gets none. */
const WORKER_BYTES = 2 ** 30;

/** Bytes of address space that this process may still take (`ulimit -v`). Infinity where there is no limit, or none that can be read. */
export function addressSpaceLeft(
  read: (path: string) => string = (path) => readFileSync(path, "utf8"),
): number {
  try {
    const limit = /^Max address space\s+(\d+)/m.exec(read("/proc/self/limits"));
    if (limit === null) return Infinity; // "unlimited"
    const pages = Number(read("/proc/self/statm").split(" ")[0]);
    return Number(limit[1]) - pages * 4096;
  } catch {
    return Infinity; // no Linux
  }
}

/** Throws ERR_OUT_OF_MEMORY where a worker could not start. */
export function checkRoomForWorker(left = addressSpaceLeft()): void {
  if (left >= WORKER_BYTES) return;
  throw new LowrankError(
    "ERR_OUT_OF_MEMORY",
    `Expected ${WORKER_BYTES} bytes of address space for the text worker, received ${Math.max(0, left)}. Raise the limit (ulimit -v).`,
    { details: { left } },
  );
}
