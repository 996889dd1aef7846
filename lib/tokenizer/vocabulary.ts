import { damaged } from "./tokenizer-errors.js";

/**
 * Strings packed end to end, as GGUF files hold them: string i is the UTF-8 of bytes[offsets[i] .. offsets[i + 1]).
 * bytes: [total], offsets: [count + 1], ascending, offsets[0] = 0.
 */
export interface PackedStrings {
  readonly bytes: Uint8Array;
  readonly offsets: Uint32Array;
}

/** Vocabulary tables: packed tokens and an open-addressing hash index over them. All of it can be shared by threads. */
export interface VocabularyTables {
  readonly strings: PackedStrings;
  /** [power of two] token id + 1, or 0 where the slot is free. */
  readonly slots: Int32Array;
}

/** Most ids of a vocabulary (Gemma has 262,144). */
export const MAX_VOCABULARY = 1 << 21;
/** Most bytes of one token. */
export const MAX_TOKEN_BYTES = 1 << 16;
/** Most bytes of all tokens together. */
export const MAX_VOCABULARY_BYTES = 1 << 28;

const FNV_OFFSET = 0x811c9dc5;
const FNV_PRIME = 0x01000193;

/** FNV-1a; hash(a ++ b) continues from hash(a), which lets prefixes be looked up without starting again. */
export function hashBytes(bytes: Uint8Array, start: number, end: number, seed = FNV_OFFSET): number {
  let hash = seed;
  for (let i = start; i < end; ++i) hash = Math.imul(hash ^ bytes[i]!, FNV_PRIME);
  return hash;
}

/** Typed arrays over shared memory, so that a worker thread reads the same tables without a copy. */
export const sharedBytes = (length: number): Uint8Array => new Uint8Array(new SharedArrayBuffer(length));
export const sharedInts = (length: number): Int32Array => new Int32Array(new SharedArrayBuffer(length * 4));

/** Smallest power of two that keeps a hash table of `count` entries at most half full. */
export function slotCount(count: number): number {
  let size = 16;
  while (size < count * 2) size *= 2;
  return size;
}

/** Most slots that a look-up may pass; about 80 in a table of two million entries that nobody has chosen to collide. */
const MAX_PROBES = 256;

/** Throws ERR_TOKENIZER for entries that were chosen to make look-ups slow. */
export function checkProbes(probes: number, name: string): void {
  if (probes > MAX_PROBES) throw damaged(`entries that a hash table tells apart`, name, probes);
}

/**
 * Packs strings into shared memory. Throws ERR_TOKENIZER for what is not a string, and past the bounds above.
 * @param strings a list of strings, or already packed strings, which are checked and copied
 */
export function packStrings(strings: readonly unknown[] | PackedStrings, name: string): PackedStrings {
  if (!Array.isArray(strings)) return copyPacked(strings as PackedStrings, name);
  if (strings.length > MAX_VOCABULARY) throw tooMany(name, strings.length);
  const offsets = new Uint32Array(new SharedArrayBuffer((strings.length + 1) * 4));
  let total = 0;
  for (let i = 0; i < strings.length; ++i) {
    const text: unknown = strings[i];
    if (typeof text !== "string" || text.length > MAX_TOKEN_BYTES)
      throw damaged(`a string of at most ${MAX_TOKEN_BYTES} bytes`, `${name}[${i}]`, text);
    total += Buffer.byteLength(text);
    if (total > MAX_VOCABULARY_BYTES) throw tooMany(name, total);
    offsets[i + 1] = total;
  }
  const shared = new SharedArrayBuffer(total);
  const buffer = Buffer.from(shared);
  for (let i = 0; i < strings.length; ++i) buffer.write(strings[i] as string, offsets[i]!, "utf8");
  return { bytes: new Uint8Array(shared), offsets };
}

function copyPacked(strings: PackedStrings, name: string): PackedStrings {
  const { bytes, offsets } = (strings ?? {}) as Partial<PackedStrings>;
  if (!(bytes instanceof Uint8Array) || !(offsets instanceof Uint32Array) || offsets.length === 0)
    throw damaged("a list of strings, or packed strings", name, strings);
  const count = offsets.length - 1;
  if (count > MAX_VOCABULARY) throw tooMany(name, count);
  if (bytes.length > MAX_VOCABULARY_BYTES) throw tooMany(name, bytes.length);
  for (let i = 0; i < count; ++i) {
    const length = offsets[i + 1]! - offsets[i]!;
    if (length < 0 || length > MAX_TOKEN_BYTES || offsets[i + 1]! > bytes.length || offsets[0] !== 0)
      throw damaged("ascending offsets within the bytes", name, offsets[i + 1]);
  }
  const copy = {
    bytes: sharedBytes(bytes.length),
    offsets: new Uint32Array(new SharedArrayBuffer(offsets.length * 4)),
  };
  copy.bytes.set(bytes);
  copy.offsets.set(offsets);
  return copy;
}

