// A kernel against its entry in native/cuda/budgets.json:
//   registers       of a thread, at most, on any architecture
//   shared          bytes of static shared memory, at most
//   dynamic_shared  bytes of dynamic shared memory that its largest launch asks for
//   stack           bytes of a thread's stack, at most
//   blocks          blocks at once on one multiprocessor, at least, on any architecture
//   instructions    names in scripts/cuda/instructions.mjs of what it must have
import { INSTRUCTIONS, missingInstructions } from "./instructions.mjs";
import { LIMITS, occupancy } from "./occupancy.mjs";

const REGISTER_UNIT = 8;

/** What fails, a sentence each. `budget` may be missing. */
export function checkKernel(kernel, budget) {
  const at = `${kernel.name} on sm_${kernel.architecture}`;
  if (budget === undefined)
    return [
      `${at}: Expected an entry in native/cuda/budgets.json. npm run cuda:check -- --update writes one.`,
    ];
  const failures = [];
  const atMost = (what, value, limit) => {
    if (!(value <= limit)) failures.push(`${at}: Expected at most ${limit} ${what}, received ${value}.`);
  };
  atMost("registers", kernel.registers, budget.registers);
  atMost("bytes of static shared memory", kernel.shared, budget.shared);
  atMost("bytes of stack", kernel.stack, budget.stack);
  atMost("bytes of spills", kernel.spills, 0);
  const shared = kernel.shared + budget.dynamic_shared;
  atMost("bytes of shared memory in a block", shared, LIMITS[kernel.architecture].sharedOfBlock);
  const { blocks } = occupancy(kernel.architecture, { ...kernel, shared });
  if (!(blocks >= budget.blocks))
    failures.push(`${at}: Expected ${budget.blocks} blocks or more at once, received ${blocks}.`);
  const unknown = budget.instructions.filter((name) => INSTRUCTIONS[name] === undefined);
  if (unknown.length > 0)
    return [
      ...failures,
      `${at}: Expected names of scripts/cuda/instructions.mjs, received ${unknown.join(", ")}.`,
    ];
  for (const language of ["ptx", "sass"]) {
    if (kernel[language] === null) continue;
    const missing = missingInstructions(kernel[language], budget.instructions, language);
    if (missing.length > 0)
      failures.push(`${at}: Expected ${missing.join(", ")} in its ${language.toUpperCase()}, found none.`);
  }
  return failures;
}

/** Budgets as tight as what was measured. What a kernel must have, and its dynamic shared memory, are kept from `before`. */
export function measured(kernels, before) {
  const budgets = {};
  for (const kernel of kernels) {
    const old = before[kernel.name];
    const budget = (budgets[kernel.name] ??= {
      registers: 0,
      shared: 0,
      dynamic_shared: old?.dynamic_shared ?? 0,
      stack: 0,
      blocks: Infinity,
      instructions: old?.instructions ?? [],
    });
    const registers = Math.ceil(kernel.registers / REGISTER_UNIT) * REGISTER_UNIT;
    const shared = kernel.shared + budget.dynamic_shared;
    budget.registers = Math.max(budget.registers, registers);
    budget.shared = Math.max(budget.shared, kernel.shared);
    budget.stack = Math.max(budget.stack, kernel.stack);
    budget.blocks = Math.min(
      budget.blocks,
      occupancy(kernel.architecture, { ...kernel, registers, shared }).blocks,
    );
  }
  return budgets;
}
