import {
  AdapterRegistry,
  type AdapterLease,
  type AdapterStoreOptions,
  type AdapterUse,
  type LeasedAdapters,
} from "../adapters/index.js";
import { Prompts, type Prompt, type TextRequest } from "../client/index.js";
import {
  checkCompareOptions,
  compare,
  type CompareOptions,
  type ComparePrompt,
  type CompareVariant,
  type Comparison,
} from "../compare/index.js";
import { coded, expected, LowrankError, type ErrorCode } from "../errors/index.js";
import { checkTokens, throwIfAborted } from "../errors/check.js";
import { deadlineIn, timeLeft, type Deadline } from "../errors/deadline.js";
import {
  checkChatOptions,
  checkGenerateOptions,
  checkLogitsOptions,
  checkScoreOptions,
  Generation,
  RequestRouter,
  tokenLogprobs,
  type ChatOptions,
  type CheckedAnswerOptions,
  type GenerateOptions,
  type LogitsOptions,
  type LogitsResult,
  type ScoreOptions,
  type ScoreResult,
  type TokenLogprob,
} from "../generate/index.js";
import type {
  EngineStatistics,
  MemoryUse,
  ModelFacts,
  NativeEngine,
  NativeEvent,
  NativeRequest,
} from "../native/types.js";
import type { ServedRequest } from "../native/request-options.js";
import { checkOptions } from "../schema/index.js";
import {
  DECODING,
  ENCODING,
  type ChatMessage,
  type DecodeOptions,
  type EncodeOptions,
  type TextProcessor,
  type Tokenizer,
} from "../tokenizer/index.js";

/** Most float32 values that one `logits` call may return: 1 GiB. */
const MAX_LOGITS = 2 ** 28;

/** Tokens before the first one that the request draws or evaluates; `logits` counts positions from 0. */
function promptTokensOf(request: NativeRequest): number {
  return request.kind === "generate"
    ? request.tokens.length
    : request.kind === "score"
      ? request.from + 1
      : 1;
}

/** What a model runs on. */
export interface ModelDevice {
  /** "cpu", "cuda:0". */
  id: string;
  /** Why `device: "auto"` took the CPU; "" where the CPU was asked for, or another device was taken. */
  fallbackReason: string;
}

/** What `loadModel` puts together. */
export interface ModelParts {
  engine: NativeEngine;
  router: RequestRouter;
  /** Null where the model came without a tokenizer: then prompts are token ids. */
  text: TextProcessor | null;
  name: string;
  device: ModelDevice;
  adapters: AdapterStoreOptions;
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
  readonly #engine: NativeEngine;
  readonly #router: RequestRouter;
  readonly #tokenizer: Tokenizer | null;
  readonly #text: TextProcessor | null;
  readonly #prompts: Prompts;
  readonly #adapterLimit: number;
  #disposed: Promise<void> | undefined;

  /** @internal */
  constructor(parts: ModelParts) {
    this.#engine = parts.engine;
    this.#router = parts.router;
    this.#tokenizer = parts.text?.tokenizer ?? null;
    this.#text = parts.text;
    this.name = parts.name;
    this.device = parts.device;
    this.facts = parts.engine.facts;
    this.#prompts = new Prompts(parts.text, this.facts);
    this.adapters = new AdapterRegistry(parts.engine, this.facts, parts.adapters);
    this.#adapterLimit = parts.adapters.memoryLimit;
  }

  /** Throws ERR_TOKENIZER where the model came without one. */
  get tokenizer(): Tokenizer {
    return this.#prompts.text.tokenizer;
  }

  #alive(): void {
    if (this.#disposed)
      throw new LowrankError("ERR_DISPOSED", "The model was disposed. Load it again to use it.");
  }

  /** Text to token ids; long texts are handled off the event loop. */
  async tokenize(text: string, options: EncodeOptions = {}): Promise<Int32Array> {
    this.#alive();
    if (typeof text !== "string") throw expected("a string", "text", text);
    return this.#prompts.text.encode(text, checkOptions(ENCODING, options));
  }

  /** Token ids to text. */
  detokenize(tokens: ArrayLike<number>, options: DecodeOptions = {}): string {
    this.#alive();
    const checked = checkOptions(DECODING, options);
    return this.tokenizer.decode(checkTokens("tokens", tokens, this.facts.vocabularySize), checked);
  }

  /**
   * Continues a prompt, with the versions of its adapters that are loaded at the time of the call. Errors of arguments are thrown here;
   * those of the request (ERR_ADAPTER_NOT_FOUND, ERR_CONTEXT_LENGTH, …) reach the loop and `result()`.
   */
  generate(prompt: Prompt, options: GenerateOptions = {}): Generation {
    this.#alive();
    const checked = checkGenerateOptions(options, this.facts.vocabularySize);
    const given = this.#prompts.check(prompt);
    return this.#generation(checked, (request) => this.#prompts.tokens(given, checked, request));
  }

