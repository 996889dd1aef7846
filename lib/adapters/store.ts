import { throwIfAborted } from "../errors/check.js";
import { LowrankError } from "../errors/index.js";
import type { AdapterPrecision, ModelFacts, NativeEngine } from "../native/types.js";
import { unchanged } from "./file-identity.js";
import { buildAdapter, type BuiltAdapter, type KeptPrecision } from "./load.js";
import { Admissions } from "./admissions.js";
import { AdapterMemory } from "./memory.js";
import { readAdapter, type AdapterFiles, type AdapterSource } from "./source.js";
import { AdapterSpill } from "./spill.js";
import { Turns } from "./turns.js";
import { Version, versionKey } from "./version.js";

/** How `loadModel` sets up the adapters of a model. */
export interface AdapterStoreOptions {
  /** What A and B are kept in unless a load says otherwise; the model's own precision being int8. */
  precision: AdapterPrecision;
  /** Bytes that adapters may take in memory; Infinity for no limit. */
  memoryLimit: number;
  /** This model's own folder for adapters that no file holds; null: none. */
  spillFolder: string | null;
}

export interface ObtainOptions {
  /** Default: the store's. */
  precision?: AdapterPrecision | undefined;
  signal?: AbortSignal | undefined;
  /** What it is to replace. */
  leaving?: Version | null;
  /** Keep a copy on disk, though it comes from files: they are expected to change. */
  copy?: boolean;
}

/** A version that is retained for the caller, and where its source was read. */
export interface Obtained {
  version: Version;
  origin: string;
}

/** The versions that a model knows, by content. A version goes when no name, request or earlier generation refers to it. */
export class AdapterStore {
  readonly memory: AdapterMemory;
  readonly admissions: Admissions;
  readonly spill: AdapterSpill | null;
  readonly #engine: NativeEngine;
  readonly #facts: ModelFacts;
  readonly #precision: KeptPrecision;
  readonly #versions = new Map<string, Version>();
  /** Of one content, one is built at a time: the next finds it there. */
  readonly #turns = new Turns();
  #disposed = false;

  constructor(engine: NativeEngine, facts: ModelFacts, options: AdapterStoreOptions) {
    this.#engine = engine;
    this.#facts = facts;
    this.#precision = facts.precision === "int8" ? options.precision : "float32";
    this.spill = options.spillFolder === null ? null : new AdapterSpill(options.spillFolder);
    const { spill } = this;
    this.memory = new AdapterMemory(options.memoryLimit, {
      load: (version) => this.#reload(version),
      recoverable: (version) => this.#recoverable(version),
      free: (id) => this.#engine.releaseAdapter(id),
      loaded: (version) => this.collect(version),
      get failure() {
        return spill?.failure;
      },
    });
    this.admissions = new Admissions(this.memory);
  }

  /** The version that stands for this one's content now; undefined where it is gone. */
  current({ key }: Version): Version | undefined {
    return this.#versions.get(key);
  }

  /** By content hash; undefined where there is none. Without a precision, any will do, but first that of the store. */
  find(contentHash: string, precision?: AdapterPrecision): Version | undefined {
    const kept = this.#versions.get(versionKey(contentHash, precision ?? this.#precision));
    if (kept || precision !== undefined) return kept;
    return [...this.#versions.values()].find(({ content }) => content.contentHash === contentHash);
  }

  /** Reads a source and builds it, where its content is not in memory. The version is retained: `release` it. */
  async obtain(source: AdapterSource, options: ObtainOptions = {}): Promise<Obtained> {
    throwIfAborted(options.signal, "The load of the adapter");
    return this.obtainRead(await readAdapter(source), options);
  }

  /** As `obtain`, for what has been read already. */
  async obtainRead(files: AdapterFiles, options: ObtainOptions): Promise<Obtained> {
    const { signal } = options;
    this.#check(signal);
    // A quarter: weights of float32 that are kept in one byte each. What cannot fit is not built.
    if (files.weights.length / 4 > this.memory.limit)
      throw new LowrankError(
        "ERR_OUT_OF_MEMORY",
        `Expected an adapter that fits into adapterMemory (${this.memory.limit} bytes), received a file of ${files.weights.length}. ` +
          "Raise adapterMemory.",
      );
    const version = await this.#turns.take(await files.contentHash, () => this.#enter(files, options));
    try {
      this.#check(signal);
    } catch (error) {
      this.release(version);
      throw error;
    }
    return { version, origin: files.origin };
  }

  async #enter(
    files: AdapterFiles,
    { signal, leaving = null, copy = false, ...options }: ObtainOptions,
  ): Promise<Version> {
    this.#check(signal);
    const contentHash = await files.contentHash;
    const precision = options.precision ?? this.#precision;
    const known = this.#versions.get(versionKey(contentHash, precision));
    if (known) this.retain(known);
    let version = known;
    const writing = files.path === null || copy ? this.spill?.write(contentHash, files) : undefined;
    try {
      await known?.loading?.catch(() => {}); // a request's: its failure need not be this one's
      if (!known || known.id === null) {
        const { id, content } = await this.#build(files, precision, signal);
        version = known ?? new Version(content);
        if (!known) this.retain(version);
        await this.memory.add(version, id, leaving);
      }
      if (files.path !== null) version!.source = { path: files.path, files: files.files };
      this.#versions.set(version!.key, version!);
      await writing;
      return version!;
    } catch (error) {
      await writing;
      if (version) this.release(version);
      else this.#forgetCopy(contentHash);
      throw error;
    }
  }

