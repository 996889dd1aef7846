// "No adapter on the request costs nothing": a process that has adapters loaded, asked without one, against a process that never loaded
// any. Both are started anew in every round, since where a process's memory happens to lie moves its speed by more than what is
// sought; within a round they take turns, the first one changing. A round gives one ratio.
import { Contender } from "../contenders/contender.mjs";
import { ratioInterval } from "../statistics.mjs";
import { rateOf, requestOf } from "./figures.mjs";

const PAIRS = 6;

/**
 * By figure: the values of the process with adapters, and `ratio: {of, median, low, high}` to the other, a 95 % interval.
 * wanted: [name, figure]. sides: [plain, with adapters], as contenders are described.
 */
export async function pairedRounds(wanted, sides, { rounds, threads, log }) {
  const results = new Map(wanted.map(([name]) => [name, { values: [], logarithms: [] }]));
  for (let round = 0; round < rounds; round++) {
    const started = [];
    try {
      for (const side of round % 2 === 0 ? sides : [...sides].reverse())
        started.push(new Contender({ ...side, threads }));
      if (round % 2 === 1) started.reverse();
      for (const one of started) await one.ready();
      for (const [name, asked] of wanted) {
        const logarithms = [];
        for (let pair = -1; pair < PAIRS; pair++) {
          const request = requestOf(asked, round * (PAIRS + 1) + pair + 1);
          const rates = [0, 0];
          for (const side of pair % 2 === 0 ? [0, 1] : [1, 0])
            rates[side] = rateOf(asked, await started[side].ask(request));
          if (pair < 0) continue; // a warm-up
          logarithms.push(Math.log(rates[1] / rates[0]));
          results.get(name).values.push(rates[1]);
        }
        const mean = logarithms.reduce((sum, value) => sum + value, 0) / PAIRS;
        results.get(name).logarithms.push(mean);
        log(`round ${round + 1}: ${name} ${Math.exp(mean).toFixed(4)} of ${asked.pairedWith}`);
      }
    } finally {
      await Promise.all(started.map((one) => one.close().catch(() => {})));
    }
  }
  return new Map(
    wanted.map(([name, { pairedWith }]) => {
      const { values, logarithms } = results.get(name);
      return [name, { values, ratio: { of: pairedWith, ...ratioInterval(logarithms) } }];
    }),
  );
}
