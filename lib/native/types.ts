/** The typed face of the native addon. Arguments are checked in TypeScript before they come here. */

import type { CheckedOf } from "../schema/index.js";
import type { ENGINE } from "./engine-options.js";
import type { SamplingOptions, ServedRequest } from "./request-options.js";

export type Precision = "int8" | "w8-float32" | "float32";

/** One tensor of a file. `shape` is outermost first. */
export interface NativeTensor {
  name: string;
  dtype: string;
  shape: number[];
}

export interface AdapterInspection {
  format: "safetensors" | "gguf";
  tensors: NativeTensor[];
  /** GGUF key-values, or the `__metadata__` of a safetensors file. */
  metadata: Record<string, unknown>;
}

export type ProjectionName =
  "q_proj" | "k_proj" | "v_proj" | "o_proj" | "gate_proj" | "up_proj" | "down_proj";
export type LayerNormName =
  | "input_layernorm"
  | "post_attention_layernorm"
  | "pre_feedforward_layernorm"
  | "post_feedforward_layernorm"
  | "q_norm"
  | "k_norm";

/** What one tensor of an adapter file is; see native/lora/adapter.h, AdapterEntry. */
export interface AdapterEntry {
  tensor: string;
  role:
    | "lora_A"
    | "lora_B"
    | "lora_magnitude_vector"
    | "lora_B.bias"
    | "bias"
    | "weight"
    /** The base's own table: it replaces the base's where it differs. */
    | "base_layer.weight"
    /** Some rows of a table, those of `tokenRows`. */
    | "token_rows"
    | "lora_embedding_A"
    | "lora_embedding_B"
    /** Not used: it must hold the same numbers as the tensor `copyOf`. */
    | "copy";
  module: ProjectionName | LayerNormName | "norm" | "lm_head" | "embed_tokens";
  /** Index of the decoder layer; -1 for norm, lm_head and embed_tokens. */
  layer: number;
  /** lora_A and lora_embedding_A only: alpha / rank, or alpha / sqrt(rank). */
  scaling?: number;
  /** A run of the tensor's rows; all where absent. */
  rowBegin?: number;
  rowCount?: number;
  transpose?: boolean;
  unpermuteHeads?: number;
  /** base_layer.weight only: refuse the adapter where it differs from the base's table. */
  mustHoldBase?: boolean;
  /** token_rows only: token ids, each once, in the order of the tensor's rows. */
  tokenRows?: Int32Array;
  /** copy only. */
  copyOf?: string;
}

/** What an adapter's A and B are kept in, with precision "int8" of the model. */
export type AdapterPrecision = "bfloat16" | "int8";

/** Facts of the loaded base model. */
export interface ModelFacts {
  architecture: string;
  hiddenSize: number;
  intermediateSize: number;
  layers: number;
  heads: number;
  kvHeads: number;
  headDim: number;
  vocabularySize: number;
  contextLength: number;
  trainedContextLength: number;
  /** Requests that are computed at once. */
  maxSequences: number;
  tiedEmbeddings: boolean;
  /** Norms that each layer has. */
  layerNorms: LayerNormName[];
  parameters: number;
  precision: Precision;
  /** "cpu" or "cuda". */
  backend: string;
  /** One of `instructionSets()`; of CUDA "sm_90" and so on, behind which an emulated device says so. */
  instructionSet: string;
  threads: number;
  weightBytes: number;
  kvBytesPerToken: number;
  /** What keys and values are kept in. */
  kvCache: "bfloat16" | "int8" | "float32";
  /** Tensors of the model's file that config.json switches off, as transformers leaves them out: biases. */
  ignoredTensors: string[];
  /** What the load did with a file of packed weights: read it, wrote it for the next load, or neither. */
  packedWeights: "none" | "restored" | "written";
}

export interface MemoryUse {
  weightBytes: number;
  kvCacheBytes: number;
  adapterBytes: number;
  scratchBytes: number;
  /** Logits that comparisons hold now. */
  comparisonBytes: number;
}

