import { readdir, stat } from "node:fs/promises";
import { homedir } from "node:os";
import { basename, dirname, join, resolve } from "node:path";
import { LowrankError } from "../../errors/index.js";
import { fileSize } from "./checked-file.js";
import { ggufFiles, ggufModelName, ggufModels, requireAllParts } from "./gguf-parts.js";
import { containedPath, notRegularFile, readContainedFile } from "./contained-file.js";
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
 * Resolves a folder, a `.gguf` file, or the first part of a split one. Throws ERR_MODEL_NOT_FOUND where nothing is there, ERR_MODEL_FORMAT where what is
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
  if (/\.gguf$/i.test(absolute) && !found.isFile()) throw notRegularFile(absolute);
  if (!found.isFile() || !/\.gguf$/i.test(absolute)) {
    throw new LowrankError(
      "ERR_MODEL_FORMAT",
      `Expected a folder or a .gguf file for the model, received ${absolute}. ` +
        "For safetensors pass the folder that holds them together with config.json.",
      { details: { path: absolute } },
    );
  }
  const files = ggufFiles(absolute);
  const missing = await missingOf(files);
  requireAllParts(files, missing, dirname(absolute));
  return { kind: "gguf", path: absolute, name: ggufModelName(basename(absolute)), files };
}

/** The files that are not there. */
export async function missingOf(files: readonly string[]): Promise<string[]> {
  const sizes = await Promise.all(files.map((file) => fileSize(file)));
  return files.filter((_, i) => sizes[i] === undefined);
}

/** Reads what a model folder consists of. Throws ERR_MODEL_FORMAT or ERR_MODEL_UNSUPPORTED. */
export async function readModelFolder(folder: string): Promise<ResolvedModel> {
  const names: string[] = [];
  const templates = await readdir(join(folder, TEMPLATE_FOLDER)).catch(() => []);
  for (const name of [...(await readdir(folder)), ...templates.map((one) => `${TEMPLATE_FOLDER}/${one}`)]) {
    // Through symbolic links, which the hub's cache consists of; a broken one counts as not there.
    if ((await fileSize(join(folder, name))) !== undefined) names.push(name);
    else await refusePipe(join(folder, name));
  }
  const incomplete = (missing: string, remedy: string): LowrankError =>
    new LowrankError(
      "ERR_MODEL_FORMAT",
      `Expected config.json and safetensors weights in ${folder}, received a folder without ${missing}. ${remedy}`,
      { details: { path: folder } },
    );
  if (!names.includes("config.json")) {
    const [gguf] = ggufModels(names.sort());
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
  const metadata = selectMetadata(names);
  for (const name of metadata) await containedPath(folder, name);
  const files = [...metadata, ...weights].map((name) => join(folder, name));
  return { kind: "folder", path: folder, name: basename(folder), files };
}

/** A model's file that is a pipe or a device would count as missing, without a reason. */
async function refusePipe(path: string): Promise<void> {
  if (!/\.(?:json|jinja|safetensors|gguf)$/i.test(path)) return;
  const facts = await stat(path).catch(() => undefined);
  if (facts !== undefined && !facts.isDirectory()) throw notRegularFile(path);
}

async function readIndex(folder: string): Promise<string> {
  return (await readContainedFile(folder, SAFETENSORS_INDEX, MAX_INDEX_BYTES))?.toString("utf8") ?? "";
}
