import { createHash } from "node:crypto";
import { constants, open, realpath, stat } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { setImmediate as nextTurn } from "node:timers/promises";
import { expected, LowrankError } from "../errors/index.js";
import { belongsTo } from "../files/index.js";
import { identityOf, type FileIdentity } from "./file-identity.js";
import { joinBytes } from "./join-bytes.js";
import { safetensorsOf, type AdapterTensor } from "./typed-tensors.js";

/**
 * Where an adapter comes from: a PEFT folder, a `.safetensors` file with adapter_config.json beside it, a `.gguf` file; or memory: GGUF
 * bytes as they are, safetensors bytes with their adapter_config.json as an object, or tensors under the names that PEFT gives them
 * ("base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"). What is given in memory is copied: up to 16 MiB at the call, more
 * of it block by block, so that the event loop goes on; leave it as it is until the load has ended.
 */
export type AdapterSource =
  | string
  | Uint8Array
  | { config: object; weights: Uint8Array }
  | { config: object; tensors: Record<string, AdapterTensor> };

/** An adapter's bytes, read once. */
export interface AdapterFiles {
  /** adapter_config.json; null for GGUF, which carries its own. */
  config: unknown;
  weights: Uint8Array;
  /** SHA-256 over configuration and weights, hex. Goes on while the adapter is built. */
  contentHash: Promise<string>;
  /** Path, or "memory". */
  origin: string;
  /** Where it can be read again, absolute; null for memory. */
  path: string | null;
  /** The files that it was read from; none for memory. */
  files: FileIdentity[];
}

/** What was read, before it is hashed. */
type Read = Omit<AdapterFiles, "contentHash">;

interface ReadFile {
  bytes: Uint8Array;
  file: FileIdentity;
}

/** Largest adapter file that is read into memory. */
export const MAX_ADAPTER_BYTES = 4 * 2 ** 30;
const MAX_CONFIG_BYTES = 2 ** 20;
const CONFIG = "adapter_config.json";
const WEIGHTS = "adapter_model.safetensors";
/** Bytes that are hashed in one turn of the event loop: under a millisecond or two. */
const HASH_BLOCK = 2 ** 20;

const ioError = (path: string, cause: unknown): LowrankError =>
  new LowrankError("ERR_IO", `Expected a readable file at ${path}: ${(cause as Error).message}.`, { cause });

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}

/** `named`: the path by which it is found again, where `path` is what that leads to. */
async function readBounded(path: string, most: number, what: string, named = path): Promise<ReadFile> {
  let file;
  try {
    // Without O_NONBLOCK, opening a named pipe would wait for a writer for ever.
    file = await open(path, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0));
    const facts = await file.stat({ bigint: true });
    const size = Number(facts.size);
    if (!facts.isFile()) throw new Error("it is not a regular file");
    if (size > most)
      throw new LowrankError(
        "ERR_ADAPTER_FORMAT",
        `Expected at most ${most} bytes for ${what}, received ${size}.`,
      );
    const bytes = Buffer.allocUnsafeSlow(size);
    let done = 0;
    while (done < bytes.length) {
      const { bytesRead } = await file.read(bytes, done, bytes.length - done, done);
      if (bytesRead === 0) throw new Error("it was cut short while it was read");
      done += bytesRead;
    }
    return { bytes, file: { path: resolve(named), identity: identityOf(facts) } };
  } catch (error) {
    throw LowrankError.isInstance(error) ? error : ioError(path, error);
  } finally {
    await file?.close();
  }
}

/** The real path of a folder's own file: a link in a downloaded adapter must not lead elsewhere. */
async function insideFolder(folder: string, name: string): Promise<string> {
  const path = join(folder, name);
  const [root, target] = await Promise.all([realpath(folder), realpath(path)]).catch((error: unknown) => {
    throw ioError(path, error);
  });
  if (!belongsTo(root, target))
    throw new LowrankError(
      "ERR_ADAPTER_FORMAT",
      `Expected ${name} inside ${folder}, it is a link that leads out of it.`,
    );
  return target;
}

async function readConfig(folder: string): Promise<{ config: unknown; file: FileIdentity }> {
  const path = join(folder, CONFIG);
  const { bytes, file } = await readBounded(
    await insideFolder(folder, CONFIG),
    MAX_CONFIG_BYTES,
    CONFIG,
    path,
  );
  try {
    return { config: JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes)), file };
  } catch (cause) {
    throw new LowrankError("ERR_ADAPTER_FORMAT", `Expected JSON in ${path}: ${(cause as Error).message}.`, {
      cause,
    });
  }
}

const peftFiles = (
  { config, file }: Awaited<ReturnType<typeof readConfig>>,
  weights: ReadFile,
  origin: string,
): Read => ({
  config,
  weights: weights.bytes,
  origin,
  path: resolve(origin),
  files: [file, weights.file],
});

