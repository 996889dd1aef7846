import { expected, LowrankError } from "../errors/index.js";
import { requireInt8 } from "../native/precision.js";
import type { AdapterPrecision, ModelFacts, NativeEngine, Precision } from "../native/types.js";
import { checkKnown, checkOptions } from "../schema/index.js";
import { AdapterLease } from "./lease.js";
import { NamedAdapter, type AdapterGeneration } from "./named-adapter.js";
import { AdapterNames, type AdapterFacts } from "./names.js";
import {
  ALIAS,
  checkName,
  LOAD,
  ROLLBACK,
  SWAP,
  UNLOAD,
  type AdapterWatchOptions,
  type AliasAdapterOptions,
  type LoadAdapterOptions,
  type RollbackAdapterOptions,
  type SwapAdapterOptions,
  type UnloadAdapterOptions,
} from "./options.js";
import type { AdapterUse } from "./selection.js";
import type { AdapterFiles, AdapterSource } from "./source.js";
import { AdapterStore, type AdapterStoreOptions, type Obtained } from "./store.js";
import { Turns } from "./turns.js";
import { watchFolder, type AdapterWatch } from "./watch.js";

/** An adapter that is known already: by a name, or by its content hash in full. */
export type AdapterReference = { name: string; generation?: number } | { version: string };

/**
 * The adapters of a model, by name. A swap moves a name to another version in one step: a running request finishes on the version it
 * began with, the next request gets the new one. Equal content is held once, under however many names.
 */
export class AdapterRegistry {
  readonly #precision: Precision;
  readonly #store: AdapterStore;
  readonly #names: AdapterNames;
  /** Loads and swaps of one name happen in the order they were asked for. */
  readonly #turns = new Turns();
  readonly #watches = new Set<AdapterWatch>();
  #disposed = false;

  /** @internal Use `model.adapters`. */
  constructor(engine: NativeEngine, facts: ModelFacts, options: AdapterStoreOptions) {
    this.#precision = facts.precision;
    this.#store = new AdapterStore(engine, facts, options);
    this.#names = new AdapterNames(this.#store);
  }

