// Shares of which one process answers both sides, such as decoding with an adapter and without: where its memory happens to lie falls on
// both, so the process need not be started anew, and the pairs stand for themselves.
import { meanRatio } from "../statistics.mjs";
import { pairsFor, promptsOf, takeTurns } from "./turns.mjs";

/** By figure, of each pair the logarithm of its ratio. comparisons: of comparisonsOf; processes: running ones; seed: of the first prompt. */
export async function sharesInTurns(comparisons, processes, { repeats, seed, log }) {
  const pairs = pairsFor(repeats);
  const results = new Map();
  for (const [index, comparison] of comparisons.entries()) {
    const { name, of } = comparison;
    const turns = await takeTurns(comparison, processes, { pairs, seed: seed + index * promptsOf(pairs) });
    results.set(name, turns);
    log(`${pairs} pairs: ${name} ${meanRatio(turns.logarithms).ratio.toFixed(4)} of ${of}`);
  }
  return results;
}
