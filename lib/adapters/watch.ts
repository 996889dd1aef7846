import { readdir, realpath, stat } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { throwIfAborted } from "../errors/check.js";
import { expected, LowrankError } from "../errors/index.js";
import { checkOptions, type CheckedOf } from "../schema/index.js";
import { FolderEvents } from "./folder-events.js";
import type { AdapterFacts } from "./names.js";
import { WATCH, type AdapterWatchOptions } from "./options.js";
import { readAdapter, type AdapterFiles } from "./source.js";
import { Turns } from "./turns.js";
import { locate, nameOf, sameFiles } from "./watched-entry.js";

/** What a watch has done. `path` is the subfolder or file. */
export type AdapterWatchEvent =
  | { type: "loaded" | "swapped"; name: string; path: string; adapter: AdapterFacts }
  | { type: "unloaded"; name: string; path: string }
  /** What is loaded under the name stays as it was. */
  | { type: "error"; name: string; path: string; error: LowrankError };

/** A folder being watched. */
export interface AdapterWatch extends AsyncDisposable {
  /** Ends the watch; its adapters stay loaded. May be called again. */
  close(): Promise<void>;
  /**
   * Resolves when the watch has ended, for whatever reason. A watch alone keeps no process running; one whose end somebody has asked
   * for does.
   */
  readonly closed: Promise<void>;
}

/** What a watch does to the registry. */
export interface WatchTarget {
  /** Resolves with null where the name has that content already. */
  publish(name: string, files: AdapterFiles, signal: AbortSignal): Promise<AdapterFacts | null>;
  unload(name: string): Promise<void>;
  has(name: string): boolean;
}

type CheckedWatchOptions = CheckedOf<typeof WATCH>;

/** Entries that are read at once when a watch begins. */
const FIRST_READS = 4;

class FolderWatch implements AdapterWatch {
  readonly #root: string;
  readonly #options: CheckedWatchOptions;
  readonly #target: WatchTarget;
  readonly #turns = new Turns();
  readonly #timers = new Map<string, NodeJS.Timeout>();
  /** What was read last of each entry, whether it could be loaded or not. */
  readonly #seen = new Map<string, string>();
  /** The entry that each name was loaded from. */
  readonly #owners = new Map<string, string>();
  readonly #ending = new AbortController();
  readonly #events: FolderEvents;
  /** As `closed`, but keeps nothing running. */
  readonly ended: Promise<void>;
  #end!: () => void;
  #beginning = true;
  /** Keeps the process running for those who wait for the end. */
  #keeper: NodeJS.Timeout | undefined;
  #closing: Promise<void> | undefined;

  constructor(root: string, options: CheckedWatchOptions, target: WatchTarget) {
    this.#root = root;
    this.#options = options;
    this.#target = target;
    this.ended = new Promise((resolve) => (this.#end = resolve));
    this.#events = new FolderEvents(root, {
      changed: (entry) => this.#changed(entry),
      anyChanged: () => void this.#scan(),
      failed: (error) => this.#fail("", error),
    });
  }

  /** Resolves when what lies there is loaded. */
  async begin(): Promise<void> {
    try {
      await this.#begin();
    } finally {
      this.#beginning = false;
    }
  }