  /**
   * Loads an adapter under a name. Throws ERR_ADAPTER_EXISTS where the name is taken, and what reading it may throw: ERR_ADAPTER_FORMAT,
   * ERR_ADAPTER_UNSUPPORTED, ERR_ADAPTER_SHAPE, ERR_ADAPTER_NOT_FOUND, ERR_IO, ERR_ABORTED; ERR_OUT_OF_MEMORY where it does not fit into
   * `adapterMemory`. A failed load leaves everything as it was.
   */
  async load(name: string, source: AdapterSource, options: LoadAdapterOptions = {}): Promise<AdapterFacts> {
    const checked = checkOptions(LOAD, options);
    requireInt8("precision", checked.precision, this.#precision);
    return this.#inTurn(name, async () => {
      this.#names.expectNew(name);
      const obtained = await this.#store.obtain(source, checked);
      return this.#assign(new NamedAdapter(name), obtained);
    });
  }

  /**
   * Moves a loaded name to another adapter, atomically. `source` is as for `load`, or of an adapter that is known: `{ name }`, with or
   * without its `generation`, or `{ version }`, a content hash, in the `precision` that is asked for or else in any. Between adapters in
   * memory it is a move of a pointer. With `expectedGeneration`, throws ERR_ADAPTER_CONFLICT where somebody else has swapped meanwhile:
   * of two swaps that expect the same generation, one succeeds. A failed swap leaves everything as it was.
   */
  async swap(
    name: string,
    source: AdapterSource | AdapterReference,
    options: SwapAdapterOptions = {},
  ): Promise<AdapterFacts> {
    const { expectedGeneration, ...load } = checkOptions(SWAP, options);
    requireInt8("precision", load.precision, this.#precision);
    return this.#inTurn(name, async () => {
      const named = this.#names.requireNotAlias(name);
      named.expect(expectedGeneration);
      const known = this.#referred(source, load.precision);
      if (known) return this.#assignKnown(named, known);
      const leaving = named.current.version;
      return this.#assign(named, await this.#store.obtain(source as AdapterSource, { ...load, leaving }));
    });
  }

  /**
   * Moves a name back to the generation before the current one, as a new generation; called again, further back. Throws
   * ERR_ADAPTER_NOT_FOUND where there is none, or where neither memory nor disk holds it any more.
   */
  async rollback(name: string, options: RollbackAdapterOptions = {}): Promise<AdapterFacts> {
    const { expectedGeneration } = checkOptions(ROLLBACK, options);
    return this.#inTurn(name, async () => {
      const named = this.#names.requireNotAlias(name);
      named.expect(expectedGeneration);
      const { before } = named.current;
      if (before === null)
        throw new LowrankError(
          "ERR_ADAPTER_NOT_FOUND",
          `Expected an earlier generation of "${name}", its current one is the first.`,
        );
      const entry = named.at(before);
      const version = this.#names.availableOf(named, before);
      return this.#assignKnown(named, { version, origin: entry.origin }, entry.before);
    });
  }

  /**
   * Forgets a name. By default requests that run with it finish first, and the promise resolves when its memory is free; with
   * `wait: false`, throws ERR_ADAPTER_IN_USE where there are such requests, and always where an alias stands for it. Of an alias, only
   * the alias goes.
   */
  async unload(name: string, options: UnloadAdapterOptions = {}): Promise<void> {
    const { wait } = checkOptions(UNLOAD, options);
    const left = await this.#inTurn(name, async () => {
      if (this.#names.dropAlias(name)) return null;
      const named = this.#names.requireNotAlias(name);
      const { version } = named.current;
      if (!wait && version.users > 0)
        throw new LowrankError(
          "ERR_ADAPTER_IN_USE",
          `Expected no request with "${name}", ${version.users} run with it.`,
        );
      this.#names.remove(name);
      return { current: version, all: named.entries.map((entry) => entry.version) };
    });
    // Outside the turn: the name may be loaded anew meanwhile.
    if (left?.current.names === 0) await this.#store.idle(left.current);
    if (left) await this.#store.loaded(left.all.filter(({ names }) => names === 0));
  }

  /**
   * Makes `name` another name for the adapter `target`: it follows every swap of it, in the same step. An alias that exists is moved,
   * atomically; with `expectedTarget`, throws ERR_ADAPTER_CONFLICT where it does not stand for that name. Throws ERR_ADAPTER_EXISTS where
   * `name` is an adapter, ERR_ADAPTER_NOT_FOUND where `target` is not loaded.
   */
  async alias(name: string, target: string, options: AliasAdapterOptions = {}): Promise<AdapterFacts> {
    const { expectedTarget } = checkOptions(ALIAS, options);
    return this.#inTurn(name, async () => {
      this.#names.setAlias(name, target, expectedTarget);
      return this.#names.factsOf(name);
    });
  }

  /** Loads evicted adapters before a request needs them. Throws as a request would, and ERR_OUT_OF_MEMORY where they do not fit now. */
  async prefetch(names: string | readonly string[]): Promise<void> {
    this.#alive();
    const list = typeof names === "string" ? [names] : [...names];
    await this.#store.ensure(list.map((name) => this.#names.named(name).current.version));
  }

  /** Keeps a name's adapter in memory, whatever it is swapped to, until `unpin`. Loads it where it is evicted. */
  async pin(name: string): Promise<AdapterFacts> {
    return this.#inTurn(name, async () => {
      await this.#names.pin(name);
      return this.#names.factsOf(name);
    });
  }

  /** Lets a name's adapter be evicted again. */
  async unpin(name: string): Promise<AdapterFacts> {
    return this.#inTurn(name, async () => {
      this.#names.unpin(name);
      return this.#names.factsOf(name);
    });
  }

  /** Facts of all adapters and aliases, by name. */
  list(): AdapterFacts[] {
    return this.#names.all().map((name) => this.#names.factsOf(name));
  }

  has(name: string): boolean {
    return this.#names.has(name);
  }

  /** Throws ERR_ADAPTER_NOT_FOUND. */
  get(name: string): AdapterFacts {
    return this.#names.factsOf(name);
  }

  /** The last 32 generations of a name, the current one last. Throws ERR_ADAPTER_NOT_FOUND. */
  history(name: string): AdapterGeneration[] {
    return this.#names.historyOf(name);
  }

  /**
   * Keeps the adapters of a folder loaded: each subfolder with adapter_config.json and each `.gguf` file, under its name. What changes is
   * swapped once it is written, what is deleted is unloaded. Resolves when what lies there now is loaded; ended by `close()`, the signal or
   * the model's disposal, which leave the adapters loaded.
   */
  async watch(folder: string, options: AdapterWatchOptions = {}): Promise<AdapterWatch> {
    this.#alive();
    const watch = await watchFolder(folder, options, {
      publish: (name, files, signal) => this.#publish(name, files, signal),
      unload: (name) => this.unload(name),
      has: (name) => this.has(name),
    });
    this.#watches.add(watch);
    void watch.ended.then(() => this.#watches.delete(watch));
    if (this.#disposed) await watch.close();
    return watch;
  }

  /** Loads or swaps, as the name is there or not; null where it has that content already. */
  #publish(name: string, files: AdapterFiles, signal: AbortSignal): Promise<AdapterFacts | null> {
    return this.#inTurn(name, async () => {
      const known = this.#names.has(name) ? this.#names.requireNotAlias(name) : null;
      const now = known?.current.version ?? null;
      // Files in a watched folder are expected to change: a copy can be gone back to.
      const obtained = await this.#store.obtainRead(files, { signal, leaving: now, copy: true });
      const named = known ?? new NamedAdapter(name);
      if (obtained.version !== now) return this.#assign(named, obtained);
      this.#store.release(obtained.version);
      return null;
    });
  }

  /** What a request begins with. Throws ERR_ADAPTER_NOT_FOUND. @internal */
  lease(selection: readonly Required<AdapterUse>[]): AdapterLease {
    const versions = selection.map(({ name, generation }) => {
      const named = this.#names.named(name);
      return generation === 0 ? named.current.version : this.#names.availableOf(named, generation);
    });
    return new AdapterLease(this.#store, versions, selection);
  }

  /** Bytes on disk of adapters that were written there to be evicted. @internal */
  get diskBytes(): number {
    return this.#store.spill?.bytes ?? 0;
  }

  /** @internal */
  async dispose(): Promise<void> {
    this.#disposed = true;
    this.#names.clear();
    await Promise.all([this.#store.dispose(), ...[...this.#watches].map((watch) => watch.close())]);
  }

  /** Null where the source is one to be read. */
  #referred(source: unknown, precision: AdapterPrecision | undefined): Obtained | null {
    if (typeof source !== "object" || source === null) return null;
    if ("name" in source) {
      if (precision !== undefined)
        throw expected(
          "a source to load",
          "precision",
          precision,
          "Leave it out: what has a name keeps the precision that it was loaded with.",
        );
      const { name, generation = 0, ...rest } = source as { name: string; generation?: number };
      checkKnown("the reference to an adapter", rest, []);
      const named = this.#names.named(name);
      const entry = generation === 0 ? named.current : named.at(generation);
      const version = generation === 0 ? entry.version : this.#names.availableOf(named, generation);
      return { version, origin: entry.origin };
    }
    if (!("version" in source)) return null;
    const found =
      typeof source.version === "string" ? this.#store.find(source.version, precision) : undefined;
    if (found) return { version: found, origin: found.content.origin };
    if (typeof source.version !== "string") throw expected("a content hash", "version", source.version);
    throw new LowrankError(
      "ERR_ADAPTER_NOT_FOUND",
      `Expected the content hash of an adapter that is known, received ${JSON.stringify(source.version.slice(0, 80))}.`,
    );
  }

  /** Points a name at a version that is known: at once, in the turn of the call, where it is in memory. */
  #assignKnown(
    named: NamedAdapter,
    known: Obtained,
    before?: number | null,
  ): AdapterFacts | Promise<AdapterFacts> {
    this.#store.retain(known.version);
    if (known.version.id !== null) return this.#assign(named, known, before);
    return this.#store.ensure([known.version]).then(
      () => this.#assign(named, known, before),
      (error: unknown) => {
        this.#store.release(known.version);
        throw error;
      },
    );
  }

  /** Points a name at a retained version, which it releases. */
  #assign(named: NamedAdapter, { version, origin }: Obtained, before?: number | null): AdapterFacts {
    try {
      this.#alive();
      this.#names.assign(named, version, origin, before);
    } finally {
      this.#store.release(version);
    }
    return this.#names.factsOf(named.name);
  }

  #alive(): void {
    if (this.#disposed)
      throw new LowrankError("ERR_DISPOSED", "The model was disposed. Load it again to use it.");
  }

  async #inTurn<T>(name: string, work: () => Promise<T>): Promise<T> {
    checkName(name);
    this.#alive();
    return this.#turns.take(name, work);
  }
}
