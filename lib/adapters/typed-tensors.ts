import { expected } from "../errors/index.js";
import { checkKnown } from "../schema/index.js";
import { joinBytes } from "./join-bytes.js";

/** A tensor in memory, row after row. */
export interface AdapterTensor {
  /** float32 numbers, or the 16 bits of each number as `dtype` says. As many as the product of `shape`. */
  data: Float32Array | Uint16Array;
  /** Outermost first: [rank, in] for lora_A, [out, rank] for lora_B. At most 8 dimensions. */
  shape: readonly number[];
  /** Needed for a Uint16Array. Default "f32" for a Float32Array. */
  dtype?: "f32" | "bf16" | "f16";
}

/** As many as an adapter's file may have. */
const MAX_TENSORS = 2 ** 14;
const MAX_DIMENSIONS = 8;
const MAX_NAME_BYTES = 1024;

function dtypeOf(at: string, { data, dtype }: AdapterTensor): string {
  if (data instanceof Float32Array) {
    if (dtype === undefined || dtype === "f32") return "F32";
    throw expected('"f32" for a Float32Array', `${at}.dtype`, dtype);
  }
  if (!(data instanceof Uint16Array)) throw expected("a Float32Array or Uint16Array", `${at}.data`, data);
  if (dtype === "bf16") return "BF16";
  if (dtype === "f16") return "F16";
  throw expected('"bf16" or "f16" for a Uint16Array', `${at}.dtype`, dtype);
}

function checkShape(at: string, { data, shape }: AdapterTensor): void {
  if (!Array.isArray(shape) || shape.length > MAX_DIMENSIONS)
    throw expected(`an array of at most ${MAX_DIMENSIONS} sizes`, `${at}.shape`, shape);
  let numbers = 1;
  for (const size of shape as readonly unknown[]) {
    if (!Number.isSafeInteger(size) || (size as number) < 0)
      throw expected("whole numbers from 0", `${at}.shape`, size);
    numbers *= size as number;
  }
  if (numbers !== data.length)
    throw expected(`${numbers} numbers, as its shape [${shape.join(", ")}] says,`, `${at}.data`, data.length);
}

/**
 * A safetensors file of tensors in memory, at most `most` bytes. In the order of the names, so that equal tensors make equal bytes,
 * whatever their order in the object. Throws ERR_INVALID_ARGUMENT, which names the tensor.
 */
export async function safetensorsOf(
  tensors: Record<string, AdapterTensor>,
  most: number,
): Promise<Uint8Array> {
  const names = Object.keys(tensors).sort();
  if (names.length > MAX_TENSORS) throw expected(`at most ${MAX_TENSORS} tensors`, "tensors", names);
  const header: Record<string, unknown> = Object.create(null) as Record<string, unknown>;
  let offset = 0;
  for (const name of names) {
    const tensor = tensors[name]!;
    const at = `tensors[${JSON.stringify(name.slice(0, 200))}]`;
    if (name === "" || name === "__metadata__" || Buffer.byteLength(name) > MAX_NAME_BYTES)
      throw expected(`a name of 1 to ${MAX_NAME_BYTES} bytes`, "a tensor", name);
    checkKnown(at, tensor, ["data", "shape", "dtype"]);
    const dtype = dtypeOf(at, tensor);
    checkShape(at, tensor);
    const end = offset + tensor.data.byteLength;
    header[name] = { dtype, shape: tensor.shape, data_offsets: [offset, end] };
    offset = end;
  }
  const text = Buffer.from(JSON.stringify(header));
  // Offsets of float32 numbers are multiples of 4 in memory, too.
  const padded = Math.ceil(text.length / 8) * 8;
  if (8 + padded + offset > most) throw expected(`at most ${most} bytes`, "tensors", 8 + padded + offset);
  const head = Buffer.alloc(8 + padded, " ");
  head.writeBigUInt64LE(BigInt(padded));
  text.copy(head, 8);
  const data = names.map((name) => tensors[name]!.data);
  return joinBytes([
    head,
    ...data.map(({ buffer, byteOffset, byteLength }) => new Uint8Array(buffer, byteOffset, byteLength)),
  ]);
}
