import { LowrankError } from "../errors/index.js";
import type { KeptPrecision } from "./load.js";
import type { AdapterGeneration, NamedAdapter } from "./named-adapter.js";
import { checkName } from "./options.js";
import type { AdapterStore } from "./store.js";
import type { AdapterState, Version } from "./version.js";

export interface AdapterFacts {
  name: string;
  /** The name that this one stands for; null where it is no alias. */
  aliasOf: string | null;
  /** 1 when first loaded, one more with each swap or rollback. */
  generation: number;
  /** "resident": in memory. "evicted": read again when a request needs it. "loading": being read again. */
  state: AdapterState;
  /** Never evicted. */
  pinned: boolean;
  /** Highest rank of its modules. */
  rank: number;
  /** Modules that it touches, such as "q_proj". */
  targets: string[];
  /** Numbers that it was trained to. */
  parameters: number;
  /** Memory that it takes where it is resident, in bytes. */
  bytes: number;
  /** What its low-rank factors A and B are kept in: "float32" in the reference modes. */
  precision: KeptPrecision;
  /** SHA-256 over configuration and weights, hex. */
  contentHash: string;
  dora: boolean;
  /** Activated LoRA: the token ids that start it; else null. */
  invocationTokens: number[] | null;
  /** Where it was read: a path, or "memory". */
  origin: string;
  /** Requests that hold this version now. */
  users: number;
  /** Milliseconds since the epoch of the last request with this version; null before the first. */
  lastUsed: number | null;
}

/** The names of adapters, the generations behind each, and the aliases that stand for them. */
export class AdapterNames {
  readonly #store: AdapterStore;
  readonly #named = new Map<string, NamedAdapter>();
  /** Alias to name. */
  readonly #aliases = new Map<string, string>();

  constructor(store: AdapterStore) {
    this.#store = store;
  }

  /** Names and aliases, sorted. */
  all(): string[] {
    return [...this.#named.keys(), ...this.#aliases.keys()].sort();
  }

  has(name: string): boolean {
    return this.#named.has(name) || this.#aliases.has(name);
  }

  /** What a name or alias means. Throws ERR_ADAPTER_NOT_FOUND. */
  named(name: string): NamedAdapter {
    const found = this.#named.get(this.#aliases.get(name) ?? name);
    if (found) return found;
    const loaded = this.all().join(", ") || "none";
    throw new LowrankError(
      "ERR_ADAPTER_NOT_FOUND",
      `Expected the name of a loaded adapter (${loaded}), received ${JSON.stringify(name)}.`,
    );
  }

  /** As `named`, but throws ERR_ADAPTER_CONFLICT for an alias, since the change would hit its target. */
  requireNotAlias(name: string): NamedAdapter {
    const target = this.#aliases.get(name);
    if (target === undefined) return this.named(name);
    throw new LowrankError(
      "ERR_ADAPTER_CONFLICT",
      `Expected the name of an adapter, "${name}" is an alias of "${target}". Use that name, or move the alias with alias().`,
      { details: { name, aliasOf: target } },
    );
  }

  expectNew(name: string): void {
    if (this.#aliases.has(name)) this.requireNotAlias(name);
    if (this.#named.has(name))
      throw new LowrankError(
        "ERR_ADAPTER_EXISTS",
        `Expected a new name, "${name}" is loaded. Use swap to replace it.`,
      );
  }

  /** The version of a generation. Throws ERR_ADAPTER_NOT_FOUND where it is not remembered or gone. */
  availableOf(named: NamedAdapter, generation: number): Version {
    const version = this.#store.current(named.at(generation).version);
    if (version) return version;
    throw new LowrankError(
      "ERR_ADAPTER_NOT_FOUND",
      `Expected generation ${generation} of "${named.name}" in memory or on disk, neither holds it any more. Load it again from its source, ` +
        "or set adapterDirectory, so that versions from memory are kept on disk.",
    );
  }

  /** Points a name, new or known, at a version in one step. */
  assign(named: NamedAdapter, version: Version, origin: string, before?: number | null): void {
    const left = this.#named.has(named.name) ? named.current.version : null;
    this.#store.addName(version, named.pinned);
    const forgotten = named.add(version, origin, before);
    this.#named.set(named.name, named);
    if (left) this.#store.removeName(left, named.pinned);
    for (const one of forgotten) this.#store.forgetGeneration(one);
  }

  /** Throws ERR_ADAPTER_IN_USE where an alias stands for it. */
  remove(name: string): void {
    const alias = [...this.#aliases].find(([, target]) => target === name);
    if (alias)
      throw new LowrankError(
        "ERR_ADAPTER_IN_USE",
        `Expected no alias of "${name}", "${alias[0]}" stands for it. Unload or move the alias first.`,
      );
    const named = this.requireNotAlias(name);
    this.#named.delete(name);
    for (const { version } of named.entries) version.remembered--;
    this.#store.removeName(named.current.version, named.pinned);
    for (const { version } of named.entries) this.#store.collect(version);
  }

  setAlias(name: string, target: string, expectedTarget: string | undefined): void {
    checkName(target);
    if (this.#named.has(name)) this.expectNew(name);
    const now = this.#aliases.get(name);
    if (expectedTarget !== undefined && now !== expectedTarget)
      throw new LowrankError(
        "ERR_ADAPTER_CONFLICT",
        `Expected "${name}" to stand for "${expectedTarget}", it stands for ${now === undefined ? "nothing" : `"${now}"`}.`,
        { details: { name, expected: expectedTarget, aliasOf: now ?? null } },
      );
    this.#aliases.set(name, this.named(target).name);
  }

  /** False where the name is no alias. */
  dropAlias(name: string): boolean {
    return this.#aliases.delete(name);
  }

  async pin(name: string): Promise<void> {
    const named = this.named(name);
    const { version } = named.current;
    if (!named.pinned) {
      named.pinned = true;
      version.pins++;
    }
    try {
      if (version.id === null) await this.#store.ensure([version]);
    } catch (error) {
      this.unpin(named.name);
      throw error;
    }
  }

  unpin(name: string): void {
    const named = this.named(name);
    if (!named.pinned) return;
    named.pinned = false;
    named.current.version.pins--;
    this.#store.admissions.admitWaiting();
  }

  factsOf(name: string): AdapterFacts {
    const named = this.named(name);
    const { version, generation, origin } = named.current;
    const { rank, targets, parameters, bytes, precision, contentHash, dora, invocationTokens } =
      version.content;
    return {
      name,
      aliasOf: this.#aliases.get(name) ?? null,
      generation,
      state: version.state,
      pinned: named.pinned,
      rank,
      targets: [...targets],
      parameters,
      bytes,
      precision,
      contentHash,
      dora,
      invocationTokens: invocationTokens && [...invocationTokens],
      origin,
      users: version.users,
      lastUsed: version.lastUsed,
    };
  }

  historyOf(name: string): AdapterGeneration[] {
    const named = this.named(name);
    return named.entries.map((entry) => ({
      generation: entry.generation,
      contentHash: entry.version.content.contentHash,
      precision: entry.version.content.precision,
      bytes: entry.version.content.bytes,
      origin: entry.origin,
      since: entry.since,
      current: entry === named.current,
      state: this.#store.current(entry.version)?.state ?? "gone",
    }));
  }

  clear(): void {
    this.#named.clear();
    this.#aliases.clear();
  }
}