/** What the engine has done since it was loaded, and what it does now. */
export interface EngineStatistics {
  steps: number;
  /** Tokens computed, of prompts and answers. */
  tokens: number;
  /** Times that a running request gave way to others and was computed again. */
  preemptions: number;
  /** Prompt tokens of the requests that were begun, and those of them that the prefix cache had. */
  promptTokens: number;
  cachedTokens: number;
  /** Requests now. */
  waiting: number;
  active: number;
  /** Bytes of keys and values: what may be used, what requests use, what the prefix cache alone keeps (free when wanted). */
  kvCache: { budgetBytes: number; usedBytes: number; idleBytes: number };
}

export interface AppliedAdapter {
  /** As `loadAdapter` gave it. */
  id: number;
  scale: number;
  /** First position at which the adapter is active (activated LoRA); 0 for all others. */
  fromPosition: number;
  /** Position after the last one; 2^31-1: active to the end. */
  toPosition: number;
}

export interface GenerateRequest extends ServedRequest {
  kind: "generate";
  tokens: Int32Array;
  adapters: AppliedAdapter[];
  maxTokens: number;
  stopTokens: Int32Array;
  /** The token ids of what the answer is one of; undefined: any answer. */
  choices: Int32Array[] | undefined;
  /** Tokens that prompt lookup drafts a step; 0: none. */
  maxDraftTokens: number;
  sampling: SamplingOptions;
  /** Number of most likely tokens to report at each position; -1: no log-probabilities at all. */
  topLogprobs: number;
}

/** Evaluates tokens without sampling. */
export interface EvaluateRequest extends ServedRequest {
  kind: "score" | "logits";
  tokens: Int32Array;
  adapters: AppliedAdapter[];
  /** Positions [from, to) of `tokens` whose next-token distribution is wanted. */
  from: number;
  to: number;
  /** score only: as in GenerateRequest. */
  topLogprobs: number;
  /** logits only: the id of an open comparison that takes the rows, as those of `variant`; then no event brings them. */
  comparison?: number;
  variant?: number;
}

export type NativeRequest = GenerateRequest | EvaluateRequest;

/** A request but for its adapters. */
export type EngineRequest = Omit<GenerateRequest, "adapters"> | Omit<EvaluateRequest, "adapters">;

/** What happened to a request in one step. Natural logarithms throughout. */
export interface NativeEvent {
  request: number;
  /** Sampled tokens (generate), or the position's actual next token (score; -1 at the last position). */
  tokens?: Int32Array;
  logprobs?: Float32Array;
  entropies?: Float32Array;
  logsumexps?: Float32Array;
  /** [tokens.length, topLogprobs] */
  topIds?: Int32Array;
  topLogprobs?: Float32Array;
  /** logits: [positions, vocabularySize] of the next run of positions. */
  logits?: Float32Array;
  /** Present in the request's last event. */
  finish?: "stop" | "length" | "aborted" | "complete" | "error";
  error?: { code: string; message: string };
  timings?: {
    queuedMs: number;
    prefillMs: number;
    decodeMs: number;
    promptTokens: number;
    generatedTokens: number;
    draftedTokens: number;
    acceptedTokens: number;
    cachedTokens: number;
    preemptions: number;
  };
}

/** A CUDA device, or, with index -1, why there is none. */
export interface CudaDevice {
  index: number;
  name: string;
  memoryBytes: number;
  computeMajor: number;
  computeMinor: number;
  emulated: boolean;
  /** Why it cannot be used; "" where it can. */
  unavailable: string;
}

/** The device that a load will run on. */
export interface SelectedDevice {
  /** "cpu", "cuda:0". */
  id: string;
  instructionSet: string;
  /** What packed weights depend on beside the model: recipe, backend, layout, and how the instruction set rounds. */
  packedWeightsId: string;
  /** Why "auto" took the CPU; "" where it was asked for or nothing was in the way. */
  fallback: string;
}

