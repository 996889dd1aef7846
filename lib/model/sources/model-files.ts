import { LowrankError } from "../../errors/index.js";

/** Index of sharded safetensors weights. */
export const SAFETENSORS_INDEX = "model.safetensors.index.json";

/** Bytes that an index may have; that of a model with 100,000 tensors has about 10 MB. */
export const MAX_INDEX_BYTES = 64 * 1024 * 1024;

const MAX_SHARDS = 4096;
const METADATA =
  /^(?:(?:config|generation_config|special_tokens_map)\.json|tokenizer[^/\\]*\.json|chat_template\.jinja|additional_chat_templates\/[^/\\]+\.jinja)$/;

/** The folder of chat templates beside `chat_template.jinja`, each in a file named after it. */
export const TEMPLATE_FOLDER = "additional_chat_templates";

/** True for a path with `/` that stays below the folder it is joined to, on POSIX and on Windows. */
export function isSafeRelativePath(path: string): boolean {
  if (path === "" || path.length > 1024) return false;
  if (/[\p{Cc}\\]/u.test(path)) return false; // control characters and backslashes
  return path
    .split("/")
    .every((part) => part !== "" && part !== "." && part !== ".." && !/^[A-Za-z]:/.test(part));
}

/** The configuration, tokenizer and template files among `names`, config.json first. */
export function selectMetadata(names: readonly string[]): string[] {
  const rank = (name: string): number => (name === "config.json" ? 0 : 1);
  return names.filter((name) => METADATA.test(name)).sort((a, b) => rank(a) - rank(b) || (a < b ? -1 : 1));
}

/**
 * The weight files among `names`, those of one folder: `model.safetensors`; else the shards that the index lists
 * (`readIndex` gives its text); else a single other safetensors file. Adapters, and the second copy of the weights that
 * some repositories carry as `consolidated*.safetensors`, are never taken.
 *
 * Throws ERR_MODEL_FORMAT where the index is broken or a shard is missing, ERR_MODEL_UNSUPPORTED where the weights are
 * in another format; returns [] where there are none.
 */
export async function selectWeights(
  names: readonly string[],
  readIndex: () => Promise<string>,
  origin: string,
): Promise<string[]> {
  if (names.includes("model.safetensors")) return ["model.safetensors"];
  if (names.includes(SAFETENSORS_INDEX)) {
    const shards = parseIndex(await readIndex(), origin);
    const missing = shards.filter((shard) => !names.includes(shard));
    if (missing.length === 0) return shards;
    throw new LowrankError(
      "ERR_MODEL_FORMAT",
      `Expected all ${shards.length} shards of ${SAFETENSORS_INDEX} in ${origin}, received ` +
        `${shards.length - missing.length}; ${missing.slice(0, 3).join(", ")} missing. Bring the missing files over.`,
      { details: { origin, missing: missing.slice(0, 100) } },
    );
  }
  const others = names.filter(
    (name) => /\.safetensors$/.test(name) && !/^(?:adapter|consolidated)/.test(name),
  );
  if (others.length === 1) return others;
  if (others.length > 1) {
    throw new LowrankError(
      "ERR_MODEL_FORMAT",
      `Expected model.safetensors or ${SAFETENSORS_INDEX} in ${origin}, received ${others.length} safetensors files ` +
        "without an index. Save the model again with save_pretrained, which writes the index.",
      { details: { origin } },
    );
  }
  const pickled = names.find((name) => /^pytorch_model.*\.bin$/.test(name));
  if (pickled === undefined) return [];
  throw new LowrankError(
    "ERR_MODEL_UNSUPPORTED",
    `Expected safetensors weights in ${origin}, received ${pickled}. ` +
      "Convert it: load it with transformers and call save_pretrained, which writes safetensors.",
    { details: { origin, file: pickled } },
  );
}

function parseIndex(text: string, origin: string): string[] {
  const broken = (received: string, cause?: unknown): LowrankError =>
    new LowrankError(
      "ERR_MODEL_FORMAT",
      `Expected a weight_map from tensor names to .safetensors files for ${SAFETENSORS_INDEX} in ${origin}, ` +
        `received ${received}. Fetch the file again.`,
      { cause, details: { origin } },
    );
  let index: unknown;
  try {
    index = JSON.parse(text);
  } catch (error) {
    throw broken("text that is not JSON", error);
  }
  const map = (index as { weight_map?: unknown } | null)?.weight_map;
  if (typeof map !== "object" || map === null || Array.isArray(map)) throw broken("no weight_map");
  const shards = new Set<string>();
  for (const shard of Object.values(map)) {
    if (
      typeof shard !== "string" ||
      !isSafeRelativePath(shard) ||
      shard.includes("/") ||
      !/\.safetensors$/.test(shard)
    ) {
      throw broken(typeof shard === "string" ? JSON.stringify(shard.slice(0, 80)) : typeof shard);
    }
    shards.add(shard);
    if (shards.size > MAX_SHARDS) throw broken(`more than ${MAX_SHARDS} files`);
  }
  if (shards.size === 0) throw broken("an empty weight_map");
  return [...shards].sort();
}