async function readFolder(folder: string): Promise<Read> {
  if (!(await exists(join(folder, WEIGHTS)))) {
    if (await exists(join(folder, "adapter_model.bin")))
      throw new LowrankError(
        "ERR_ADAPTER_UNSUPPORTED",
        `Expected adapter_model.safetensors in ${folder}, received adapter_model.bin: a pickle can run code and is never opened. ` +
          "Convert it once with PEFT: model.save_pretrained(folder, safe_serialization=True).",
      );
    throw new LowrankError(
      "ERR_ADAPTER_NOT_FOUND",
      `Expected adapter_config.json and adapter_model.safetensors in ${folder}. A named adapter lies in a subfolder of that name.`,
    );
  }
  const [config, weights] = await Promise.all([
    readConfig(folder),
    insideFolder(folder, WEIGHTS).then((path) =>
      readBounded(path, MAX_ADAPTER_BYTES, WEIGHTS, join(folder, WEIGHTS)),
    ),
  ]);
  return peftFiles(config, weights, folder);
}

async function readPath(path: string): Promise<Read> {
  const facts = await stat(path).catch((cause: unknown) => {
    throw new LowrankError(
      "ERR_ADAPTER_NOT_FOUND",
      `Expected an adapter's folder or file at ${path}: ${(cause as Error).message}.`,
      {
        cause,
      },
    );
  });
  if (facts.isDirectory()) return readFolder(path);
  if (path.endsWith(".gguf")) {
    const { bytes, file } = await readBounded(path, MAX_ADAPTER_BYTES, basename(path));
    return { config: null, weights: bytes, origin: path, path: resolve(path), files: [file] };
  }
  if (path.endsWith(".safetensors")) {
    const [config, weights] = await Promise.all([
      readConfig(dirname(path)),
      readBounded(path, MAX_ADAPTER_BYTES, basename(path)),
    ]);
    return peftFiles(config, weights, path);
  }
  throw expected("a folder, a .safetensors or a .gguf file", "the adapter's source", path);
}

/** Keys sorted at every level, so that equal configurations hash equally. Throws ERR_ADAPTER_FORMAT for what is no JSON. */
function canonical(config: unknown): string {
  try {
    const text = JSON.stringify(config, (_, part: unknown) =>
      typeof part === "object" && part !== null && !Array.isArray(part)
        ? Object.fromEntries(Object.entries(part).sort(([a], [b]) => (a < b ? -1 : 1)))
        : part,
    );
    if (typeof text === "string" && text.length <= MAX_CONFIG_BYTES) return text;
  } catch (cause) {
    throw new LowrankError(
      "ERR_ADAPTER_FORMAT",
      `Expected JSON of moderate depth for adapter_config.json: ${(cause as Error).message}.`,
      { cause },
    );
  }
  throw new LowrankError(
    "ERR_ADAPTER_FORMAT",
    `Expected an object of at most ${MAX_CONFIG_BYTES} characters for adapter_config.json.`,
  );
}

async function hash(config: string, weights: Uint8Array): Promise<string> {
  const sha256 = createHash("sha256").update(config).update("\0");
  for (let at = 0; at < weights.length; at += HASH_BLOCK) {
    if (at > 0) await nextTurn();
    sha256.update(weights.subarray(at, at + HASH_BLOCK));
  }
  return sha256.digest("hex");
}

/** What is in memory is copied, since the caller may go on to change what it gave. */
async function readMemory(source: Exclude<AdapterSource, string>): Promise<Read> {
  const from = (config: unknown, weights: Uint8Array): Read => ({
    config,
    weights,
    origin: "memory",
    path: null,
    files: [],
  });
  if (source instanceof Uint8Array) {
    const magic = Buffer.from(source.buffer, source.byteOffset, Math.min(4, source.length)).toString(
      "latin1",
    );
    if (magic === "GGUF") return from(null, await joinBytes([source]));
    throw expected(
      "GGUF bytes, or { config, weights } for safetensors bytes",
      "the adapter's source",
      source,
    );
  }
  const config = (given: object): unknown => JSON.parse(canonical(given));
  if ("weights" in source && source.weights instanceof Uint8Array)
    return from(config(source.config), await joinBytes([source.weights]));
  if ("tensors" in source && typeof source.tensors === "object" && source.tensors !== null)
    return from(config(source.config), await safetensorsOf(source.tensors, MAX_ADAPTER_BYTES));
  throw expected("{ config, weights } or { config, tensors }", "the adapter's source", source);
}

/** SHA-256 over configuration and weights, hex: what a version is known by. */
export const contentHashOf = (config: unknown, weights: Uint8Array): Promise<string> =>
  hash(canonical(config), weights);

/** Reads an adapter once and hashes it. Throws ERR_ADAPTER_NOT_FOUND, ERR_ADAPTER_FORMAT, ERR_ADAPTER_UNSUPPORTED, ERR_IO. */
export async function readAdapter(source: AdapterSource): Promise<AdapterFiles> {
  let read: Read;
  if (typeof source === "string" && source !== "" && !source.includes("\0")) read = await readPath(source);
  else if (typeof source === "object" && source !== null) read = await readMemory(source);
  else
    throw expected(
      "a path, GGUF bytes, { config, weights } or { config, tensors }",
      "the adapter's source",
      source,
    );
  const contentHash = contentHashOf(read.config, read.weights);
  contentHash.catch(() => {}); // handled where it is awaited, which a failed build does not reach
  return { ...read, contentHash };
}