  async #build(
    files: AdapterFiles,
    precision: KeptPrecision,
    signal: AbortSignal | undefined,
  ): Promise<BuiltAdapter> {
    const built = await buildAdapter(files, this.#engine, this.#facts, precision, signal);
    try {
      this.#check(signal);
    } catch (error) {
      this.#engine.releaseAdapter(built.id);
      throw error;
    }
    return built;
  }

  #check(signal: AbortSignal | undefined): void {
    throwIfAborted(signal, "The load of the adapter");
    if (this.#disposed)
      throw new LowrankError("ERR_DISPOSED", "The model was disposed while the adapter was loaded.");
  }

  /** Keeps a version from going. */
  retain(version: Version): void {
    version.users++;
  }

  release(version: Version): void {
    version.users--;
    this.collect(version);
  }

  /** A name points at it now. */
  addName(version: Version, pinned: boolean): void {
    version.names++;
    version.remembered++;
    if (pinned) version.pins++;
  }

  /** A name does not point at it any more. */
  removeName(version: Version, pinned: boolean): void {
    version.names--;
    if (pinned) version.pins--;
    this.collect(version);
  }

  /** One generation less that is of it. */
  forgetGeneration(version: Version): void {
    version.remembered--;
    this.collect(version);
  }

  /** Resolves when no request holds it. */
  async idle(version: Version): Promise<void> {
    if (version.users > 0) await new Promise<void>((resolve) => version.idle.push(resolve));
  }

  /** Resolves when no load of these is under way: one goes on though the requests that wanted it are gone. */
  async loaded(versions: readonly Version[]): Promise<void> {
    await Promise.allSettled(versions.flatMap(({ loading }) => loading ?? []));
  }

  /** Loads what is not in memory, at once: throws ERR_OUT_OF_MEMORY where nothing can be evicted for it, and what loading may throw. */
  async ensure(versions: readonly Version[]): Promise<void> {
    await this.memory.ensure([...new Set(versions)]);
  }

  /** Frees what nobody needs any more. */
  collect(version: Version): void {
    if (version.users > 0) return;
    if (version.names === 0 && !version.loading) {
      this.memory.drop(version);
      const recoverable = version.source !== null || this.spill?.has(version.content.contentHash);
      if (version.remembered === 0 || !recoverable) this.#remove(version);
    }
    for (const resolve of version.idle.splice(0)) resolve();
  }

  #remove(version: Version): void {
    if (this.#versions.get(version.key) === version) this.#versions.delete(version.key);
    this.#forgetCopy(version.content.contentHash);
  }

  #forgetCopy(contentHash: string): void {
    if (!this.find(contentHash)) void this.spill?.remove(contentHash);
  }

  async #recoverable({ content, source }: Version): Promise<boolean> {
    return this.spill?.has(content.contentHash) || (source !== null && (await unchanged(source.files)));
  }

  async #reload(version: Version): Promise<number> {
    const { contentHash, precision } = version.content;
    const files = this.spill?.has(contentHash)
      ? await this.spill.read(contentHash)
      : await this.#reread(version);
    return (await this.#build(files, precision, undefined)).id;
  }

  async #reread({ source, content }: Version): Promise<AdapterFiles> {
    const files = source && (await readAdapter(source.path));
    if (files && (await files.contentHash) === content.contentHash) return files;
    throw new LowrankError(
      "ERR_ADAPTER_NOT_FOUND",
      `Expected the content ${content.contentHash.slice(0, 12)} at ${source?.path}, it has changed since it was loaded. ` +
        "Swap the name to the new content, or load the old one from elsewhere.",
    );
  }

  /** Ends every wait. The engine frees its memory by itself. */
  async dispose(): Promise<void> {
    this.#disposed = true;
    this.admissions.dispose();
    await this.spill?.dispose();
  }
}
