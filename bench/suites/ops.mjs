// Single ops at the machine's ceilings, native: the int8 product alone.
import { availableParallelism } from "node:os";
import { buildNativeBench, measureCeilings, runNativeBench } from "../ceilings.mjs";
import { figure, median } from "../statistics.mjs";

const ROWS = 512;

/** Product and ceiling take turns; the limit is the median of the ceilings, or a product that was faster. */
async function matmul(name, threads, repeats) {
  const rates = [];
  const ceilings = [];
  for (let i = 0; i < repeats; i++) {
    ceilings.push((await measureCeilings(threads)).int8_gop_per_s);
    rates.push((await runNativeBench("matmul", ROWS, threads)).gop_per_s);
  }
  const own = figure(name, "Gop/s", rates, { threads });
  return { ...own, limit: Math.max(median(ceilings), own.median) };
}

export async function opsSuite({ repeats }) {
  buildNativeBench();
  const figures = [await matmul("matmul_512_1_thread", 1, repeats)];
  if (availableParallelism() > 1) figures.push(await matmul("matmul_512", 2, repeats));
  return { figures };
}
