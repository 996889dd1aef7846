import { LowrankError } from "../errors/index.js";
import type { Version } from "./version.js";

/** How versions come into memory and leave it; the store provides it. */
export interface VersionLoader {
  /** Reads and builds a version; resolves with its native handle. */
  load(version: Version): Promise<number>;
  /** Whether a version could be read again after it was evicted. */
  recoverable(version: Version): Promise<boolean>;
  /** Frees a native handle. */
  free(id: number): void;
  /** A load has ended: nobody may want the version any more. */
  loaded(version: Version): void;
  /** More about why nothing can be evicted, for the message. */
  readonly failure: unknown;
}

/** Loads at once: as many as libuv has threads by default. */
const MAX_LOADS = 4;
const bytesOf = (versions: Iterable<Version>): number => {
  let bytes = 0;
  for (const { content } of versions) bytes += content.bytes;
  return bytes;
};

/** Which versions are in memory. Under a limit, the least recently used ones that no request runs with and no name pins are evicted. */
export class AdapterMemory {
  readonly limit: number;
  /** Called when there may be room that was not there before. */
  onRoom: () => void = () => {};
  readonly #loader: VersionLoader;
  /** In memory or being loaded. */
  readonly #held = new Set<Version>();
  /** Tail of the work that makes room: done one after the other, so that nothing is evicted twice. */
  #clearing: Promise<unknown> = Promise.resolve();
  #loads = 0;
  readonly #loadQueue: (() => void)[] = [];
  #uses = 0;

  /** @param limit Bytes, or Infinity. */
  constructor(limit: number, loader: VersionLoader) {
    this.limit = limit;
    this.#loader = loader;
  }

  /** Bytes of what is in memory or on its way there. */
  get bytes(): number {
    return bytesOf(this.#held);
  }

  /** Keeps versions that are in memory there until `release`. */
  retain(versions: readonly Version[]): void {
    for (const version of versions) {
      version.active++;
      this.#touch(version);
    }
  }

  release(versions: readonly Version[]): void {
    for (const version of versions) version.active--;
    this.onRoom();
  }

  /** Loads what is not in memory, at once: throws ERR_OUT_OF_MEMORY where nothing can be evicted for it, and what loading may throw. */
  async ensure(versions: readonly Version[]): Promise<void> {
    let loads: Promise<void> | undefined;
    await this.clear(versions, () => {
      this.retain(versions);
      loads = this.loadAll(versions);
    });
    if (!loads) throw this.full(versions);
    try {
      await loads;
    } finally {
      this.release(versions);
    }
  }

  /**
   * Takes in a version that has just been built. `leaving`: what it is to replace, whose memory need not be counted where nobody else
   * holds it. Where there is no room, frees it and throws ERR_OUT_OF_MEMORY.
   */
  async add(version: Version, id: number, leaving: Version | null): Promise<void> {
    if (await this.clear([version], () => this.#take(version, id), leaving)) return;
    this.#loader.free(id);
    throw this.full([version]);
  }

  /** Frees what a version takes. The caller knows that no request runs with it. */
  drop(version: Version): void {
    if (version.id === null) return;
    this.#loader.free(version.id);
    version.id = null;
    this.#held.delete(version);
    this.onRoom();
  }

  #take(version: Version, id: number): void {
    // It may have come into memory by another load meanwhile: one copy is enough.
    if (version.id !== null) return this.#loader.free(id);
    version.id = id;
    this.#held.add(version);
    this.#touch(version);
  }

  #touch(version: Version): void {
    version.touched = ++this.#uses;
  }

  /** Whether the end of a request or of a load could make room for these. */
  mayComeFree(versions: readonly Version[]): boolean {
    if (bytesOf(versions) > this.limit) return false;
    return [...this.#held].some((one) => !versions.includes(one) && (one.active > 0 || one.loading !== null));
  }

  /**
   * Evicts until these versions fit, then calls `commit` in the same turn and resolves with true; with false, having evicted nothing that
   * would not have helped, where they cannot fit now. `leaving`: as for `add`.
   */
  clear(versions: readonly Version[], commit: () => void, leaving: Version | null = null): Promise<boolean> {
    const turn = this.#clearing.then(() => this.#clearNow(versions, commit, leaving));
    this.#clearing = turn.catch(() => {});
    return turn;
  }

  async #clearNow(
    versions: readonly Version[],
    commit: () => void,
    leaving: Version | null,
  ): Promise<boolean> {
    const kept = new Set<Version>();
    for (;;) {
      const missing = versions.filter(({ id, loading }) => id === null && !loading);
      const goes =
        leaving !== null &&
        leaving.id !== null &&
        leaving.names === 1 &&
        leaving.users === 0 &&
        !versions.includes(leaving);
      const over = this.bytes + bytesOf(missing) - (goes ? leaving.content.bytes : 0) - this.limit;
      if (over <= 0) {
        commit();
        return true;
      }
      const victims = [...this.#held]
        .filter(
          (one) => one.evictable && !versions.includes(one) && !kept.has(one) && !(goes && one === leaving),
        )
        .sort((a, b) => a.touched - b.touched);
      if (bytesOf(victims) < over) return false;
      const victim = victims[0]!;
      if (!(await this.#loader.recoverable(victim))) kept.add(victim);
      else if (victim.evictable) this.#evict(victim);
    }
  }

  #evict(version: Version): void {
    this.#loader.free(version.id!);
    version.id = null;
    this.#held.delete(version);
  }

  /** Loads those that are not in memory; `clear` has made room. */
  async loadAll(versions: readonly Version[]): Promise<void> {
    await Promise.all(versions.filter(({ id }) => id === null).map((version) => this.#load(version)));
  }

  /** One load for all who want it. */
  #load(version: Version): Promise<void> {
    version.loading ??= this.#loadNow(version);
    return version.loading;
  }

  async #loadNow(version: Version): Promise<void> {
    this.#held.add(version);
    try {
      if (this.#loads >= MAX_LOADS) await new Promise<void>((resolve) => this.#loadQueue.push(resolve));
      this.#loads++;
      try {
        this.#take(version, await this.#loader.load(version));
      } finally {
        this.#loads--;
        this.#loadQueue.shift()?.();
      }
    } finally {
      version.loading = null;
      if (version.id === null) this.#held.delete(version);
      this.#loader.loaded(version);
      this.onRoom();
    }
  }

  /** The error of who finds no room. */
  full(versions: readonly Version[]): LowrankError {
    const needed = bytesOf(versions);
    return new LowrankError(
      "ERR_OUT_OF_MEMORY",
      `Expected room for ${needed} bytes of adapters within adapterMemory (${this.limit}), ${this.bytes} are in use and cannot be ` +
        "evicted: requests run with them, they are pinned, or nothing on disk holds them. Raise adapterMemory, unload or unpin adapters, " +
        "or try again when requests have ended.",
      { cause: this.#loader.failure, details: { needed, used: this.bytes, limit: this.limit } },
    );
  }
}