const tooMany = (name: string, received: number): Error =>
  damaged(`at most ${MAX_VOCABULARY} strings of ${MAX_VOCABULARY_BYTES} bytes together`, name, received);

/** Tokens by id and ids by token, over packed tables: about 20 bytes a token, no JavaScript string kept. */
export class Vocabulary {
  readonly size: number;
  readonly #bytes: Uint8Array;
  readonly #buffer: Buffer;
  readonly #offsets: Uint32Array;
  readonly #slots: Int32Array;

  constructor(readonly tables: VocabularyTables) {
    this.#bytes = tables.strings.bytes;
    this.#buffer = Buffer.from(this.#bytes.buffer, this.#bytes.byteOffset, this.#bytes.byteLength);
    this.#offsets = tables.strings.offsets;
    this.#slots = tables.slots;
    this.size = this.#offsets.length - 1;
  }

  /**
   * Builds the index. Of two ids with the same string the later one is found, as in a Python or Rust map.
   * @param hidden ids that are not to be found by their string: control tokens, which text must never become
   */
  static build(strings: PackedStrings, hidden: ReadonlySet<number>): Vocabulary {
    const vocabulary = new Vocabulary({ strings, slots: sharedInts(slotCount(strings.offsets.length - 1)) });
    for (let id = 0; id < vocabulary.size; ++id) if (!hidden.has(id)) vocabulary.#insert(id);
    return vocabulary;
  }

  #insert(id: number): void {
    const start = this.#offsets[id]!;
    const end = this.#offsets[id + 1]!;
    if (start === end) return; // a hole in the ids
    const mask = this.#slots.length - 1;
    let slot = spread(hashBytes(this.#bytes, start, end)) & mask;
    for (let probes = 1; this.#slots[slot] !== 0; ++probes, slot = (slot + 1) & mask) {
      if (this.#equals(this.#slots[slot]! - 1, this.#bytes, start, end)) break;
      checkProbes(probes, "the vocabulary");
    }
    this.#slots[slot] = id + 1;
  }

  #equals(id: number, bytes: Uint8Array, start: number, end: number): boolean {
    let at = this.#offsets[id]!;
    if (this.#offsets[id + 1]! - at !== end - start) return false;
    for (let i = start; i < end; ++i, ++at) if (this.#bytes[at] !== bytes[i]) return false;
    return true;
  }

  /** The id of the token whose UTF-8 is bytes[start .. end), or -1. `hash` is hashBytes of that range. */
  idOfBytes(bytes: Uint8Array, start: number, end: number, hash = hashBytes(bytes, start, end)): number {
    const mask = this.#slots.length - 1;
    for (let slot = spread(hash) & mask; ; slot = (slot + 1) & mask) {
      const id = this.#slots[slot]! - 1;
      if (id < 0 || this.#equals(id, bytes, start, end)) return id;
    }
  }

  /** The id of a token, or -1. */
  idOf(token: string): number {
    const bytes = Buffer.from(token, "utf8");
    return this.idOfBytes(bytes, 0, bytes.length);
  }

  /** The token string of an id in 0 .. size - 1; "" for a hole in the ids. */
  tokenOf(id: number): string {
    return this.#buffer.toString("utf8", this.#offsets[id], this.#offsets[id + 1]);
  }

  /** UTF-8 of the token of an id in 0 .. size - 1: a view into the table, not to be written to. */
  utf8Of(id: number): Uint8Array {
    return this.#bytes.subarray(this.#offsets[id], this.#offsets[id + 1]);
  }
}

/** FNV's low bits are weak for short keys; one xor-shift-multiply spreads them over the table. */
function spread(hash: number): number {
  const mixed = Math.imul(hash ^ (hash >>> 15), 0x2c1b3c6d);
  return mixed ^ (mixed >>> 13);
}
