import { basename, dirname } from "node:path";
import { debuglog } from "node:util";
import { EngineClient, RequestRouter } from "../client/index.js";
import { throwIfAborted } from "../errors/check.js";
import { expected, LowrankError } from "../errors/index.js";
import { addon } from "../native/addon.js";
import { findCudaPlugin } from "../native/cuda-plugin.js";
import { ENGINE } from "../native/engine-options.js";
import type { NativeEngine, SelectedDevice } from "../native/types.js";
import { pick } from "../schema/index.js";
import { TextProcessor, type TokenizerSource } from "../tokenizer/index.js";
import { adapterSpillFolder } from "./adapter-directory.js";
import { Model } from "./model.js";
import { calibrationTokens } from "./calibration.js";
import { checkLoadOptions, type CheckedLoadOptions, type LoadModelOptions } from "./options.js";
import { findPackedModel, tidyPackedModels, type PackedModel } from "./packed-model.js";
import {
  readContainedFile,
  resolveModel,
  SOURCE,
  TEMPLATE_FOLDER,
  type ResolvedModel,
} from "./sources/index.js";

/** Printed where NODE_DEBUG names "lowrank". */
const log = debuglog("lowrank");

/** Largest file beside the weights, in bytes (Gemma 3's tokenizer.json has 33 MB). */
const MAX_FILE_BYTES = 1 << 28;

const readIfThere = (folder: string, name: string): Promise<Buffer | undefined> =>
  readContainedFile(folder, name, MAX_FILE_BYTES);

/** Null where the model has no tokenizer. */
async function tokenizerSource(resolved: ResolvedModel): Promise<TokenizerSource | null> {
  if (resolved.kind === "gguf") {
    const metadata = await addon().readGgufMetadata(resolved.path);
    return metadata["tokenizer.ggml.tokens"] === undefined ? null : { kind: "gguf", metadata };
  }
  const file = (name: string): Promise<Buffer | undefined> => readIfThere(resolved.path, name);
  const [tokenizerJson, tokenizerConfig, specialTokensMap, generationConfig, config, chatTemplate] =
    await Promise.all([
      file("tokenizer.json"),
      file("tokenizer_config.json"),
      file("special_tokens_map.json"),
      file("generation_config.json"),
      file("config.json"),
      file("chat_template.jinja"),
    ]);
  if (tokenizerJson === undefined) return null;
  const templates = resolved.files.filter((path) => basename(dirname(path)) === TEMPLATE_FOLDER);
  const additionalChatTemplates = Object.fromEntries(
    await Promise.all(
      templates.map(async (path) => {
        const text = await file(`${TEMPLATE_FOLDER}/${basename(path)}`);
        return [basename(path, ".jinja"), text?.toString("utf8") ?? ""] as const;
      }),
    ),
  );
  return {
    kind: "files",
    files: {
      tokenizerJson,
      tokenizerConfig,
      specialTokensMap,
      generationConfig,
      config,
      chatTemplate: chatTemplate?.toString("utf8"),
      additionalChatTemplates,
    },
  };
}

async function loadText(
  resolved: ResolvedModel,
  packed: Promise<PackedModel>,
  signal: AbortSignal | undefined,
): Promise<TextProcessor | null> {
  const packedPath = (await packed).tokenizer;
  const restored = packedPath && (await TextProcessor.restore(packedPath));
  if (restored) return restored;
  const source = await tokenizerSource(resolved);
  if (source === null) return null;
  const text = await TextProcessor.create(source, { signal });
  // A full or read-only disk costs the next load its speed, nothing else.
  if (packedPath) void text.save(packedPath).catch(() => undefined);
  return text;
}

/** The engine, which needs the text's tokens before it can be ready; it is not loaded where the text cannot be. */
async function loadEngine(
  path: string,
  device: SelectedDevice,
  packed: Promise<PackedModel>,
  options: CheckedLoadOptions,
  router: RequestRouter,
  text: Promise<TextProcessor | null>,
): Promise<NativeEngine> {
  const { precision, kvCache, deviceAdapterMemory, onProgress, signal } = options;
  let progressError: { thrown: unknown } | undefined;
  const load = addon().loadEngine(
    {
      path,
      device: device.id,
      plugin: findCudaPlugin(),
      precision,
      ...pick(options, ENGINE),
      int8KvCache: kvCache === "int8",
      deviceAdapterBytes: deviceAdapterMemory,
    },
    router.dispatch,
    (parameters, totalParameters) => {
      if (progressError) return;
      try {
        onProgress?.({ stage: "load", parameters, totalParameters });
      } catch (thrown) {
        progressError = { thrown };
        load.cancel();
      }
    },
  );
  signal?.addEventListener("abort", load.cancel, { once: true });
  void packed.then(({ weights }) => load.usePacked(weights));
  text.then(calibrationTokens).then(load.calibrate).catch(load.cancel);
  try {
    const engine = await load.promise;
    if (!progressError && !signal?.aborted) return engine;
    // Everything was read before the cancellation came.
    await engine.dispose();
    throw new LowrankError("ERR_ABORTED", "The load was aborted.");
  } catch (error) {
    if (progressError) throw progressError.thrown;
    throwIfAborted(signal, "The load");
    throw error;
  } finally {
    signal?.removeEventListener("abort", load.cancel);
  }
}

