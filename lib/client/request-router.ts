import type { NativeEvent } from "../native/types.js";

/** Passes each of the engine's batched events on to the request that it belongs to. */
export class RequestRouter {
  readonly #handlers = new Map<number, (event: NativeEvent) => void>();

  /** `handler` gets every event of the request, up to and including the one with `finish`. */
  add(request: number, handler: (event: NativeEvent) => void): void {
    this.#handlers.set(request, handler);
  }

  readonly dispatch = (events: NativeEvent[]): void => {
    for (const event of events) {
      const handler = this.#handlers.get(event.request);
      if (event.finish !== undefined) this.#handlers.delete(event.request);
      handler?.(event);
    }
  };

  /** Requests under way. */
  get size(): number {
    return this.#handlers.size;
  }
}
