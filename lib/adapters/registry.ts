import { checkBoolean, checkKnown, checkNumber, checkSignal } from "../errors/check.js";
import { expected, LowrankError } from "../errors/index.js";
import type { AppliedAdapter, ModelFacts, NativeEngine } from "../native/types.js";
import { loadAdapter, type LoadedAdapter } from "./load.js";
import type { AdapterUse } from "./selection.js";
import type { AdapterSource } from "./source.js";

export interface AdapterFacts {
  name: string;
  /** 1 when first loaded, one more with each swap. */
  generation: number;
  /** Highest rank of its modules. */
  rank: number;
  /** Modules that it touches, such as "q_proj". */
  targets: string[];
  /** Numbers that it was trained to. */
  parameters: number;
  /** Memory held, in bytes. */
  bytes: number;
  /** SHA-256 over configuration and weights, hex. */
  contentHash: string;
  dora: boolean;
  /** Activated LoRA: the token ids that wake it; else null. */
  invocationTokens: number[] | null;
  /** Where it was read: a path, or "memory". */
  origin: string;
  /** Requests that run with this version now. */
  users: number;
}

/** One version in memory; several names may point at it. */
interface Version {
  adapter: LoadedAdapter;
  users: number;
  /** Names that point here. When none is left and no request uses it, its memory is freed. */
  names: number;
  idle: (() => void)[];
}

/** Adapter versions that a request holds. */
export interface PinnedAdapters {
  /** As the engine takes them; `tokens` is the request's text, in which an activated adapter looks for what wakes it. */
  applied(tokens: Int32Array): AppliedAdapter[];
  /** May be called again. */
  release(): void;
}

interface Slot {
  version: Version;
  generation: number;
}

/**
 * The adapters of a model, by name. A swap moves a name to another version in one step: a running request finishes on the version it
 * began with, the next request gets the new one.
 */
export class AdapterRegistry {
  readonly #engine: NativeEngine;
  readonly #facts: ModelFacts;
  readonly #slots = new Map<string, Slot>();
  /** Tail of the work on each name: loads and swaps of one name happen in the order they were asked for. */
  readonly #pending = new Map<string, Promise<unknown>>();
  #disposed = false;

  /** @internal Use `model.adapters`. */
  constructor(engine: NativeEngine, facts: ModelFacts) {
    this.#engine = engine;
    this.#facts = facts;
  }

