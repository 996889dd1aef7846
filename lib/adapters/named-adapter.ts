import { LowrankError } from "../errors/index.js";
import type { KeptPrecision } from "./load.js";
import type { AdapterState, Version } from "./version.js";

/** One generation of a name, the current one or an earlier one. */
export interface AdapterGeneration {
  generation: number;
  contentHash: string;
  precision: KeptPrecision;
  /** Memory that it takes where it is resident, in bytes. */
  bytes: number;
  /** Where it was read: a path, or "memory". */
  origin: string;
  /** Milliseconds since the epoch at which the name was moved to it. */
  since: number;
  current: boolean;
  /** "gone": neither memory nor disk holds it any more, so that it cannot be gone back to. */
  state: AdapterState | "gone";
}

/** A version under a name. */
interface Entry {
  generation: number;
  version: Version;
  origin: string;
  since: number;
  /** The generation that `rollback` goes back to from here; null where there is none. */
  before: number | null;
}

/** Generations whose facts are kept. */
const MAX_GENERATIONS = 32;

/** A name, where it points, and where it has pointed. */
export class NamedAdapter {
  readonly name: string;
  pinned = false;
  /** Oldest first; the last one is the current one. */
  readonly #entries: Entry[] = [];

  constructor(name: string) {
    this.name = name;
  }

  get current(): Entry {
    return this.#entries.at(-1)!;
  }

  get entries(): readonly Entry[] {
    return this.#entries;
  }

  /** Throws ERR_ADAPTER_CONFLICT where the name is not at the generation; 0 stands for any. */
  expect(generation: number): void {
    const now = this.current.generation;
    if (generation === 0 || now === generation) return;
    throw new LowrankError(
      "ERR_ADAPTER_CONFLICT",
      `Expected generation ${generation} of "${this.name}", it is at ${now}. Somebody else has swapped it: look at it again.`,
      { details: { name: this.name, expected: generation, generation: now } },
    );
  }

  /** Makes a version the current one; returns those that are not remembered any more. `before`: default, the generation up to now. */
  add(version: Version, origin: string, before?: number | null): Version[] {
    const generation = (this.#entries.at(-1)?.generation ?? 0) + 1;
    const predecessor = before === undefined ? generation - 1 || null : before;
    this.#entries.push({ generation, version, origin, since: Date.now(), before: predecessor });
    const forgotten = this.#entries.splice(0, Math.max(0, this.#entries.length - MAX_GENERATIONS));
    return forgotten.map((entry) => entry.version);
  }

  /** Throws ERR_ADAPTER_NOT_FOUND where the generation is not remembered. */
  at(generation: number): Entry {
    const entry = this.#entries.find((one) => one.generation === generation);
    if (entry) return entry;
    const kept = `${this.#entries[0]!.generation} to ${this.current.generation}`;
    throw new LowrankError(
      "ERR_ADAPTER_NOT_FOUND",
      `Expected a generation of "${this.name}" that is remembered (${kept}), received ${generation}.`,
    );
  }
}
