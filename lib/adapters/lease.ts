import { throwIfAborted } from "../errors/check.js";
import { LowrankError } from "../errors/index.js";
import type { AppliedAdapter } from "../native/types.js";
import type { Admission } from "./admissions.js";
import type { AdapterContent } from "./load.js";
import type { AdapterUse, ScaleStep } from "./selection.js";
import type { AdapterStore } from "./store.js";
import type { Version } from "./version.js";

/** Stands for the end of every text. */
const END = 2 ** 31 - 1;

/** What a request needs of a lease. */
export type LeasedAdapters = Pick<AdapterLease, "applied" | "release">;

/** The versions that one request began with: what is swapped or unloaded from now on does not touch it. */
export class AdapterLease {
  readonly #uses: readonly { version: Version; steps: readonly ScaleStep[] }[];
  readonly #store: AdapterStore;
  readonly #admission: Admission;
  #released = false;

  /** @internal */
  constructor(store: AdapterStore, versions: readonly Version[], uses: readonly Required<AdapterUse>[]) {
    this.#store = store;
    this.#uses = versions.map((version, i) => {
      const { scale } = uses[i]!;
      return { version, steps: typeof scale === "number" ? [{ fromToken: 0, scale }] : scale };
    });
    for (const version of versions) {
      store.retain(version);
      version.lastUsed = Date.now();
    }
    this.#admission = store.admissions.admit([...new Set(versions)]);
  }

  /**
   * Resolves when all are in memory: at once where they are. `timeoutMs` 0: no limit. Throws ERR_TIMEOUT, ERR_OUT_OF_MEMORY where they can
   * never fit, ERR_ABORTED, ERR_DISPOSED, and what reading an evicted one may throw.
   */
  async ready(signal: AbortSignal | undefined, timeoutMs: number): Promise<void> {
    const { ready } = this.#admission;
    if (ready === null) return;
    throwIfAborted(signal, "The request");
    const settled = new AbortController();
    let fail!: (error: LowrankError) => void;
    const ended = new Promise<never>((_, reject) => (fail = reject));
    const abort = (): void =>
      fail(new LowrankError("ERR_ABORTED", "The request was aborted.", { cause: signal?.reason }));
    signal?.addEventListener("abort", abort, { once: true, signal: settled.signal });
    const late = (): void =>
      fail(
        new LowrankError(
          "ERR_TIMEOUT",
          `Expected the adapters of the request in memory within ${timeoutMs} ms. Raise timeoutMs or adapterMemory, or pin them.`,
        ),
      );
    const timer = timeoutMs > 0 ? setTimeout(late, timeoutMs) : undefined;
    try {
      await Promise.race([ready, ended]);
    } finally {
      settled.abort();
      clearTimeout(timer);
    }
  }

  /** By use. */
  get contents(): AdapterContent[] {
    return this.#uses.map(({ version }) => version.content);
  }

  /**
   * As the engine takes them. `tokens` is the request's text, in which an activated adapter looks for its invocation tokens; the row of its
   * position `promptTokens` - 1 gives the first token that steps of scales count. Of uses [first, last) alone, where several requests
   * share the lease.
   */
  applied(tokens: Int32Array, promptTokens: number, first = 0, last = this.#uses.length): AppliedAdapter[] {
    return this.#uses.slice(first, last).flatMap(({ version, steps }) => {
      const { invocationTokens } = version.content;
      const activationStart = invocationTokens ? lastOccurrence(tokens, invocationTokens) : 0;
      if (activationStart < 0) return [];
      const begin = (step: ScaleStep | undefined): number =>
        step === undefined
          ? END
          : Math.min(END, step.fromToken === 0 ? 0 : promptTokens - 1 + step.fromToken);
      return steps
        .map((step, i) => ({
          id: version.id!,
          scale: step.scale,
          fromPosition: Math.max(activationStart, begin(step)),
          toPosition: begin(steps[i + 1]),
        }))
        .filter(({ fromPosition, toPosition }) => fromPosition < toPosition);
    });
  }

  /** May be called again. */
  release(): void {
    if (this.#released) return;
    this.#released = true;
    this.#admission.end();
    for (const { version } of this.#uses) this.#store.release(version);
  }
}

/** Where an activated adapter starts: at the last occurrence of its invocation tokens (PEFT, calculate_alora_offsets); -1 where there is none. */
function lastOccurrence(tokens: Int32Array, wanted: readonly number[]): number {
  for (let at = tokens.length - wanted.length; at >= 0; at--)
    if (wanted.every((token, i) => tokens[at + i] === token)) return at;
  return -1;
}
