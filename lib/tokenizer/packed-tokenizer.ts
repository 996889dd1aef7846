import { createHash, randomUUID } from "node:crypto";
import { readFile, rename, rm, writeFile } from "node:fs/promises";
import { deserialize, serialize } from "node:v8";
import type { TokenizerDefinition } from "./tokenizer-definition.js";

// A definition on disk: the SHA-256 of what follows, then V8's serialisation of the version and the definition, whose tables are
// in plain memory there and in shared memory here. Written and read by one user's own processes; a damaged file, or one of another
// version of this format or of V8's, counts as missing.

/** To be raised with any change of what a definition holds. */
const VERSION = 4;
const HASH_BYTES = 32;

type Table = Uint8Array | Uint16Array | Int32Array | Uint32Array | Float32Array | Float64Array;

const isTable = (value: unknown): value is Table => ArrayBuffer.isView(value);

/** A copy of plain data in which `change` has replaced every table. */
function mapTables(value: unknown, change: (table: Table) => Table): unknown {
  if (typeof value !== "object" || value === null) return value;
  if (isTable(value)) return change(value);
  if (Array.isArray(value)) return value.map((item) => mapTables(item, change));
  if (value instanceof Map)
    return new Map([...value].map(([key, item]) => [key, mapTables(item, change)] as const));
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, mapTables(item, change)]));
}

function inPlainMemory(table: Table): Table {
  return table.slice();
}

function inSharedMemory(table: Table): Table {
  const Kind = table.constructor as new (buffer: SharedArrayBuffer) => Table;
  const shared = new Kind(new SharedArrayBuffer(table.byteLength));
  shared.set(table);
  return shared;
}

const hashOf = (bytes: Uint8Array): Buffer => createHash("sha256").update(bytes).digest();

/** The definition that {@link writeDefinition} wrote, or null. */
export async function readDefinition(path: string): Promise<TokenizerDefinition | null> {
  try {
    const file = await readFile(path);
    const body = file.subarray(HASH_BYTES);
    if (!hashOf(body).equals(file.subarray(0, HASH_BYTES))) return null;
    const { version, definition } = deserialize(body) as { version: unknown; definition: unknown };
    return version === VERSION ? (mapTables(definition, inSharedMemory) as TokenizerDefinition) : null;
  } catch {
    return null;
  }
}

/** Never leaves a part of a file under `path`. Rejects with what the file system says. */
export async function writeDefinition(path: string, definition: TokenizerDefinition): Promise<void> {
  const body = serialize({ version: VERSION, definition: mapTables(definition, inPlainMemory) });
  const partial = `${path}.partial-${randomUUID()}`;
  try {
    await writeFile(partial, Buffer.concat([hashOf(body), body]), { mode: 0o600 });
    await rename(partial, path);
  } catch (error) {
    await rm(partial, { force: true });
    throw error;
  }
}
