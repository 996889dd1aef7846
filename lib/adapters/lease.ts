import { LowrankError } from "../errors/index.js";
import type { AppliedAdapter } from "../native/types.js";
import type { Admission } from "./admissions.js";
import type { AdapterUse } from "./selection.js";
import type { AdapterStore } from "./store.js";
import type { Version } from "./version.js";

/** The versions that one request began with: what is swapped or unloaded from now on does not touch it. */
export class AdapterLease {
  readonly #uses: readonly { version: Version; scale: number }[];
  readonly #store: AdapterStore;
  readonly #admission: Admission;
  #released = false;

  /** @internal */
  constructor(store: AdapterStore, versions: readonly Version[], uses: readonly Required<AdapterUse>[]) {
    this.#store = store;
    this.#uses = versions.map((version, i) => ({ version, scale: uses[i]!.scale }));
    for (const version of versions) {
      store.hold(version);
      version.lastUsed = Date.now();
    }
    this.#admission = store.admissions.admit([...new Set(versions)]);
  }

  /**
   * Resolves when all are in memory: at once where they are. Throws ERR_OUT_OF_MEMORY where they can never fit, ERR_ABORTED, ERR_DISPOSED,
   * and what reading an evicted one may throw.
   */
  async ready(signal: AbortSignal | undefined): Promise<void> {
    const { ready } = this.#admission;
    if (ready === null) return;
    const aborted = (): LowrankError =>
      new LowrankError("ERR_ABORTED", "The request was aborted while it waited for its adapters.", {
        cause: signal?.reason,
      });
    if (signal?.aborted) throw aborted();
    let stop!: () => void;
    const stopped = new Promise<never>((_, reject) => (stop = () => reject(aborted())));
    signal?.addEventListener("abort", stop, { once: true });
    try {
      await Promise.race([ready, stopped]);
    } finally {
      signal?.removeEventListener("abort", stop);
    }
  }

  /** As the engine takes them; `tokens` is the request's text, in which an activated adapter looks for what wakes it. */
  applied(tokens: Int32Array): AppliedAdapter[] {
    return this.#uses.flatMap(({ version, scale }) => {
      const { invocationTokens } = version.content;
      const fromPosition = invocationTokens ? lastOccurrence(tokens, invocationTokens) : 0;
      return fromPosition < 0 ? [] : [{ id: version.id!, scale, fromPosition, toPosition: 2 ** 31 - 1 }];
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

/** Where an activated adapter wakes: the start of the last occurrence (PEFT, calculate_alora_offsets); -1 where there is none. */
function lastOccurrence(tokens: Int32Array, wanted: readonly number[]): number {
  for (let at = tokens.length - wanted.length; at >= 0; at--)
    if (wanted.every((token, i) => tokens[at + i] === token)) return at;
  return -1;
}
