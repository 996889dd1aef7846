import { lstatSync, watch, type FSWatcher } from "node:fs";
import { readdir } from "node:fs/promises";
import { join } from "node:path";

/** Which entry of a folder something has happened to. */
export interface FolderListener {
  changed(entry: string): void;
  /** Nobody knows to which. */
  anyChanged(): void;
  failed(error: unknown): void;
}

/**
 * Tells of changes in a folder and in its subfolders, one level deep; links are not followed. What it tells is a hint to look, no more: the
 * same change may be told twice. Does not keep the process running.
 */
export class FolderEvents {
  readonly #root: string;
  readonly #listener: FolderListener;
  readonly #watchers = new Map<string, FSWatcher>();
  #timer: NodeJS.Timeout | undefined;
  #closed = false;

  constructor(root: string, listener: FolderListener) {
    this.#root = root;
    this.#listener = listener;
  }

  /** `pollMs`: where the file system tells of no changes, say that anything may have changed every so many milliseconds. */
  async open(pollMs: number | undefined): Promise<void> {
    if (pollMs !== undefined) {
      this.#timer = setInterval(() => this.#listener.anyChanged(), pollMs).unref();
      return;
    }
    this.#watch("", this.#root, (entry) => {
      if (entry === null) return this.#listener.anyChanged();
      this.#follow(entry);
      this.#listener.changed(entry);
    });
    for (const entry of await readdir(this.#root)) this.#follow(entry);
  }

  /** Anew, as another folder may have taken its place. */
  #follow(entry: string): void {
    this.#watchers.get(entry)?.close();
    this.#watchers.delete(entry);
    this.#watch(entry, join(this.#root, entry), () => this.#listener.changed(entry));
  }

  #watch(key: string, path: string, onEvent: (file: string | null) => void): void {
    if (this.#closed) return;
    try {
      if (!lstatSync(path).isDirectory()) return;
      const watcher = watch(path, { persistent: false }, (_, file) => onEvent(file));
      // A folder that is deleted may end its watcher with an error; its parent tells of the deletion.
      watcher.on("error", (error) => (key === "" ? this.#listener.failed(error) : watcher.close()));
      this.#watchers.set(key, watcher);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "ENOENT") this.#listener.failed(error);
    }
  }

  close(): void {
    this.#closed = true;
    clearInterval(this.#timer);
    for (const watcher of this.#watchers.values()) watcher.close();
    this.#watchers.clear();
  }
}
