// What an adapter costs one layer, native: fused into the ops, and as passes of their own.
import { availableParallelism } from "node:os";
import { buildNativeBench, runNativeBench } from "../ceilings.mjs";
import { figure } from "../statistics.mjs";

const ROWS = [1, 512];
/** What is added to the figure's name, and the time in the native benchmark's answer; the first is what the others are put beside. */
const KINDS = [
  ["_none", "none_us"],
  ["", "fused_us"],
  ["_unfused", "unfused_us"],
];

/** Microseconds a layer. A process measures all three kinds in turn. */
export async function adapterLayerSuite({ repeats }) {
  buildNativeBench();
  const threads = Math.min(2, availableParallelism());
  const figures = [];
  for (const rows of ROWS) {
    const runs = [];
    for (let i = 0; i < repeats; i++) runs.push(await runNativeBench("adapter", rows, threads));
    const [none, ...others] = KINDS.map(([suffix, key]) =>
      figure(
        `adapter_layer_${rows}${suffix}`,
        "µs",
        runs.map((run) => run[key]),
        { threads },
      ),
    );
    figures.push(
      none,
      ...others.map((one) => ({ ...one, share: { of: none.name, ratio: one.median / none.median } })),
    );
  }
  return { figures };
}
