// What two processes differ by: one that has adapters loaded and is asked without one ("no adapter on the request costs nothing"), one with
// merged weights, or one with other kernels, each against the plain one. All are started anew in every round, since where a process's
// memory happens to lie moves its speed by more than what is sought; within a round two take turns, the first one changing. A round gives
// one ratio.
import { closeAll, Contender } from "../contenders/contender.mjs";
import { promptsOf, takeTurns } from "./turns.mjs";

const PAIRS = 6;

/** By figure, its values, and of each round the logarithm of its ratio. comparisons: of comparisonsOf; contenders: as they are described. */
export async function pairedRounds(comparisons, contenders, { rounds, threads, log }) {
  const results = new Map(comparisons.map(({ name }) => [name, { values: [], logarithms: [] }]));
  const kinds = new Set(comparisons.flatMap(({ sides }) => sides.map(({ kind }) => kind)));
  const needed = contenders.filter(({ kind }) => kinds.has(kind));
  for (let round = 0; round < rounds; round++) {
    const started = [];
    try {
      for (const one of round % 2 === 0 ? needed : [...needed].reverse())
        started.push(new Contender({ ...one, threads }));
      for (const one of started) await one.ready();
      for (const [index, comparison] of comparisons.entries()) {
        const { name, of } = comparison;
        const turns = await takeTurns(comparison, started, { pairs: PAIRS, seed: index * promptsOf(PAIRS) });
        const mean = turns.logarithms.reduce((sum, value) => sum + value, 0) / PAIRS;
        results.get(name).values.push(...turns.values);
        results.get(name).logarithms.push(mean);
        log(`round ${round + 1}: ${name} ${Math.exp(mean).toFixed(4)} of ${of}`);
      }
    } finally {
      await closeAll(started);
    }
  }
  return results;
}
