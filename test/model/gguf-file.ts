/** Reads and writes GGUF files, so that a test may change their keys and tensors, or split them as llama.cpp's gguf-split does. */

export interface GgufEntry {
  /** The number that GGUF has for the type. */
  type: number;
  /** The value as it lies in the file. */
  bytes: Buffer;
}

export interface GgufTensor {
  /** The record after the name: dimensions and type, without the offset. */
  record: Buffer;
  data: Buffer;
}

export interface GgufContent {
  keys: Map<string, GgufEntry>;
  tensors: Map<string, GgufTensor>;
}

const TYPES = {
  uint8: 0,
  int8: 1,
  uint16: 2,
  int16: 3,
  uint32: 4,
  int32: 5,
  float32: 6,
  bool: 7,
  string: 8,
  array: 9,
} as const;
export type GgufTypeName = Exclude<keyof typeof TYPES, "array">;

const BYTES: Record<number, number> = { 0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8 };
const ALIGNMENT = 32;

const u32 = (value: number): Buffer => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
};
const u64 = (value: number): Buffer => {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(BigInt(value));
  return bytes;
};
const text = (value: string): Buffer => Buffer.concat([u64(Buffer.byteLength(value)), Buffer.from(value)]);

/** A value of a type, as GGUF writes it. */
export function ggufEntry(type: GgufTypeName, value: number | string | boolean): GgufEntry {
  if (type === "string") return { type: TYPES.string, bytes: text(String(value)) };
  const bytes = Buffer.alloc(BYTES[TYPES[type]]!);
  if (type === "float32") bytes.writeFloatLE(value as number);
  else bytes.writeUIntLE(Number(value), 0, bytes.length);
  return { type: TYPES[type], bytes };
}

/** An array of 32-bit integers. */
export function ggufIntegers(values: number[]): GgufEntry {
  return {
    type: TYPES.array,
    bytes: Buffer.concat([u32(TYPES.uint32), u64(values.length), ...values.map(u32)]),
  };
}

export function readGguf(file: Buffer): GgufContent {
  let at = 8;
  const take = (count: number): Buffer => file.subarray(at, (at += count));
  const number = (): number => Number(take(8).readBigUInt64LE());
  const skipValue = (type: number): void => {
    if (type === TYPES.string) at += 8 + Number(file.readBigUInt64LE(at));
    else if (type === TYPES.array) {
      const inner = take(4).readUInt32LE();
      for (let left = number(); left > 0; left--) skipValue(inner);
    } else at += BYTES[type]!;
  };
  const tensorCount = number();
  const keyCount = number();
  const keys = new Map<string, GgufEntry>();
  for (let i = 0; i < keyCount; i++) {
    const key = take(number()).toString();
    const type = take(4).readUInt32LE();
    const begin = at;
    skipValue(type);
    keys.set(key, { type, bytes: file.subarray(begin, at) });
  }
  const records: { name: string; record: Buffer; offset: number }[] = [];
  for (let i = 0; i < tensorCount; i++) {
    const name = take(number()).toString();
    const record = take(4 + 8 * file.readUInt32LE(at) + 4);
    records.push({ name, record, offset: number() });
  }
  const begin = Math.ceil(at / ALIGNMENT) * ALIGNMENT;
  const ends = [...records.map(({ offset }) => offset), file.length - begin].sort((a, b) => a - b);
  const tensors = new Map<string, GgufTensor>();
  for (const { name, record, offset } of records) {
    const end = ends.find((candidate) => candidate > offset)!;
    tensors.set(name, { record, data: file.subarray(begin + offset, begin + end) });
  }
  return { keys, tensors };
}

export function writeGguf({ keys, tensors }: GgufContent): Buffer {
  const head = [Buffer.from("GGUF"), u32(3), u64(tensors.size), u64(keys.size)];
  for (const [key, { type, bytes }] of keys) head.push(text(key), u32(type), bytes);
  const data: Buffer[] = [];
  let offset = 0;
  const pad = (length: number): Buffer => Buffer.alloc((ALIGNMENT - (length % ALIGNMENT)) % ALIGNMENT);
  for (const [name, tensor] of tensors) {
    head.push(text(name), tensor.record, u64(offset));
    const padding = pad(tensor.data.length);
    data.push(tensor.data, padding);
    offset += tensor.data.length + padding.length;
  }
  const header = Buffer.concat(head);
  return Buffer.concat([header, pad(header.length), ...data]);
}

/** The parts of a split model: all keys in the first, the tensors dealt out in order. */
export function splitGguf(content: GgufContent, count: number): GgufContent[] {
  const tensors = [...content.tensors];
  const each = Math.ceil(tensors.length / count);
  return Array.from({ length: count }, (_, i) => ({
    keys: new Map([
      ...(i === 0 ? content.keys : []),
      ["split.no", ggufEntry("uint16", i)],
      ["split.count", ggufEntry("uint16", count)],
      ["split.tensors.count", ggufEntry("int32", tensors.length)],
    ]),
    tensors: new Map(tensors.slice(i * each, (i + 1) * each)),
  }));
}