  /** Answers a conversation through the model's own chat template. */
  chat(messages: readonly ChatMessage[], options: ChatOptions = {}): Generation {
    this.#alive();
    const { template, ...checked } = checkChatOptions(options, this.facts.vocabularySize);
    void this.#prompts.text;
    return this.#generation(checked, (request) => this.#prompts.chatTokens(messages, template, request));
  }

  /** Log-probabilities of a completion after a prompt. */
  async score(prompt: Prompt, completion: Prompt, options: ScoreOptions = {}): Promise<ScoreResult> {
    this.#alive();
    const { signal, serving, topLogprobs, ...checked } = checkScoreOptions(options);
    const givenPrompt = this.#prompts.check(prompt);
    const givenCompletion = this.#prompts.check(completion, "completion");
    const request = this.#textRequest(serving, signal);
    return this.#leasing(checked.adapter, serving, signal, async (lease) => {
      const before = await this.#prompts.tokens(givenPrompt, checked, request);
      const after = await this.#prompts.tokens(
        givenCompletion,
        { ...checked, addSpecialTokens: false },
        request,
      );
      if (before.length === 0) throw expected("at least one token", "prompt", "");
      if (after.length === 0) throw expected("at least one token", "completion", "");
      const tokens = new Int32Array(before.length + after.length);
      tokens.set(before);
      tokens.set(after, before.length);
      const scored: TokenLogprob[] = [];
      await this.#run(
        {
          kind: "score",
          tokens,
          from: before.length - 1,
          to: tokens.length - 1,
          topLogprobs,
          adapters: [],
          ...serving,
        },
        lease,
        signal,
        (event) => scored.push(...tokenLogprobs(event, this.#tokenizer, topLogprobs)),
        request.deadline,
      );
      const logprob = scored.reduce((sum, token) => sum + token.logprob, 0);
      const perplexity = Math.exp(-logprob / scored.length);
      return { logprob, perplexity, tokens: scored, promptTokens: before.length };
    });
  }

  /** The raw next-token logits of every position: for research and for proofs. */
  async logits(tokens: ArrayLike<number>, options: LogitsOptions = {}): Promise<LogitsResult> {
    this.#alive();
    const ids = this.#prompts.checkTokens("tokens", tokens);
    if (ids.length === 0) throw expected("at least one token", "tokens", tokens);
    const { adapter, from, to, serving, signal } = checkLogitsOptions(options, ids.length);
    const deadline = deadlineIn(serving.timeoutMs);
    const { vocabularySize } = this.facts;
    if ((to - from) * vocabularySize > MAX_LOGITS)
      throw expected(
        `at most ${Math.floor(MAX_LOGITS / vocabularySize)} positions`,
        "to - from",
        to - from,
        "Ask in several calls.",
      );
    return this.#leasing(adapter, serving, signal, async (lease) => {
      const logits = new Float32Array((to - from) * vocabularySize);
      let filled = 0;
      await this.#run(
        { kind: "logits", tokens: ids, from, to, topLogprobs: -1, adapters: [], ...serving },
        lease,
        signal,
        (event) => {
          if (!event.logits) return;
          logits.set(event.logits, filled);
          filled += event.logits.length;
        },
        deadline,
      );
      return { logits, positions: to - from, vocabularySize };
    });
  }

  /**
   * Measures how adapters, scales or versions differ: every token of the texts under every variant, all variants of a text in one batch,
   * with the versions that are loaded at the time of the call. For each token its log-probability, the KL divergence from the reference
   * variant and the most likely token; for each variant means with paired bootstrap intervals over prompts. Rejects with
   * ERR_INVALID_ARGUMENT, ERR_ADAPTER_NOT_FOUND, ERR_CONTEXT_LENGTH, ERR_TOKENIZER, ERR_CHAT_TEMPLATE, ERR_QUEUE_FULL,
   * ERR_OUT_OF_MEMORY, ERR_ABORTED, ERR_DISPOSED.
   */
  async compare(
    prompts: readonly ComparePrompt[],
    adapters: readonly CompareVariant[],
    options: CompareOptions = {},
  ): Promise<Comparison> {
    this.#alive();
    const checked = checkCompareOptions(prompts, adapters, options, this.facts.vocabularySize);
    return compare(
      {
        name: this.name,
        facts: this.facts,
        tokenizer: this.#tokenizer,
        engine: this.#engine,
        lease: (selection) => this.adapters.lease(selection),
        generationOf: (name) => this.adapters.get(name).generation,
        prompts: this.#prompts,
        run: (request, lease, signal, onEvent) => this.#run(request, lease, signal, onEvent),
      },
      checked,
    );
  }

  /** Bytes held natively, and what adapters take on disk. */
  memory(): ModelMemory {
    this.#alive();
    return {
      ...this.#engine.memory(),
      adapterLimitBytes: Number.isFinite(this.#adapterLimit) ? this.#adapterLimit : null,
      adapterDiskBytes: this.adapters.diskBytes,
    };
  }

  /** What the engine has done since it was loaded, and what it does now. */
  statistics(): EngineStatistics {
    this.#alive();
    return this.#engine.statistics();
  }

  /** A hash of all base weights: equal before and after anything that adapters do. */
  async checksum(): Promise<bigint> {
    this.#alive();
    return this.#engine.checksum();
  }

  /** Requests that are queued or being computed. */
  get activeRequests(): number {
    return this.#router.size;
  }

  /** Ends every request with finishReason "aborted" and frees all memory. May be called again. */
  dispose(): Promise<void> {
    this.#disposed ??= (async () => {
      const adapters = this.adapters.dispose();
      await this.#engine.dispose();
      await adapters;
      await this.#text?.dispose();
    })();
    return this.#disposed;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.dispose();
  }

  #textRequest({ cacheSalt, timeoutMs }: ServedRequest, signal: AbortSignal | undefined): TextRequest {
    return { cacheSalt, deadline: deadlineIn(timeoutMs), signal };
  }

  #generation(
    options: CheckedAnswerOptions,
    tokenize: (request: TextRequest) => Promise<Int32Array>,
  ): Generation {
    return new Generation(
      {
        tokenizer: this.#tokenizer,
        start: async (onEvent, ended) => {
          const lease = this.adapters.lease(options.adapter);
          const request = this.#textRequest(options.serving, ended);
          try {
            const [tokens] = await Promise.all([
              tokenize(request),
              lease.ready(ended, options.serving.timeoutMs),
            ]);
            if (tokens.length === 0) throw expected("at least one token", "prompt", "");
            const endOfText = options.ignoreEndOfText ? [] : (this.#tokenizer?.eosTokenIds ?? []);
            const endTokens = new Set<number>([...endOfText, ...options.stopTokens]);
            const cancel = this.#submit(
              {
                kind: "generate",
                tokens,
                adapters: [],
                maxTokens: options.maxTokens,
                stopTokens: Int32Array.from(endTokens),
                maxDraftTokens: options.promptLookup,
                sampling: options.sampling,
                topLogprobs: options.logprobs,
                ...options.serving,
              },
              lease,
              onEvent,
              request.deadline,
            );
            return { cancel, endTokens };
          } catch (error) {
            lease.release();
            throw error;
          }
        },
      },
      options,
    );
  }

  /** Submits with the leased versions, which are released when the request ends. `onEvent` must not throw. */
  #submit(
    request: NativeRequest,
    lease: LeasedAdapters,
    onEvent: (event: NativeEvent) => void,
    deadline: Deadline | undefined,
  ): () => void {
    this.#alive();
    const id = this.#engine.submit({
      ...request,
      adapters: lease.applied(request.tokens, promptTokensOf(request)),
      timeoutMs: timeLeft(deadline),
    });
    this.#router.add(id, (event) => {
      if (event.finish !== undefined) lease.release();
      onEvent(event);
    });
    return () => this.#engine.cancel(id);
  }

  /** Runs `work` with the versions that a selection means now. An aborted signal comes before everything else. */
  async #leasing<T>(
    adapter: readonly Required<AdapterUse>[],
    { timeoutMs }: ServedRequest,
    signal: AbortSignal | undefined,
    work: (lease: AdapterLease) => Promise<T>,
  ): Promise<T> {
    throwIfAborted(signal, "The request");
    const lease = this.adapters.lease(adapter);
    try {
      await lease.ready(signal, timeoutMs);
      return await work(lease);
    } finally {
      lease.release();
    }
  }

  /** Runs a request to its end; rejects where it is aborted or fails, or with what `onEvent` throws. */
  #run(
    request: NativeRequest,
    lease: LeasedAdapters,
    signal: AbortSignal | undefined,
    onEvent: (event: NativeEvent) => void,
    deadline?: Deadline,
  ): Promise<void> {
    return new Promise((resolve, reject) => {
      throwIfAborted(signal, "The request");
      const follow = (event: NativeEvent): void => {
        try {
          onEvent(event);
        } catch (error) {
          reject(coded(error));
          cancel();
        }
        if (event.finish === undefined) return;
        signal?.removeEventListener("abort", cancel);
        if (event.finish === "error")
          return reject(new LowrankError(event.error!.code as ErrorCode, event.error!.message));
        if (event.finish !== "aborted") return resolve();
        reject(
          signal?.aborted
            ? new LowrankError("ERR_ABORTED", "The request was aborted.", { cause: signal.reason })
            : new LowrankError("ERR_DISPOSED", "The model was disposed before the request was done."),
        );
      };
      const cancel = this.#submit(request, lease, follow, deadline);
      signal?.addEventListener("abort", cancel, { once: true });
    });
  }
}
