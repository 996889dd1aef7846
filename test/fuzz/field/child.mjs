// Runs the inputs [from, to) of one kind and prints a JSON line for each that breaks a rule, then a summary:
//   node test/fuzz/field/child.mjs KIND FROM TO
// Rules: an input ends as a LowrankError or well, within MAX_SECONDS; the event loop is never blocked above MAX_DELAY; memory grows by at
// most MAX_GROWTH.
import { monitorEventLoopDelay } from "node:perf_hooks";
import { LowrankError } from "../../../dist/index.js";
import { createAdapters } from "./adapters.mjs";
import { createMessages } from "./messages.mjs";
import { Random } from "./random.mjs";
import { createTemplates } from "./templates.mjs";
import { createTokenizers } from "./tokenizers.mjs";

const KINDS = {
  templates: createTemplates,
  messages: createMessages,
  tokenizers: createTokenizers,
  adapters: createAdapters,
};
/** Milliseconds, above which a second and a third run must be to count: other processes hold the cores now and then. */
const MAX_DELAY = 50;
const MAX_SECONDS = 15;
/** Bytes of resident memory above what the process had after its first inputs. */
const MAX_GROWTH = 256 * 2 ** 20;
const WARM_UP = 20;

const [kind, from, to] = [process.argv[2], Number(process.argv[3]), Number(process.argv[4])];
const subject = await KINDS[kind]();
const delay = monitorEventLoopDelay({ resolution: 2 });
const codes = new Map();
const tell = (line) => process.stdout.write(`${JSON.stringify({ kind, ...line })}\n`);

/** Seconds, the longest delay of the event loop in milliseconds, and how the input ended. */
async function measure(seed) {
  const random = new Random(seed);
  delay.reset();
  delay.enable();
  const began = performance.now();
  let ended = "well";
  try {
    await subject.run(random);
  } catch (error) {
    ended = LowrankError.isInstance(error) ? error.code : `${error?.name}: ${error?.message}`;
    // The answer to weights that overflow; any other internal error is a fault.
    if (ended === "ERR_INTERNAL" && !error.message.startsWith("Expected finite logits"))
      ended += `: ${error.message}`;
  }
  await new Promise((resolve) => setTimeout(resolve, 4));
  delay.disable();
  return { seconds: (performance.now() - began) / 1000, blocked: delay.max / 1e6, ended };
}

/** Peak of the resident memory so far, in bytes. */
const peak = () => process.resourceUsage().maxRSS * 1024;

for (let i = 0; i < WARM_UP; i++) await measure(i);
const base = peak();
let grown = base;
for (let seed = from; seed < to; seed++) {
  // Read by the parent where the process dies.
  process.stdout.write(`${seed}\n`);
  const { seconds, blocked, ended } = await measure(seed);
  codes.set(ended, (codes.get(ended) ?? 0) + 1);
  if (!/^(well|ERR_[A-Z_]+)$/.test(ended)) tell({ seed, fault: ended });
  if (seconds > MAX_SECONDS) tell({ seed, fault: `took ${seconds.toFixed(1)} s` });
  if (peak() - base > MAX_GROWTH && peak() > grown) {
    tell({ seed, fault: `memory grew by ${Math.round((peak() - base) / 2 ** 20)} MiB` });
    grown = peak();
  }
  if (blocked > MAX_DELAY) {
    const again = [await measure(seed), await measure(seed)].map((run) => run.blocked);
    if (Math.min(...again) > MAX_DELAY)
      tell({ seed, fault: `blocked the event loop for ${Math.min(blocked, ...again).toFixed(0)} ms` });
  }
}
await subject.dispose();
tell({ done: to - from, codes: Object.fromEntries(codes), grownMiB: Math.round((peak() - base) / 2 ** 20) });
