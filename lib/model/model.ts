import type { AdapterRegistry } from "../adapters/index.js";
import type { EngineClient, Prompt } from "../client/index.js";
import {
  compare,
  type CompareOptions,
  type ComparePrompt,
  type CompareVariant,
  type Comparison,
} from "../compare/index.js";
import { checkTokens } from "../errors/check.js";
import { expected } from "../errors/index.js";
import {
  chat,
  generate,
  logits,
  score,
  type ChatOptions,
  type GenerateOptions,
  type Generation,
  type LogitsOptions,
  type LogitsResult,
  type ScoreOptions,
  type ScoreResult,
} from "../generate/index.js";
import type { EngineStatistics, MemoryUse, ModelFacts } from "../native/types.js";
import { checkOptions } from "../schema/index.js";
import {
  DECODING,
  ENCODING,
  type ChatMessage,
  type DecodeOptions,
  type EncodeOptions,
  type Tokenizer,
} from "../tokenizer/index.js";

/** What a model runs on. */
export interface ModelDevice {
  /** "cpu", "cuda:0". */
  id: string;
  /** Why `device: "auto"` took the CPU; "" where the CPU was asked for, or another device was taken. */
  fallbackReason: string;
}

/** Bytes, by purpose. */
export interface ModelMemory extends MemoryUse {
  /** What adapters may take in memory (`adapterMemory`); null: no limit. */
  adapterLimitBytes: number | null;
  /** Adapters on disk that can be evicted from memory because they were written there (`adapterDirectory`). */
  adapterDiskBytes: number;
}

/** A loaded model. Make one with `loadModel`; free it with `dispose()` or `await using`. */
export class Model implements AsyncDisposable {
  /** The adapters that requests may name. */
  readonly adapters: AdapterRegistry;
  /** Facts of the model and of how it runs. */
  readonly facts: ModelFacts;
  /** Where the model came from: its alias, repository or file. */
  readonly name: string;
  /** What it runs on; see `facts` for the instruction set. */
  readonly device: ModelDevice;
  readonly #client: EngineClient;
  readonly #adapterLimit: number;

  /** @internal */
  constructor(client: EngineClient, device: ModelDevice, adapterLimit: number) {
    this.#client = client;
    this.name = client.name;
    this.device = device;
    this.facts = client.facts;
    this.adapters = client.adapters;
    this.#adapterLimit = adapterLimit;
  }

  /** Throws ERR_TOKENIZER where the model came without one. */
  get tokenizer(): Tokenizer {
    return this.#client.prompts.text.tokenizer;
  }

  /** Text to token ids; long texts are handled off the event loop. */
  async tokenize(text: string, options: EncodeOptions = {}): Promise<Int32Array> {
    this.#client.requireAlive();
    if (typeof text !== "string") throw expected("a string", "text", text);
    return this.#client.prompts.text.encode(text, checkOptions(ENCODING, options));
  }

  /** Token ids to text. */
  detokenize(tokens: ArrayLike<number>, options: DecodeOptions = {}): string {
    this.#client.requireAlive();
    const checked = checkOptions(DECODING, options);
    return this.tokenizer.decode(checkTokens("tokens", tokens, this.facts.vocabularySize), checked);
  }

  /**
   * Continues a prompt, with the versions of its adapters that are loaded at the time of the call. Errors of arguments are thrown here;
   * those of the request (ERR_ADAPTER_NOT_FOUND, ERR_CONTEXT_LENGTH, …) reach the loop and `result()`.
   */
  generate(prompt: Prompt, options: GenerateOptions = {}): Generation {
    return generate(this.#client, prompt, options);
  }

  /** Answers a conversation through the model's own chat template. */
  chat(messages: readonly ChatMessage[], options: ChatOptions = {}): Generation {
    return chat(this.#client, messages, options);
  }

  /** Log-probabilities of a completion after a prompt. */
  score(prompt: Prompt, completion: Prompt, options: ScoreOptions = {}): Promise<ScoreResult> {
    return score(this.#client, prompt, completion, options);
  }

  /** The raw next-token logits of every position: for research and for proofs. */
  logits(tokens: ArrayLike<number>, options: LogitsOptions = {}): Promise<LogitsResult> {
    return logits(this.#client, tokens, options);
  }

  /**
   * Measures how adapters, scales or versions differ: every token of the texts under every variant, all variants of a text in one batch,
   * with the versions that are loaded at the time of the call. For each token its log-probability, the KL divergence from the reference
   * variant and the most likely token; for each variant means with paired bootstrap intervals over prompts. Rejects with
   * ERR_INVALID_ARGUMENT, ERR_ADAPTER_NOT_FOUND, ERR_CONTEXT_LENGTH, ERR_TOKENIZER, ERR_CHAT_TEMPLATE, ERR_QUEUE_FULL,
   * ERR_OUT_OF_MEMORY, ERR_ABORTED, ERR_DISPOSED.
   */
  compare(
    prompts: readonly ComparePrompt[],
    adapters: readonly CompareVariant[],
    options: CompareOptions = {},
  ): Promise<Comparison> {
    return compare(this.#client, prompts, adapters, options);
  }

  /** Bytes held natively, and what adapters take on disk. */
  memory(): ModelMemory {
    return {
      ...this.#client.memory(),
      adapterLimitBytes: Number.isFinite(this.#adapterLimit) ? this.#adapterLimit : null,
      adapterDiskBytes: this.adapters.diskBytes,
    };
  }

  /** What the engine has done since it was loaded, and what it does now. */
  statistics(): EngineStatistics {
    return this.#client.statistics();
  }

  /** A hash of all base weights: equal before and after anything that adapters do. */
  checksum(): Promise<bigint> {
    return this.#client.checksum();
  }

  /** Requests that are queued or being computed. */
  get activeRequests(): number {
    return this.#client.activeRequests;
  }

  /** Ends every request with finishReason "aborted" and frees all memory. May be called again. */
  dispose(): Promise<void> {
    return this.#client.dispose();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.dispose();
  }
}
