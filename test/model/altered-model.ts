/** A copy of the small Llama in a temporary folder whose files a test may damage. */
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { tinyModel } from "../generate/tiny-models.js";

export interface RawTensor {
  dtype: string;
  shape: number[];
  bytes: Uint8Array;
}

export class AlteredModel {
  readonly folder = mkdtempSync(join(tmpdir(), "lowrank-model-"));

  constructor(readonly source = tinyModel("llama")) {
    this.restore();
  }

  /** The files as they were. */
  restore(): void {
    rmSync(this.folder, { recursive: true, force: true });
    cpSync(this.source, this.folder, { recursive: true });
  }

  remove(): void {
    rmSync(this.folder, { recursive: true, force: true });
  }

  path(name: string): string {
    return join(this.folder, name);
  }

  editConfig(edit: (config: Record<string, unknown>) => void): void {
    const config = JSON.parse(readFileSync(this.path("config.json"), "utf8")) as Record<string, unknown>;
    edit(config);
    writeFileSync(this.path("config.json"), JSON.stringify(config));
  }

  /** Reads model.safetensors, lets `edit` change the tensors, and writes them back. */
  editTensors(edit: (tensors: Map<string, RawTensor>) => void): void {
    const file = readFileSync(this.path("model.safetensors"));
    const length = Number(file.readBigUInt64LE());
    const header = JSON.parse(file.toString("utf8", 8, 8 + length)) as Record<
      string,
      { dtype: string; shape: number[]; data_offsets: [number, number] }
    >;
    const tensors = new Map<string, RawTensor>();
    for (const [name, { dtype, shape, data_offsets: at }] of Object.entries(header))
      if (name !== "__metadata__") {
        const bytes = new Uint8Array(file.subarray(8 + length + at[0], 8 + length + at[1]));
        tensors.set(name, { dtype, shape, bytes });
      }
    edit(tensors);
    let offset = 0;
    const written: Record<string, unknown> = {};
    for (const [name, { dtype, shape, bytes }] of tensors)
      written[name] = { dtype, shape, data_offsets: [offset, (offset += bytes.length)] };
    const text = Buffer.from(JSON.stringify(written));
    const size = Buffer.alloc(8);
    size.writeBigUInt64LE(BigInt(text.length));
    const data = [...tensors.values()].map(({ bytes }) => bytes);
    writeFileSync(this.path("model.safetensors"), Buffer.concat([size, text, ...data]));
  }
}
