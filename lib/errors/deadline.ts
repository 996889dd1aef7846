import { LowrankError } from "./index.js";

/** When a request must have ended, whatever it waits for. */
export interface Deadline {
  /** On the clock of `performance.now()`. */
  readonly at: number;
  /** The whole time that was given, in milliseconds. */
  readonly milliseconds: number;
}

/** A deadline that many milliseconds from now; undefined for 0, which stands for no limit. */
export function deadlineIn(milliseconds: number): Deadline | undefined {
  return milliseconds === 0 ? undefined : { at: performance.now() + milliseconds, milliseconds };
}

/** Milliseconds that are left, at least 1; 0 where there is no limit. */
export function timeLeft(deadline: Deadline | undefined): number {
  return deadline === undefined ? 0 : Math.max(1, deadline.at - performance.now());
}

/** ERR_TIMEOUT. `state` says in a clause what the request was waiting for. */
export function missed({ milliseconds }: Deadline, state: string): LowrankError {
  return new LowrankError(
    "ERR_TIMEOUT",
    `Expected the request to end within ${milliseconds} ms, ${state} by then.`,
    {
      details: { milliseconds },
    },
  );
}