/** transformers says the same of such a file, and computes the same. */
function warnOfIgnored(tensors: readonly string[], name: string): void {
  if (tensors.length === 0) return;
  const shown = tensors.slice(0, 3).join(", ") + (tensors.length > 3 ? " …" : "");
  process.emitWarning(
    `${name} has ${tensors.length} biases that its config.json switches off: ${shown}. They are left out, as transformers does.`,
    { type: "LowrankWarning", code: "LOWRANK_IGNORED_TENSORS" },
  );
}

async function loadOn(
  device: SelectedDevice,
  resolved: ResolvedModel,
  options: CheckedLoadOptions,
): Promise<Model> {
  const { signal } = options;
  const router = new RequestRouter();
  // A model that the engine refuses at once need not be hashed.
  const hashing = new AbortController();
  const stop = (): void => hashing.abort();
  signal?.addEventListener("abort", stop, { once: true });
  const packed = findPackedModel(resolved, options.packedDirectory, device.packedWeightsId, hashing.signal);
  const loadingText = loadText(resolved, packed, signal);
  const [engine, text] = await Promise.allSettled([
    loadEngine(resolved.path, device, packed, options, router, loadingText).finally(stop),
    loadingText,
  ]);
  signal?.removeEventListener("abort", stop);
  if (text.status === "rejected") {
    if (engine.status === "fulfilled") await engine.value.dispose();
    throw text.reason;
  }
  if (engine.status === "rejected") {
    await text.value?.dispose();
    throw engine.reason;
  }
  warnOfIgnored(engine.value.facts.ignoredTensors, resolved.name);
  void tidyPackedModels(await packed, engine.value.facts.packedWeights);
  // The first chat would otherwise wait for the worker that renders its template.
  if (text.value?.tokenizer.chatTemplate) text.value.warmUp();
  const { adapterMemory, adapterDirectory, adapterPrecision } = options;
  const client = new EngineClient({
    name: resolved.name,
    engine: engine.value,
    router,
    text: text.value,
    adapters: {
      precision: adapterPrecision,
      memoryLimit: adapterMemory,
      spillFolder: adapterSpillFolder(adapterDirectory, Number.isFinite(adapterMemory)),
    },
  });
  return new Model(client, { id: device.id, fallbackReason: device.fallback }, adapterMemory);
}

/** What a device may turn out to lack once a model is on its way there: memory, or itself. */
const isOfDevice = (error: unknown): error is LowrankError =>
  LowrankError.isInstance(error) &&
  (error.code === "ERR_OUT_OF_MEMORY" || error.code === "ERR_BACKEND_UNAVAILABLE");

/**
 * Loads a model: an alias ("smollm2-135m-instruct"), `hf:owner/name`, a folder with config.json and safetensors, or a `.gguf` file
 * (of a split one the first part). Downloads what is missing. Biases that config.json switches off are left out with a process warning. Weights are read, quantised and packed off the event loop. With `device: "auto"`, a model that a CUDA
 * device has no room for is loaded on the CPU.
 *
 * Throws LowrankError: ERR_MODEL_NOT_FOUND, ERR_DOWNLOAD, ERR_MODEL_FORMAT, ERR_MODEL_UNSUPPORTED, ERR_TOKENIZER, ERR_OUT_OF_MEMORY,
 * ERR_BACKEND_UNAVAILABLE, ERR_ABORTED, ERR_INVALID_ARGUMENT; and what `onProgress` throws, which ends the load, too.
 */
export async function loadModel(name: string, options: LoadModelOptions = {}): Promise<Model> {
  if (typeof name !== "string" || name === "") throw expected("a model's name or path", "name", name);
  const checked = checkLoadOptions(options);
  throwIfAborted(checked.signal, "The load");
  const device = await addon().selectDevice(checked.device, findCudaPlugin());
  const { onProgress, signal } = checked;
  const resolved = await resolveModel(name, { onProgress, signal, ...pick(checked, SOURCE) });
  const report = ({ id, fallback }: SelectedDevice): void => {
    log("%s runs on %s%s", resolved.name, id, fallback && `: ${fallback}`);
  };
  report(device);
  try {
    return await loadOn(device, resolved, checked);
  } catch (error) {
    if (checked.device !== "auto" || device.id === "cpu" || !isOfDevice(error)) throw error;
    const cpu = { ...(await addon().selectDevice("cpu", "")), fallback: `${device.id}: ${error.message}` };
    report(cpu);
    return await loadOn(cpu, resolved, checked);
  }
}
