// Two figures asked in turn, so that both meet the same moods of the machine: which those are, and how the turns are taken.
import { FIGURES, rateOf, requestOf } from "./figures.mjs";

// What makes these processes different is in all that they answer. One with adapters, asked without them, is like the plain one.
const APART = ["avx2", "merged"];

/** Pairs for a share within one process. The number is even: each side begins equally often. */
export const pairsFor = (repeats) => 2 * Math.min(6, Math.max(3, Math.ceil((3 * repeats) / 2)));

/**
 * What some figures are compared with: of, the other's name; sides: the other and the figure, each as {kind, asked}, kind being that of the
 * process. Both kinds are the same where one process can answer both.
 */
export const comparisonsOf = (figures) =>
  figures
    .filter(([, { shareOf, pairedWith }]) => shareOf ?? pairedWith)
    .map(([name, asked]) => {
      const of = asked.shareOf ?? asked.pairedWith;
      const { by: kind = "plain" } = asked;
      const other = FIGURES[of];
      const twoProcesses = asked.pairedWith !== undefined || APART.includes(kind);
      return {
        name,
        of,
        sides: [
          { kind: twoProcesses ? (other.by ?? "plain") : kind, asked: other },
          { kind, asked },
        ],
      };
    });

export const inOneProcess = ({ sides: [other, one] }) => other.kind === one.kind;

/** The prompts that `takeTurns` takes: one for each question. */
export const promptsOf = (pairs) => 2 * (pairs + 1);

/**
 * Asks both sides of a comparison `pairs` times, after one pair to warm up, the first one changing (A B, B A, …), each time with another prompt,
 * `seed` being that of the first. processes: one of each kind. The rates of the figure, and of each pair the logarithm of its ratio to the other.
 */
export async function takeTurns({ sides }, processes, { pairs, seed }) {
  const values = [];
  const logarithms = [];
  for (let pair = -1; pair < pairs; pair++) {
    const rates = [0, 0];
    for (const side of pair % 2 === 0 ? [0, 1] : [1, 0]) {
      const { kind, asked } = sides[side];
      const answering = processes.find((one) => one.kind === kind);
      rates[side] = rateOf(asked, await answering.ask(requestOf(asked, seed++)));
    }
    if (pair < 0) continue;
    values.push(rates[1]);
    logarithms.push(Math.log(rates[1] / rates[0]));
  }
  return { values, logarithms };
}
