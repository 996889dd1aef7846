/** Reads the tensors of a safetensors file as float32. */
import { readFileSync } from "node:fs";

export interface FileTensor {
  shape: number[];
  values: Float32Array;
}

function numbers(bytes: Buffer, dtype: string): Float32Array {
  const own = new Uint8Array(bytes).buffer;
  if (dtype === "F32") return new Float32Array(own);
  if (dtype !== "BF16") throw new Error(`Expected F32 or BF16, received ${dtype}.`);
  // The upper half of a float32.
  return new Float32Array(Uint32Array.from(new Uint16Array(own), (bits) => bits << 16).buffer);
}

export function readTensors(path: string): Map<string, FileTensor> {
  const bytes = readFileSync(path);
  const begin = 8 + Number(bytes.readBigUInt64LE(0));
  const header = JSON.parse(bytes.toString("utf8", 8, begin)) as Record<
    string,
    { dtype: string; shape: number[]; data_offsets: [number, number] }
  >;
  const tensors = new Map<string, FileTensor>();
  for (const [name, { dtype, shape, data_offsets }] of Object.entries(header))
    if (name !== "__metadata__")
      tensors.set(name, {
        shape,
        values: numbers(bytes.subarray(begin + data_offsets[0], begin + data_offsets[1]), dtype),
      });
  return tensors;
}
