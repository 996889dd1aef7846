import { randomBytes } from "node:crypto";
import { mkdir, open, readFile, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { LowrankError } from "../errors/index.js";
import { contentHashOf, type AdapterFiles } from "./source.js";
import { Turns } from "./turns.js";

/** Adapters on disk that nothing but this model's memory would hold: one file each, named after its content hash, which is also the
 * checksum that it is read back by. Layout: bytes of the configuration (uint32, little-endian), configuration (JSON), weights. */
export class AdapterSpill {
  readonly #folder: string;
  readonly #sizes = new Map<string, number>();
  readonly #turns = new Turns();
  #failure: unknown;

  /** @param folder This model's own; it is made when the first adapter is written and deleted by `dispose`. */
  constructor(folder: string) {
    this.#folder = folder;
  }

  /** Bytes on disk. */
  get bytes(): number {
    return [...this.#sizes.values()].reduce((sum, size) => sum + size, 0);
  }

  /** Why the last write failed; undefined where none has. */
  get failure(): unknown {
    return this.#failure;
  }

  has(contentHash: string): boolean {
    return this.#sizes.has(contentHash);
  }

  #path(contentHash: string): string {
    return join(this.#folder, `${contentHash}.adapter`);
  }

  /** Resolves with whether the adapter is on disk now; a full or read-only disk costs the possibility to evict, nothing else. */
  async write(contentHash: string, { config, weights }: AdapterFiles): Promise<boolean> {
    return this.#turns.take(contentHash, async () => {
      if (this.#sizes.has(contentHash)) return true;
      const partial = `${this.#path(contentHash)}.partial-${randomBytes(4).toString("hex")}`;
      try {
        await mkdir(this.#folder, { recursive: true, mode: 0o700 });
        const text = Buffer.from(JSON.stringify(config));
        const length = Buffer.alloc(4);
        length.writeUInt32LE(text.length);
        const file = await open(partial, "wx", 0o600);
        try {
          for (const part of [length, text, weights]) await writeAll(file, part);
        } finally {
          await file.close();
        }
        await rename(partial, this.#path(contentHash));
        this.#sizes.set(contentHash, length.length + text.length + weights.length);
        return true;
      } catch (error) {
        this.#failure = error;
        await rm(partial, { force: true }).catch(() => {});
        return false;
      }
    });
  }

  /** Throws ERR_IO where the file is gone, cut short or changed; it is deleted then. */
  async read(contentHash: string): Promise<AdapterFiles> {
    return this.#turns.take(contentHash, async () => {
      const path = this.#path(contentHash);
      try {
        const bytes = await readFile(path);
        if (bytes.length < 4) throw new Error("it was cut short");
        const begin = 4 + bytes.readUInt32LE(0);
        const config: unknown = JSON.parse(bytes.toString("utf8", 4, begin));
        const weights = bytes.subarray(begin);
        if ((await contentHashOf(config, weights)) !== contentHash)
          throw new Error("its content has changed");
        return {
          config,
          weights,
          contentHash: Promise.resolve(contentHash),
          origin: "memory",
          path: null,
          files: [],
        };
      } catch (cause) {
        await this.#delete(contentHash);
        throw new LowrankError(
          "ERR_IO",
          `Expected the evicted adapter at ${path}: ${(cause as Error).message}. Load it again from its source.`,
          { cause },
        );
      }
    });
  }

  async remove(contentHash: string): Promise<void> {
    await this.#turns.take(contentHash, () => this.#delete(contentHash));
  }

  async #delete(contentHash: string): Promise<void> {
    this.#sizes.delete(contentHash);
    await rm(this.#path(contentHash), { force: true }).catch(() => {});
  }

  /** Deletes the folder. */
  async dispose(): Promise<void> {
    await this.#turns.idle();
    this.#sizes.clear();
    await rm(this.#folder, { recursive: true, force: true }).catch(() => {});
  }
}

async function writeAll(file: Awaited<ReturnType<typeof open>>, bytes: Uint8Array): Promise<void> {
  for (let done = 0; done < bytes.length;) {
    const { bytesWritten } = await file.write(bytes, done, bytes.length - done);
    done += bytesWritten;
  }
}
