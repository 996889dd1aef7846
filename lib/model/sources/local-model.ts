import { readdir, readFile, stat } from "node:fs/promises";
import { homedir } from "node:os";
import { basename, join, resolve } from "node:path";
import { LowrankError } from "../../errors/index.js";
import { fileSize } from "./checked-file.js";
import {
  MAX_INDEX_BYTES,
  SAFETENSORS_INDEX,
  selectMetadata,
  selectWeights,
  TEMPLATE_FOLDER,
} from "./model-files.js";
import { knownForms } from "./model-name.js";
import type { ResolvedModel } from "./resolved-model.js";

/**
 * Resolves a folder or a `.gguf` file. Throws ERR_MODEL_NOT_FOUND where nothing is there, ERR_MODEL_FORMAT where what is
 * there is not a model, ERR_MODEL_UNSUPPORTED for weights in another format, and passes on errors of the file system.
 */
export async function resolveLocalModel(path: string): Promise<ResolvedModel> {
  const absolute = resolve(/^~[/\\]/.test(path) ? join(homedir(), path.slice(1)) : path);
  let found;
  try {
    found = await stat(absolute);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code !== "ENOENT" && code !== "ENOTDIR") throw error;
    const hubName =
      /^[\w.-]+\/[\w.-]+$/.test(path) && !path.startsWith(".") ? ` For the hub write hf:${path}.` : "";
    throw new LowrankError(
      "ERR_MODEL_NOT_FOUND",
      `Expected a model folder or .gguf file at ${absolute}, received a path where nothing is. ` +
        `Tried: that path.${hubName} Write ${knownForms()}.`,
      { cause: error, details: { name: path, tried: [absolute] } },
    );
  }
  if (found.isDirectory()) return readModelFolder(absolute);
  if (!found.isFile() || !/\.gguf$/i.test(absolute)) {
    throw new LowrankError(
      "ERR_MODEL_FORMAT",
      `Expected a folder or a .gguf file for the model, received ${absolute}. ` +
        "For safetensors pass the folder that holds them together with config.json.",
      { details: { path: absolute } },
    );
  }
  return {
    kind: "gguf",
    path: absolute,
    name: basename(absolute).replace(/\.gguf$/i, ""),
    files: [absolute],
  };
}

/** Reads what a model folder consists of. Throws ERR_MODEL_FORMAT or ERR_MODEL_UNSUPPORTED. */
export async function readModelFolder(folder: string): Promise<ResolvedModel> {
  const names: string[] = [];
  const templates = await readdir(join(folder, TEMPLATE_FOLDER)).catch(() => []);
  for (const name of [...(await readdir(folder)), ...templates.map((one) => `${TEMPLATE_FOLDER}/${one}`)]) {
    // Through symbolic links, which the hub's cache consists of; a broken one counts as not there.
    if ((await fileSize(join(folder, name))) !== undefined) names.push(name);
  }
  const incomplete = (missing: string, remedy: string): LowrankError =>
    new LowrankError(
      "ERR_MODEL_FORMAT",
      `Expected config.json and safetensors weights in ${folder}, received a folder without ${missing}. ${remedy}`,
      { details: { path: folder } },
    );
  if (!names.includes("config.json")) {
    const gguf = names.find((name) => /\.gguf$/i.test(name));
    if (gguf !== undefined)
      throw incomplete("config.json", `Pass the GGUF file itself: ${join(folder, gguf)}.`);
    if (names.includes("adapter_config.json")) {
      throw incomplete(
        "config.json",
        "It holds an adapter: load its base model, then model.adapters.load(name, folder).",
      );
    }
    throw incomplete("config.json", "Pass the folder that save_pretrained wrote.");
  }
  const weights = await selectWeights(names, () => readIndex(folder), folder);
  if (weights.length === 0) throw incomplete("*.safetensors", "Bring the weights over too.");
  const files = [...selectMetadata(names), ...weights].map((name) => join(folder, name));
  return { kind: "folder", path: folder, name: basename(folder), files };
}

async function readIndex(folder: string): Promise<string> {
  const path = join(folder, SAFETENSORS_INDEX);
  const size = (await fileSize(path)) ?? 0;
  if (size <= MAX_INDEX_BYTES) return readFile(path, "utf8");
  throw new LowrankError(
    "ERR_MODEL_FORMAT",
    `Expected at most ${MAX_INDEX_BYTES} bytes for ${path}, received ${size}. Fetch the file again.`,
    { details: { path } },
  );
}
