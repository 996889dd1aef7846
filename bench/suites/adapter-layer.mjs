// What an adapter costs one layer, native: fused into the ops, and as passes of their own.
import { availableParallelism } from "node:os";
import { buildNativeBench, runNativeBench } from "../ceilings.mjs";
import { figure, meanRatio } from "../statistics.mjs";

const ROWS = [1, 512];
// Of fewer, the interval of a share would say nothing.
const LEAST_RUNS = 3;
/** What is added to the figure's name, and the time in the native benchmark's answer. */
const NONE = ["_none", "none_us"];
const KINDS = [NONE, ["", "fused_us"], ["_unfused", "unfused_us"]];

/** Microseconds a layer. A process measures all three kinds in turn, so each gives a ratio. */
export async function adapterLayerSuite({ repeats }) {
  buildNativeBench();
  const threads = Math.min(2, availableParallelism());
  const figures = [];
  for (const rows of ROWS) {
    const runs = [];
    for (let i = 0; i < Math.max(LEAST_RUNS, repeats); i++)
      runs.push(await runNativeBench("adapter", rows, threads));
    const [of, base] = [`adapter_layer_${rows}${NONE[0]}`, runs.map((run) => run[NONE[1]])];
    for (const [suffix, key] of KINDS) {
      const name = `adapter_layer_${rows}${suffix}`;
      const times = runs.map((run) => run[key]);
      const ratio = meanRatio(times.map((time, i) => Math.log(time / base[i])));
      const share = name === of ? {} : { share: { of, ...ratio } };
      figures.push(figure(name, "µs", times, { threads, ...share }));
    }
  }
  return { figures };
}