/** Of what ENGINE declares, 0 stands for the default of the engine. */
export interface LoadOptions extends CheckedOf<typeof ENGINE> {
  path: string;
  /** As SelectedDevice has it. */
  device: string;
  /** Path of the CUDA plugin, or "". */
  plugin: string;
  precision: Precision;
  int8KvCache: boolean;
  /** Bytes of a CUDA device that adapters keep between steps; 0: as it is. */
  deviceAdapterBytes: number;
}

/** What the variants of a comparison differ by, at each row. */
export interface LogitDifferences {
  /** [variants, rows] KL(reference || variant), nats. */
  divergences: Float64Array;
  /** [variants, rows] of the given tokens, natural logarithms. */
  logprobs: Float64Array;
  /** [variants, rows] token ids; of equals the lowest. */
  mostLikely: Int32Array;
}

export interface NativeEngine {
  readonly facts: ModelFacts;
  submit(request: NativeRequest): number;
  cancel(request: number): void;
  /** `bytes` are read where they lie: nobody may change them before the promise settles. */
  loadAdapter(
    bytes: Uint8Array,
    entries: AdapterEntry[],
    /** Keep A and B in int8; only with the model's precision int8. */
    int8: boolean,
    /** Adapters with equal keys and precisions share pages of the prefix cache. */
    prefixCacheKey: string,
  ): Promise<{ id: number; bytes: number; maxRank: number }>;
  /** Gives up the handle; memory is freed when the last sequence that uses it ends. */
  releaseAdapter(id: number): void;
  /** Room for logits: 4 * variants * rows * vocabularySize bytes, 1 GiB at most, until it is closed. Returns its id. */
  openComparison(shape: { variants: number; rows: number }): number;
  /**
   * Compares as many rows as there are tokens, off the event loop. Requests that write them must have ended. Rejects with ERR_INTERNAL
   * where logits are not finite.
   */
  compareLogits(asked: {
    comparison: number;
    reference: number;
    tokens: Int32Array;
  }): Promise<LogitDifferences>;
  /** Resolves when the memory is free. */
  closeComparison(comparison: number): Promise<void>;
  memory(): MemoryUse;
  statistics(): EngineStatistics;
  checksum(): Promise<bigint>;
  /** Ends every request with `aborted` and frees everything. Safe to call twice. */
  dispose(): Promise<void>;
}

export interface NativeLoad {
  promise: Promise<NativeEngine>;
  cancel: () => void;
  /** The file to restore packed weights from or else to write them to; "": none. int8 waits for this call. */
  usePacked: (path: string) => void;
  /** The tokens to calibrate int8 by, at most 256; none: some of the frequent ids. int8 waits for this call. */
  calibrate: (tokens: Int32Array) => void;
}

export interface NativeAddon {
  /** The class that native errors are made of: `new errorClass(code, message)`. Set once, before anything else. */
  setErrorClass(errorClass: new (code: never, message: string) => Error): void;
  loadEngine(
    options: LoadOptions,
    onEvents: (events: NativeEvent[]) => void,
    onProgress: (done: number, total: number) => void,
  ): NativeLoad;
  /** Tensor names and metadata of an adapter held in memory, whose bytes nobody may change before the promise settles. */
  inspectAdapter(bytes: Uint8Array): Promise<AdapterInspection>;
  /** Key-values of a GGUF file, for the tokenizer and the chat template. Number arrays come as Float64Array. */
  readGgufMetadata(path: string): Promise<Record<string, unknown>>;
  cudaDevices(plugin: string): Promise<CudaDevice[]>;
  /**
   * "auto", "cpu", "cuda" or "cuda:0". Rejects with ERR_BACKEND_UNAVAILABLE, which says why, where that cannot be had.
   */
  selectDevice(device: string, plugin: string): Promise<SelectedDevice>;
  instructionSets(): { name: string; description: string; available: boolean }[];
}
