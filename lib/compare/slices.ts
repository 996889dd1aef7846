import { setImmediate as nextTurn } from "node:timers/promises";
import { throwIfAborted } from "../errors/check.js";

/** Work on the event loop in one go, in ms. */
const SLICE_MS = 4;

/** Cuts long work into slices, between which the event loop has its turn and the signal its say. */
export class Slices {
  readonly #signal: AbortSignal | undefined;
  #began = performance.now();

  constructor(signal: AbortSignal | undefined) {
    this.#signal = signal;
  }

  /** Called now and then by the work. Throws ERR_ABORTED. */
  async pause(): Promise<void> {
    if (performance.now() - this.#began < SLICE_MS) return;
    await nextTurn();
    throwIfAborted(this.#signal, "The comparison");
    this.#began = performance.now();
  }
}
