import { setImmediate as nextTurn } from "node:timers/promises";
import { throwIfAborted } from "../errors/check.js";

/** Work on the event loop in one go, in ms. */
const SLICE_MS = 4;

/** Cuts long work into slices, between which the event loop has its turn and the signal its say. */
export class Slices {
  readonly #signal: AbortSignal | undefined;
  readonly #what: string;
  #began = performance.now();

  /** @param what Begins the message of ERR_ABORTED. */
  constructor(signal: AbortSignal | undefined, what: string) {
    this.#signal = signal;
    this.#what = what;
  }

  /** Called now and then by the work. Throws ERR_ABORTED. */
  async pause(): Promise<void> {
    if (performance.now() - this.#began < SLICE_MS) return;
    await nextTurn();
    throwIfAborted(this.#signal, this.#what);
    this.#began = performance.now();
  }
}
