import type { FileHandle } from "node:fs/promises";

const WRITE_BYTES = 1024 * 1024;

/** Appends to an open file in writes of about 1 MiB, as network and archives hand over blocks of 16 KiB. */
export class AppendingFile {
  readonly #file: FileHandle;
  #written: number;
  #blocks: Uint8Array[] = [];
  #pending = 0;

  /** Starts at byte `position`; nothing else may write to `file` meanwhile. */
  constructor(file: FileHandle, position: number) {
    this.#file = file;
    this.#written = position;
  }

  /** Position of the next byte, with what is still held in memory. */
  get position(): number {
    return this.#written + this.#pending;
  }

  /** Takes over `block`, which must not change afterwards. */
  async append(block: Uint8Array): Promise<void> {
    this.#blocks.push(block);
    this.#pending += block.length;
    if (this.#pending >= WRITE_BYTES) await this.flush();
  }

  /** Hands everything to the system. */
  async flush(): Promise<void> {
    const bytes = Buffer.concat(this.#blocks, this.#pending);
    this.#blocks = [];
    this.#pending = 0;
    for (let done = 0; done < bytes.length;) {
      const { bytesWritten } = await this.#file.write(bytes, done, bytes.length - done, this.#written);
      done += bytesWritten;
      this.#written += bytesWritten;
    }
  }

  /** Empties the file. */
  async restart(): Promise<void> {
    this.#blocks = [];
    this.#pending = 0;
    this.#written = 0;
    await this.#file.truncate(0);
  }
}
