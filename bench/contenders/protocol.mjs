// What a contender's process speaks: one JSON object a line. It prints {"ready": {…}, "tasks": […]} once, then answers each
// {task, …} from stdin with {ms} (and what it adds), until stdin ends. Anything else that it prints is not for us: see `serve`.
import { createInterface } from "node:readline";

/** Token ids that every contender is given: the same text for all, of frequent and rare tokens. */
export const promptTokens = (count, seed = 0) =>
  Array.from({ length: count }, (_, i) => 1000 + ((i * 37 + seed * 101) % 20000));

/** Sequences of the task `batch`. */
export const BATCH = 16;

/**
 * The time in which all sequences of a batch decode, and the tokens drawn in it. times: of each sequence the performance.now() of its
 * tokens.
 */
export function allDecoding(times) {
  const begin = Math.max(...times.map((one) => one[0]));
  const end = Math.min(...times.map((one) => one.at(-1)));
  const decoded = times.flat().filter((time) => time > begin && time <= end).length;
  return { decode_ms: end - begin, decoded };
}

/** Answers tasks one by one. `tasks`: functions by name, each given the request, each returning an object. */
export async function serve(ready, tasks) {
  const answer = (object) => process.stdout.write(`@${JSON.stringify(object)}\n`);
  answer({ ready, tasks: Object.keys(tasks) });
  for await (const line of createInterface({ input: process.stdin })) {
    const request = JSON.parse(line);
    try {
      answer(await tasks[request.task](request));
    } catch (error) {
      answer({ error: String(error?.stack ?? error) });
    }
  }
}
