// Requests with many adapters on one engine: the prefix cache, the pace of streams, swaps under load, many registered adapters.
import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { figure } from "../statistics.mjs";

const child = fileURLToPath(new URL("../children/serving.mjs", import.meta.url));
const SWAPS = 10_000;
const REGISTERED = [8, 100, 1000];

async function run({ file }, ...parameters) {
  const { stdout } = await promisify(execFile)(process.execPath, [child, file, ...parameters.map(String)]);
  return JSON.parse(stdout);
}

const ratio = (of, one, other) => ({ of, ratio: one.median / other.median });

export async function servingSuite({ model, log }) {
  const values = {};
  for (const part of ["prefix", "activated", "pace"]) {
    Object.assign(values, await run(model, part));
    log(`serving: ${part}`);
  }
  for (const count of REGISTERED) {
    Object.assign(values, await run(model, "registered", count));
    log(`serving: ${count} registered adapters`);
  }
  Object.assign(values, await run(model, "swaps", SWAPS));
  log(`serving: ${SWAPS} swaps`);

  const of = (name, unit, more = {}) => figure(name, unit, values[name], more);
  const cold = of("prefix_cold_ms", "ms");
  const gap = of("token_gap_ms", "ms");
  const registered = REGISTERED.map((count) => of(`registered_${count}`, "tokens/s"));
  const hit = of("prefix_hit_ms", "ms", { limit: 0.1 * cold.median });
  const late = of("token_gap_p99_ms", "ms", { limit: 3 * gap.median });
  return {
    figures: [
      cold,
      { ...hit, share: ratio("prefix_cold_ms", hit, cold) },
      of("activated_switch_ms", "ms", { limit: 30 }),
      of("event_loop_p99_ms", "ms", { limit: 10 }),
      of("token_gap_alone_ms", "ms"),
      gap,
      { ...late, share: ratio("token_gap_ms", late, gap) },
      of("long_prompt_ms", "ms"),
      ...registered.map((one) => ({
        ...one,
        share: ratio(`registered_${REGISTERED[0]}`, one, registered[0]),
      })),
      of("swap_under_load_ms", "ms"),
      of("swap_under_load_p99_ms", "ms", { limit: 1 }),
      of("swap_under_load_answers", "answers"),
      of("swap_under_load_growth_mb", "MB"),
    ],
  };
}
