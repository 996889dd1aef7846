// What the leak tests share: a process in which memory can be compared, and its resident memory.
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";

/**
 * Starts this script again where it cannot ask for a garbage collection: with a young generation and an allocator that take their final
 * size at once. V8 would let the one grow over hundreds of cycles, glibc gives each new thread an arena of its own.
 */
export function withCollector() {
  if (typeof globalThis.gc === "function") return;
  const flags = ["--expose-gc", "--max-semi-space-size=1"];
  const { status } = spawnSync(process.execPath, [...flags, ...process.argv.slice(1)], {
    stdio: "inherit",
    env: { ...process.env, MALLOC_ARENA_MAX: "1" },
  });
  process.exit(status ?? 1);
}

/** Resident memory in MiB, without what other processes share. */
export function residentMib() {
  for (let i = 0; i < 3; i++) globalThis.gc();
  if (process.platform !== "linux") return process.memoryUsage.rss() / 2 ** 20;
  return Number(/RssAnon:\s+(\d+)/.exec(readFileSync("/proc/self/status", "utf8"))[1]) / 1024;
}

/** The number of cycles that the script is asked for, at least 50. */
export function cyclesWanted() {
  const cycles = Number(process.argv[2] ?? 1000);
  if (Number.isInteger(cycles) && cycles >= 50) return cycles;
  process.stderr.write("Expected at least 50 cycles.\n");
  return process.exit(2);
}

/** Runs the cycles, tells what memory did, and ends with status 1 where it grew by more than `allowedMib`. */
export async function expectFlat({ cycles, warmUp, allowedMib, cycle }) {
  for (let i = 0; i < warmUp; i++) await cycle(i);
  const before = residentMib();
  for (let i = warmUp; i < cycles; i++) {
    await cycle(i);
    if (process.stdout.isTTY && i % 20 === 0) process.stdout.write(`\rcycle ${i} of ${cycles}`);
  }
  const after = residentMib();
  const grown = after - before;
  process.stdout.write(
    `${cycles} cycles: ${before.toFixed(1)} MiB after ${warmUp}, ${after.toFixed(1)} MiB at the end, ${grown.toFixed(1)} MiB more\n`,
  );
  if (grown <= allowedMib) return;
  process.stderr.write(`Expected at most ${allowedMib} MiB of growth, received ${grown.toFixed(1)} MiB.\n`);
  process.exit(1);
}