  /**
   * Loads an adapter under a name. Throws ERR_ADAPTER_EXISTS where the name is taken, and what reading it may throw: ERR_ADAPTER_FORMAT,
   * ERR_ADAPTER_UNSUPPORTED, ERR_ADAPTER_SHAPE, ERR_ADAPTER_NOT_FOUND, ERR_IO, ERR_ABORTED. A failed load leaves everything as it was.
   */
  async load(
    name: string,
    source: AdapterSource,
    options: { signal?: AbortSignal } = {},
  ): Promise<AdapterFacts> {
    checkKnown("options", options, ["signal"]);
    const signal = checkSignal(options.signal);
    return this.#inTurn(name, async () => {
      if (this.#slots.has(name))
        throw new LowrankError(
          "ERR_ADAPTER_EXISTS",
          `Expected a new name, "${name}" is loaded. Use swap to replace it.`,
        );
      return this.#point(name, await this.#build(source, signal));
    });
  }

  /**
   * Moves a loaded name to another adapter, atomically. `source` is as for `load`, or `{ name }` of an adapter that is loaded: then it is
   * a move of a pointer. With `expectedGeneration`, throws ERR_ADAPTER_IN_USE where somebody else has swapped meanwhile.
   */
  async swap(
    name: string,
    source: AdapterSource | { name: string },
    options: { signal?: AbortSignal; expectedGeneration?: number } = {},
  ): Promise<AdapterFacts> {
    checkKnown("options", options, ["signal", "expectedGeneration"]);
    const signal = checkSignal(options.signal);
    const wanted = checkNumber("expectedGeneration", options.expectedGeneration, {
      min: 1,
      max: 2 ** 53 - 1,
      default: 0,
      integer: true,
    });
    return this.#inTurn(name, async () => {
      const check = (): void => {
        const { generation } = this.#slot(name);
        if (wanted !== 0 && generation !== wanted)
          throw new LowrankError(
            "ERR_ADAPTER_IN_USE",
            `Expected generation ${wanted} of "${name}", it is at ${generation}.`,
          );
      };
      check();
      if (typeof source === "object" && source !== null && "name" in source)
        return this.#point(name, this.#slot(source.name).version);
      const version = await this.#build(source, signal);
      try {
        check();
      } catch (error) {
        this.#free(version);
        throw error;
      }
      return this.#point(name, version);
    });
  }

  /**
   * Forgets a name. By default requests that run with it finish first, and the promise resolves when its memory is free; with
   * `wait: false`, throws ERR_ADAPTER_IN_USE where there are such requests.
   */
  async unload(name: string, options: { wait?: boolean } = {}): Promise<void> {
    checkKnown("options", options, ["wait"]);
    const wait = checkBoolean("wait", options.wait, true);
    return this.#inTurn(name, async () => {
      const { version } = this.#slot(name);
      if (!wait && version.users > 0)
        throw new LowrankError(
          "ERR_ADAPTER_IN_USE",
          `Expected no request with "${name}", ${version.users} run with it.`,
        );
      this.#slots.delete(name);
      version.names--;
      if (version.names === 0 && version.users > 0)
        await new Promise<void>((resolve) => version.idle.push(resolve));
      this.#free(version);
    });
  }

  /** Facts of all loaded adapters, by name. */
  list(): AdapterFacts[] {
    return [...this.#slots.keys()].sort().map((name) => this.#factsOf(name));
  }

  has(name: string): boolean {
    return this.#slots.has(name);
  }

  /** Throws ERR_ADAPTER_NOT_FOUND. */
  get(name: string): AdapterFacts {
    this.#slot(name);
    return this.#factsOf(name);
  }

  /**
   * Pins the versions that a request begins with: a swap or an unload from now on does not touch it. Throws ERR_ADAPTER_NOT_FOUND.
   * @internal
   */
  pin(selection: readonly Required<AdapterUse>[]): PinnedAdapters {
    const uses = selection.map(({ name, scale }) => ({
      version: this.#slot(name).version,
      scale,
    }));
    for (const { version } of uses) version.users++;
    let released = false;
    return {
      applied: (tokens) =>
        uses.flatMap(({ version, scale }) => {
          const { id, invocationTokens } = version.adapter;
          const fromPosition = invocationTokens ? lastOccurrence(tokens, invocationTokens) : 0;
          return fromPosition < 0 ? [] : [{ id, scale, fromPosition, toPosition: 2 ** 31 - 1 }];
        }),
      release: () => {
        if (released) return;
        released = true;
        for (const { version } of uses) {
          version.users--;
          this.#free(version);
        }
      },
    };
  }

  /** @internal */
  dispose(): void {
    this.#disposed = true;
    this.#slots.clear();
  }

  #slot(name: string): Slot {
    const slot = this.#slots.get(name);
    if (slot) return slot;
    const loaded = [...this.#slots.keys()].sort().join(", ") || "none";
    throw new LowrankError(
      "ERR_ADAPTER_NOT_FOUND",
      `Expected the name of a loaded adapter (${loaded}), received ${JSON.stringify(name)}.`,
    );
  }

  #factsOf(name: string): AdapterFacts {
    const { version, generation } = this.#slots.get(name)!;
    const { rank, targets, parameters, bytes, contentHash, dora, invocationTokens, origin } = version.adapter;
    return {
      name,
      generation,
      rank,
      targets: [...targets],
      parameters,
      bytes,
      contentHash,
      dora,
      invocationTokens: invocationTokens && [...invocationTokens],
      origin,
      users: version.users,
    };
  }

  async #build(source: AdapterSource, signal: AbortSignal | undefined): Promise<Version> {
    const adapter = await loadAdapter(source, this.#engine, this.#facts, signal);
    const version: Version = { adapter, users: 0, names: 0, idle: [] };
    if (signal?.aborted || this.#disposed) {
      this.#free(version);
      throw signal?.aborted
        ? new LowrankError("ERR_ABORTED", "The load of the adapter was aborted.", { cause: signal.reason })
        : new LowrankError("ERR_DISPOSED", "The model was disposed while the adapter was loaded.");
    }
    return version;
  }

  #point(name: string, version: Version): AdapterFacts {
    const before = this.#slots.get(name);
    version.names++;
    this.#slots.set(name, { version, generation: (before?.generation ?? 0) + 1 });
    if (before) {
      before.version.names--;
      this.#free(before.version);
    }
    return this.#factsOf(name);
  }

  /** Gives a version's memory back once neither a name nor a request holds it. */
  #free(version: Version): void {
    if (version.names > 0 || version.users > 0) return;
    this.#engine.releaseAdapter(version.adapter.id);
    for (const resolve of version.idle.splice(0)) resolve();
  }

  #inTurn<T>(name: string, work: () => Promise<T>): Promise<T> {
    if (typeof name !== "string" || name === "" || name.length > 256)
      return Promise.reject(expected("a string of 1 to 256 characters", "the adapter's name", name));
    if (this.#disposed)
      return Promise.reject(
        new LowrankError("ERR_DISPOSED", "The model was disposed. Load it again to use it."),
      );
    const before = this.#pending.get(name);
    const turn = before ? before.then(work, work) : work();
    const settled = turn.then(
      () => {},
      () => {},
    );
    this.#pending.set(name, settled);
    void settled.then(() => {
      if (this.#pending.get(name) === settled) this.#pending.delete(name);
    });
    return turn;
  }
}

/** Where an activated adapter wakes: the start of the last occurrence (PEFT, calculate_alora_offsets); -1 where there is none. */
function lastOccurrence(tokens: Int32Array, wanted: readonly number[]): number {
  for (let at = tokens.length - wanted.length; at >= 0; at--)
    if (wanted.every((token, i) => tokens[at + i] === token)) return at;
  return -1;
}
