import { readFileSync } from "node:fs";
import { availableParallelism, cpus, totalmem } from "node:os";

/** What the figures were taken on. */
export const machine = () => ({
  cpu: cpus()[0]?.model ?? "unknown",
  cores: availableParallelism(),
  memoryGiB: Math.round(totalmem() / 2 ** 30),
  platform: `${process.platform} ${process.arch}`,
  node: process.version,
});

/** What tells kinds of processors apart where their names do not: the vendor, family and flags that Linux gives for x86. */
export function processor() {
  let text = "";
  try {
    text = readFileSync("/proc/cpuinfo", "utf8");
  } catch {
    // Not Linux: nothing is known.
  }
  const field = (name) => new RegExp(`^${name}\\s*:\\s*(.*)$`, "m").exec(text)?.[1];
  return {
    vendor: field("vendor_id"),
    family: Number(field("cpu family")),
    flags: field("flags")?.split(" "),
    cores: availableParallelism(),
  };
}