  async #begin(): Promise<void> {
    const { pollMs, signal } = this.#options;
    signal?.addEventListener("abort", () => void this.close(), { once: true, signal: this.#ending.signal });
    await this.#events.open(pollMs);
    const entries = await readdir(this.#root);
    await Promise.all(
      Array.from({ length: FIRST_READS }, async () => {
        for (let entry; (entry = entries.pop()) !== undefined;) await this.#examine(entry);
      }),
    );
  }

  get closed(): Promise<void> {
    if (!this.#closing) this.#keeper ??= setInterval(() => {}, 2 ** 30);
    return this.ended;
  }

  close(): Promise<void> {
    this.#closing ??= (async () => {
      this.#ending.abort();
      for (const timer of this.#timers.values()) clearTimeout(timer);
      this.#events.close();
      await this.#turns.idle();
      clearInterval(this.#keeper);
      this.#end();
    })();
    return this.#closing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #tell(event: AdapterWatchEvent): void {
    if (this.#ending.signal.aborted) return;
    try {
      this.#options.onEvent?.(event);
    } catch (error) {
      // As from any listener: it is not the watch that has failed.
      queueMicrotask(() => {
        throw error;
      });
    }
  }

  /** An entry, or "" for the watch itself, could not be followed. */
  #fail(entry: string, cause: unknown): void {
    const path = join(this.#root, entry);
    const error = LowrankError.isInstance(cause)
      ? cause
      : new LowrankError("ERR_IO", `Expected to watch ${path}: ${(cause as Error).message}.`, { cause });
    this.#tell({ type: "error", name: nameOf(entry), path, error });
  }

  /** A hidden entry may be what links point to, as where a volume is replaced at once: then everything is looked at. */
  #changed(entry: string): void {
    if (entry.startsWith(".")) void this.#scan();
    else this.#examineLater(entry);
  }

  /** Looks at everything that lies there, and at what has lain there. */
  async #scan(): Promise<void> {
    const entries = await readdir(this.#root).catch(() => []);
    for (const entry of new Set([...entries, ...this.#seen.keys()]))
      if (!this.#timers.has(entry)) this.#examineLater(entry);
  }

  /** When it has been quiet for a while. */
  #examineLater(entry: string): void {
    if (this.#ending.signal.aborted) return;
    clearTimeout(this.#timers.get(entry));
    const timer = setTimeout(() => {
      this.#timers.delete(entry);
      void this.#examine(entry);
    }, this.#options.settleMs);
    timer.unref();
    this.#timers.set(entry, timer);
  }

  async #examine(entry: string): Promise<void> {
    if (entry.startsWith(".")) return;
    await this.#turns.take(entry, async () => {
      if (this.#ending.signal.aborted) return;
      try {
        await this.#update(entry);
      } catch (error) {
        this.#fail(entry, error);
      }
    });
  }

  /** Brings the registry to what the entry holds now. What it throws is told once for one state of the files. */
  async #update(entry: string): Promise<void> {
    const found = await locate(this.#root, entry);
    if (found === null) return this.#removed(entry);
    if (found === "incomplete" || found.fingerprint === this.#seen.get(entry)) return;
    if (found.error) {
      this.#seen.set(entry, found.fingerprint);
      throw found.error;
    }
    const age = Date.now() - found.changed;
    if (age >= 0 && age < this.#options.settleMs) {
      // Whoever waits for the watch to begin must see it begin; from then on it keeps no process running.
      const options = { ref: this.#beginning, signal: this.#ending.signal };
      await sleep(this.#options.settleMs - age, undefined, options).catch(() => {});
      return this.#ending.signal.aborted ? undefined : this.#update(entry);
    }
    const path = join(this.#root, entry);
    const name = nameOf(entry);
    let files: AdapterFiles | undefined;
    try {
      files = await readAdapter(path);
      if (!sameFiles(files.files, found.files)) return this.#examineLater(entry);
      this.#seen.set(entry, found.fingerprint);
      const owner = this.#owners.get(name);
      if (owner !== undefined && owner !== entry)
        throw new LowrankError(
          "ERR_ADAPTER_EXISTS",
          `Expected one adapter "${name}" in ${this.#root}, "${owner}" is another.`,
        );
      const swaps = this.#target.has(name);
      const adapter = await this.#target.publish(name, files, this.#ending.signal);
      this.#owners.set(name, entry);
      if (adapter) this.#tell({ type: swaps ? "swapped" : "loaded", name, path, adapter });
    } catch (error) {
      const now = await locate(this.#root, entry);
      const same = now !== null && now !== "incomplete" && now.fingerprint === found.fingerprint;
      if (!same) return this.#examineLater(entry); // it is being written
      this.#seen.set(entry, found.fingerprint);
      throw error;
    }
  }

  async #removed(entry: string): Promise<void> {
    const name = nameOf(entry);
    this.#seen.delete(entry);
    if (this.#owners.get(name) !== entry || !this.#options.unloadRemoved) return;
    // A volume that is gone has not had its adapters deleted.
    await stat(this.#root);
    this.#owners.delete(name);
    if (!this.#target.has(name)) return;
    const path = join(this.#root, entry);
    // Not awaited: requests that run with it may go on for long, and the entry may come back meanwhile.
    this.#target.unload(name).then(
      () => this.#tell({ type: "unloaded", name, path }),
      (error: unknown) => this.#fail(entry, error),
    );
  }
}

/** Begins a watch and loads what lies there; see AdapterRegistry.watch. `ended` is as `closed`, but keeps no process running. */
export async function watchFolder(
  folder: string,
  options: AdapterWatchOptions,
  target: WatchTarget,
): Promise<AdapterWatch & { readonly ended: Promise<void> }> {
  const checked = checkOptions(WATCH, options);
  if (typeof folder !== "string" || folder === "" || folder.includes("\0"))
    throw expected("a folder's path", "folder", folder);
  throwIfAborted(checked.signal, "The watch");
  const root = await realpath(folder).catch(() => null);
  if (root === null || !(await stat(root)).isDirectory())
    throw new LowrankError(
      "ERR_ADAPTER_NOT_FOUND",
      `Expected a folder of adapters at ${folder}, there is none.`,
    );
  const watch = new FolderWatch(root, checked, target);
  try {
    await watch.begin();
  } catch (error) {
    await watch.close();
    throw error;
  }
  return watch;
}
