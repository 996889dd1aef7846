import { LowrankError } from "../errors/index.js";
import type { AdapterMemory } from "./memory.js";
import type { Version } from "./version.js";

/** A request's hold on versions. */
export interface Admission {
  /** Resolves when all are in memory; null where they are. Rejects where one cannot be loaded or they do not fit. */
  ready: Promise<void> | null;
  /** Ends the hold, or the wait for it. May be called again. */
  end(): void;
}

interface Waiter {
  versions: readonly Version[];
  since: number;
  state: "waiting" | "admitted" | "ended";
  resolve: () => void;
  reject: (error: unknown) => void;
}

/** After this wait for memory a request goes first, before those whose adapters are in memory. */
const OVERTAKEN_MS = 1000;

/**
 * Requests that wait until their adapters are in memory, in order. A request retains all its versions at once, so that two can never wait
 * for each other.
 */
export class Admissions {
  readonly #memory: AdapterMemory;
  readonly #waiting: Waiter[] = [];
  #admitting = false;
  /** Room has come free since the last look at the first in line. */
  #room = false;

  constructor(memory: AdapterMemory) {
    this.#memory = memory;
    memory.onRoom = () => this.admitWaiting();
  }

  /** At once where all are in memory. */
  admit(versions: readonly Version[]): Admission {
    const first = this.#waiting[0];
    const overtakes = !first || performance.now() - first.since < OVERTAKEN_MS;
    if (overtakes && versions.every(({ id }) => id !== null)) {
      this.#memory.retain(versions);
      let ended = false;
      const end = (): void => {
        if (!ended) this.#memory.release(versions);
        ended = true;
      };
      return { ready: null, end };
    }
    let waiter!: Waiter;
    const ready = new Promise<void>((resolve, reject) => {
      waiter = { versions, since: performance.now(), state: "waiting", resolve, reject };
    });
    ready.catch(() => {}); // the request may have ended for another reason
    this.#waiting.push(waiter);
    this.admitWaiting();
    return { ready, end: () => this.#end(waiter) };
  }

  #end(waiter: Waiter): void {
    const before = waiter.state;
    waiter.state = "ended";
    if (before === "admitted") this.#memory.release(waiter.versions);
    else if (before === "waiting") this.#remove(waiter);
  }

  #remove(waiter: Waiter): void {
    const at = this.#waiting.indexOf(waiter);
    if (at >= 0) this.#waiting.splice(at, 1);
    this.admitWaiting();
  }

  /** Admits waiting requests in their order, while there is room. */
  admitWaiting(): void {
    if (this.#waiting.length === 0) return;
    this.#room = true;
    if (!this.#admitting) void this.#admitAll();
  }

  async #admitAll(): Promise<void> {
    this.#admitting = true;
    try {
      for (let waiter; (waiter = this.#waiting[0]);) {
        this.#room = false;
        if ((await this.#attempt(waiter)) || this.#room) continue;
        if (this.#memory.mayComeFree(waiter.versions)) return;
        this.#remove(waiter);
        waiter.reject(this.#memory.full(waiter.versions));
      }
    } finally {
      this.#admitting = false;
    }
  }

  /** False where there is no room for the first in line. */
  #attempt(waiter: Waiter): Promise<boolean> {
    const { versions } = waiter;
    return this.#memory.clear(versions, () => {
      if (waiter.state !== "waiting") return;
      waiter.state = "admitted";
      this.#waiting.shift();
      this.#memory.retain(versions);
      this.#memory.loadAll(versions).then(waiter.resolve, waiter.reject);
    });
  }

  /** Ends every wait with ERR_DISPOSED. */
  dispose(): void {
    const error = new LowrankError(
      "ERR_DISPOSED",
      "The model was disposed while a request waited for its adapters.",
    );
    for (const waiter of this.#waiting.splice(0)) {
      waiter.state = "ended";
      waiter.reject(error);
    }
  }
}
