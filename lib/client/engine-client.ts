import {
  AdapterRegistry,
  type AdapterLease,
  type AdapterStoreOptions,
  type AdapterUse,
  type LeasedAdapters,
} from "../adapters/index.js";
import { throwIfAborted } from "../errors/check.js";
import { deadlineIn, timeLeft, type Deadline } from "../errors/deadline.js";
import { coded, LowrankError, type ErrorCode } from "../errors/index.js";
import type { EngineRequest, ModelFacts, NativeEngine, NativeEvent } from "../native/types.js";
import type { ServedRequest } from "../native/request-options.js";
import type { TextProcessor, Tokenizer } from "../tokenizer/index.js";
import { Prompts, type TextRequest } from "./prompts.js";
import type { RequestRouter } from "./request-router.js";

/** What a client is put together from. */
export interface EngineParts {
  /** Where the model came from: its alias, repository or file. */
  name: string;
  engine: NativeEngine;
  /** What the engine reports its events to. */
  router: RequestRouter;
  /** Null where the model came without a tokenizer: then prompts are token ids. */
  text: TextProcessor | null;
  adapters: AdapterStoreOptions;
}

/** The logits of several variants of a text, side by side in the engine. */
export type LogitRooms = Pick<NativeEngine, "openComparison" | "compareLogits" | "closeComparison">;

/** Tokens before the first one that the request draws or evaluates; `logits` counts positions from 0. */
function promptTokensOf(request: EngineRequest): number {
  return request.kind === "generate"
    ? request.tokens.length
    : request.kind === "score"
      ? request.from + 1
      : 1;
}

/**
 * A loaded model as its callers use it: its engine, the way of its events, its texts and its adapters. Whatever runs requests takes one.
 */
export class EngineClient {
  readonly name: string;
  readonly facts: ModelFacts;
  readonly prompts: Prompts;
  readonly adapters: AdapterRegistry;
  readonly #parts: EngineParts;
  #disposed: Promise<void> | undefined;

  constructor(parts: EngineParts) {
    this.#parts = parts;
    this.name = parts.name;
    this.facts = parts.engine.facts;
    this.prompts = new Prompts(parts.text, this.facts);
    this.adapters = new AdapterRegistry(parts.engine, this.facts, parts.adapters);
  }

  /** Null where there is none; `prompts.text` throws then. */
  get tokenizer(): Tokenizer | null {
    return this.prompts.tokenizer;
  }

  /** Throws ERR_DISPOSED. */
  requireAlive(): void {
    if (this.#disposed)
      throw new LowrankError("ERR_DISPOSED", "The model was disposed. Load it again to use it.");
  }

  /** Requests that are queued or being computed. */
  get activeRequests(): number {
    return this.#parts.router.size;
  }

  /** The versions that a selection means now. Throws ERR_ADAPTER_NOT_FOUND. */
  lease(selection: readonly Required<AdapterUse>[]): AdapterLease {
    return this.adapters.lease(selection);
  }

  /** For whom texts of a request are tokenised, and until when: `timeoutMs` begins now. */
  textRequest({ cacheSalt, timeoutMs }: ServedRequest, signal: AbortSignal | undefined): TextRequest {
    return { cacheSalt, deadline: deadlineIn(timeoutMs), signal };
  }

  /** Runs `work` with the versions that a selection means now. An aborted signal comes before everything else. */
  async leasing<T>(
    selection: readonly Required<AdapterUse>[],
    { timeoutMs }: ServedRequest,
    signal: AbortSignal | undefined,
    work: (lease: AdapterLease) => Promise<T>,
  ): Promise<T> {
    throwIfAborted(signal, "The request");
    const lease = this.lease(selection);
    try {
      await lease.ready(signal, timeoutMs);
      return await work(lease);
    } finally {
      lease.release();
    }
  }

  /**
   * Submits with the leased versions, which are released when the request ends. `onEvent` must not throw. Returns what cancels it: events
   * follow until the one that says so.
   */
  submit(
    request: EngineRequest,
    lease: LeasedAdapters,
    onEvent: (event: NativeEvent) => void,
    deadline: Deadline | undefined,
  ): () => void {
    this.requireAlive();
    const { engine, router } = this.#parts;
    const id = engine.submit({
      ...request,
      adapters: lease.applied(request.tokens, promptTokensOf(request)),
      timeoutMs: timeLeft(deadline),
    });
    router.add(id, (event) => {
      if (event.finish !== undefined) lease.release();
      onEvent(event);
    });
    return () => engine.cancel(id);
  }

  /** Runs a request to its end; rejects where it is aborted or fails, or with what `onEvent` throws. */
  run(
    request: EngineRequest,
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
      const cancel = this.submit(request, lease, follow, deadline);
      signal?.addEventListener("abort", cancel, { once: true });
    });
  }

  /** What compares logits natively. */
  get logitRooms(): LogitRooms {
    return this.#parts.engine;
  }

  /** Bytes held natively. */
  memory(): ReturnType<NativeEngine["memory"]> {
    this.requireAlive();
    return this.#parts.engine.memory();
  }

  /** What the engine has done since it was loaded, and what it does now. */
  statistics(): ReturnType<NativeEngine["statistics"]> {
    this.requireAlive();
    return this.#parts.engine.statistics();
  }

  /** A hash of all base weights. */
  async checksum(): Promise<bigint> {
    this.requireAlive();
    return this.#parts.engine.checksum();
  }

  /** Ends every request with `aborted` and frees all memory. May be called again. */
  dispose(): Promise<void> {
    this.#disposed ??= (async () => {
      const adapters = this.adapters.dispose();
      await this.#parts.engine.dispose();
      await adapters;
      await this.#parts.text?.dispose();
    })();
    return this.#disposed;
  }
}
