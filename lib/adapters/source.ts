import { createHash } from "node:crypto";
import { constants, open, realpath, stat } from "node:fs/promises";
import { basename, dirname, join, sep } from "node:path";
import { setImmediate as nextTurn } from "node:timers/promises";
import { expected, LowrankError } from "../errors/index.js";

/**
 * Where an adapter comes from: a PEFT folder, a `.safetensors` file with adapter_config.json beside it, a `.gguf` file; or bytes in
 * memory, GGUF as they are, safetensors with their adapter_config.json as an object.
 */
export type AdapterSource = string | Uint8Array | { config: object; weights: Uint8Array };

/** An adapter's bytes, read once. */
export interface AdapterFiles {
  /** adapter_config.json; null for GGUF, which carries its own. */
  config: unknown;
  weights: Uint8Array;
  /** SHA-256 over configuration and weights, hex. Goes on while the adapter is built. */
  contentHash: Promise<string>;
  /** Path, or "memory". */
  origin: string;
}

/** Largest adapter file that is read into memory. */
export const MAX_ADAPTER_BYTES = 4 * 2 ** 30;
const MAX_CONFIG_BYTES = 2 ** 20;
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

async function readBounded(path: string, most: number, what: string): Promise<Uint8Array> {
  let file;
  try {
    // Without O_NONBLOCK, opening a named pipe would wait for a writer for ever.
    file = await open(path, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0));
    const facts = await file.stat();
    if (!facts.isFile()) throw new Error("it is not a regular file");
    if (facts.size > most)
      throw new LowrankError(
        "ERR_ADAPTER_FORMAT",
        `Expected at most ${most} bytes for ${what}, received ${facts.size}.`,
      );
    const bytes = Buffer.allocUnsafeSlow(facts.size);
    let done = 0;
    while (done < bytes.length) {
      const { bytesRead } = await file.read(bytes, done, bytes.length - done, done);
      if (bytesRead === 0) throw new Error("it was cut short while it was read");
      done += bytesRead;
    }
    return bytes;
  } catch (error) {
    throw LowrankError.isInstance(error) ? error : ioError(path, error);
  } finally {
    await file?.close();
  }
}

/** A folder's own files only: a link in a downloaded adapter must not lead elsewhere, but within a hub cache's blobs. */
async function insideFolder(folder: string, name: string): Promise<string> {
  const path = join(folder, name);
  const [root, target] = await Promise.all([realpath(folder), realpath(path)]).catch((error: unknown) => {
    throw ioError(path, error);
  });
  const blobs = join(root, "..", "..", "blobs");
  if (dirname(target) !== root && !(root.includes(`${sep}snapshots${sep}`) && target.startsWith(blobs + sep)))
    throw new LowrankError(
      "ERR_ADAPTER_FORMAT",
      `Expected ${name} inside ${folder}, it is a link that leads out of it.`,
    );
  return target;
}

async function readConfig(path: string): Promise<unknown> {
  const bytes = await readBounded(path, MAX_CONFIG_BYTES, "adapter_config.json");
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch (cause) {
    throw new LowrankError("ERR_ADAPTER_FORMAT", `Expected JSON in ${path}: ${(cause as Error).message}.`, {
      cause,
    });
  }
}

async function readFolder(folder: string): Promise<Omit<AdapterFiles, "contentHash">> {
  if (!(await exists(join(folder, "adapter_model.safetensors")))) {
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
    insideFolder(folder, "adapter_config.json").then(readConfig),
    insideFolder(folder, "adapter_model.safetensors").then((path) =>
      readBounded(path, MAX_ADAPTER_BYTES, "adapter_model.safetensors"),
    ),
  ]);
  return { config, weights, origin: folder };
}

async function readPath(path: string): Promise<Omit<AdapterFiles, "contentHash">> {
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
  if (path.endsWith(".gguf"))
    return {
      config: null,
      weights: await readBounded(path, MAX_ADAPTER_BYTES, basename(path)),
      origin: path,
    };
  if (path.endsWith(".safetensors")) {
    const [config, weights] = await Promise.all([
      readConfig(join(dirname(path), "adapter_config.json")),
      readBounded(path, MAX_ADAPTER_BYTES, basename(path)),
    ]);
    return { config, weights, origin: path };
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
    if (typeof text === "string") return text;
  } catch (cause) {
    throw new LowrankError(
      "ERR_ADAPTER_FORMAT",
      `Expected JSON of moderate depth for adapter_config.json: ${(cause as Error).message}.`,
      { cause },
    );
  }
  throw new LowrankError("ERR_ADAPTER_FORMAT", "Expected an object for adapter_config.json.");
}

async function hash(config: string, weights: Uint8Array): Promise<string> {
  const sha256 = createHash("sha256").update(config).update("\0");
  for (let at = 0; at < weights.length; at += HASH_BLOCK) {
    if (at > 0) await nextTurn();
    sha256.update(weights.subarray(at, at + HASH_BLOCK));
  }
  return sha256.digest("hex");
}

/** Reads an adapter once and hashes it. Throws ERR_ADAPTER_NOT_FOUND, ERR_ADAPTER_FORMAT, ERR_ADAPTER_UNSUPPORTED, ERR_IO. */
export async function readAdapter(source: AdapterSource): Promise<AdapterFiles> {
  let files: Omit<AdapterFiles, "contentHash">;
  if (typeof source === "string" && source !== "" && !source.includes("\0")) {
    files = await readPath(source);
  } else if (source instanceof Uint8Array) {
    if (
      Buffer.from(source.buffer, source.byteOffset, Math.min(4, source.length)).toString("latin1") !== "GGUF"
    )
      throw expected(
        "GGUF bytes, or { config, weights } for safetensors bytes",
        "the adapter's source",
        source,
      );
    files = { config: null, weights: source.slice(), origin: "memory" };
  } else if (typeof source === "object" && source !== null && source.weights instanceof Uint8Array) {
    // Copies, since the caller may go on to change what it gave.
    const config: unknown = JSON.parse(canonical(source.config));
    files = { config, weights: source.weights.slice(), origin: "memory" };
  } else {
    throw expected("a path, GGUF bytes or { config, weights }", "the adapter's source", source);
  }
  const contentHash = hash(canonical(files.config), files.weights);
  contentHash.catch(() => {}); // handled where it is awaited, which a failed build does not reach
  return { ...files, contentHash };
}
