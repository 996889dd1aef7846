import type { EngineClient } from "../client/index.js";
import { coded, LowrankError, type ErrorCode } from "../errors/index.js";
import type { NativeEvent } from "../native/types.js";
import { StopStringMatcher, StreamingDetokenizer, type Tokenizer } from "../tokenizer/index.js";
import type { CheckedAnswerOptions } from "./options.js";
import type { FinishReason, GenerationPart, GenerationResult, TokenLogprob } from "./result.js";
import { startGeneration, type Tokenise } from "./start-generation.js";
import { tokenLogprobs } from "./token-logprobs.js";

/**
 * A generation under way. It starts at once. Iterate over it for the parts as they come, or await `result()`; both may be done, in any
 * order. Leaving the loop early aborts it.
 */
export class Generation implements AsyncIterable<GenerationPart> {
  readonly #options: CheckedAnswerOptions;
  readonly #tokenizer: Tokenizer | null;
  readonly #detokenizer: StreamingDetokenizer | null;
  readonly #stops: StopStringMatcher | null;
  readonly #done: Promise<GenerationResult>;
  #settle!: { resolve: (result: GenerationResult) => void; reject: (error: unknown) => void };
  #cancel: (() => void) | undefined;
  #endTokens: ReadonlySet<number> = new Set();
  readonly #ending = new AbortController();
  #finished = false;
  #error: unknown;
  #text = "";
  #tokens: number[] = [];
  #completionTokens = 0;
  #logprobs: TokenLogprob[] = [];
  #finishReason: FinishReason | undefined;
  /** Parts that no reader has taken yet; only kept while a loop may still come for them. */
  #parts: GenerationPart[] = [];
  #reader: (() => void) | undefined;
  #iterated = false;

  /** @internal Use `model.generate` or `model.chat`. */
  constructor(client: EngineClient, options: CheckedAnswerOptions, tokenise: Tokenise) {
    this.#options = options;
    this.#tokenizer = client.tokenizer;
    this.#detokenizer = client.tokenizer
      ? new StreamingDetokenizer(client.tokenizer, { skipSpecialTokens: options.skipSpecialTokens })
      : null;
    this.#stops = options.stop.length > 0 ? new StopStringMatcher(options.stop) : null;
    this.#done = new Promise((resolve, reject) => (this.#settle = { resolve, reject }));
    // A failure reaches whoever awaits result() or iterates; if nobody does, it must not end the process.
    this.#done.catch(() => {});
    void this.#start(client, tokenise);
  }

  async #start(client: EngineClient, tokenise: Tokenise): Promise<void> {
    const { signal } = this.#options;
    try {
      if (signal?.aborted) return this.#finish("aborted");
      signal?.addEventListener("abort", this.#abort, { once: true });
      const { cancel, endTokens } = await startGeneration(
        client,
        this.#options,
        tokenise,
        (event) => this.#accept(event),
        this.#ending.signal,
      );
      this.#endTokens = endTokens;
      this.#cancel = cancel;
      if (this.#ending.signal.aborted) cancel();
    } catch (error) {
      // The model may be disposed before the request reaches the engine, which then ends it just as it ends all others.
      const ended =
        this.#ending.signal.aborted || (LowrankError.isInstance(error) && error.code === "ERR_DISPOSED");
      if (ended) this.#finish("aborted");
      else this.#fail(coded(error));
    }
  }

  readonly #abort = (): void => {
    if (this.#finished || this.#ending.signal.aborted) return;
    this.#ending.abort();
    this.#cancel?.();
  };

  /** Ends the generation at the next step; `result()` then tells what was generated so far. */
  abort(): void {
    this.#abort();
  }

  /** Nothing that goes wrong with one request's text may reach the events of the others. */
  #accept(event: NativeEvent): void {
    if (this.#finished) return;
    try {
      this.#follow(event);
    } catch (error) {
      this.#fail(coded(error));
      this.#cancel?.();
    }
  }

  #follow(event: NativeEvent): void {
    if (event.tokens && this.#finishReason === undefined) this.#acceptTokens(event);
    if (event.finish === undefined) return;
    if (event.finish === "error") {
      const { code, message } = event.error ?? { code: "ERR_INTERNAL", message: "the engine failed" };
      return this.#fail(new LowrankError(code as ErrorCode, message));
    }
    this.#finish(this.#finishReason ?? (event.finish as FinishReason), event.timings);
  }

  #acceptTokens(event: NativeEvent): void {
    const ids = Array.from(event.tokens!);
    let counted = ids.length;
    // The token that ended the generation is no part of the answer.
    if (event.finish === "stop" && this.#endTokens.has(ids.at(-1)!)) ids.pop();
    let text = "";
    for (let i = 0; i < ids.length; i++) {
      const piece = this.#detokenizer?.push(ids[i]!) ?? "";
      text += this.#stops ? this.#matchStops(piece) : piece;
      // A step may bring several tokens: those behind a stop text are as if they had never been drawn.
      if (this.#finishReason !== undefined) ids.length = counted = i + 1;
    }
    const part: GenerationPart = { text, tokens: ids };
    this.#completionTokens += counted;
    if (event.logprobs) {
      part.logprobs = tokenLogprobs(event, this.#tokenizer, this.#options.logprobs).slice(0, ids.length);
      this.#logprobs.push(...part.logprobs);
    }
    this.#tokens.push(...ids);
    this.#push(part);
  }

  #matchStops(text: string): string {
    const matched = this.#stops!.push(text);
    if (matched.stop !== null && this.#finishReason === undefined) {
      this.#finishReason = "stop";
      this.#cancel?.();
    }
    return matched.text;
  }

  #push(part: GenerationPart): void {
    if (part.text === "" && part.tokens.length === 0) return;
    this.#text += part.text;
    this.#parts.push(part);
    this.#wake();
  }

  #finish(reason: FinishReason, timings?: NativeEvent["timings"]): void {
    if (this.#finished) return;
    const stopped = this.#finishReason === "stop" && this.#stops !== null;
    if (!stopped) {
      // Bytes of a character that more tokens would have completed are left out; before an end token they are faulty ones.
      const rest = (reason === "stop" && this.#detokenizer?.flush()) || "";
      const text = this.#stops ? this.#matchStops(rest) + this.#stops.flush() : rest;
      this.#push({ text, tokens: [] });
    }
    this.#finished = true;
    this.#options.signal?.removeEventListener("abort", this.#abort);
    const perSecond = (count: number, ms: number): number => (ms > 0 && count > 0 ? (count * 1000) / ms : 0);
    const generated = timings?.generatedTokens ?? 0;
    this.#finishReason = this.#finishReason ?? reason;
    this.#settle.resolve({
      text: this.#text,
      tokens: Int32Array.from(this.#tokens),
      finishReason: this.#finishReason,
      usage: {
        promptTokens: timings?.promptTokens ?? 0,
        completionTokens: this.#completionTokens,
        draftedTokens: timings?.draftedTokens ?? 0,
        cachedTokens: timings?.cachedTokens ?? 0,
        acceptedTokens: timings?.acceptedTokens ?? 0,
      },
      timings: {
        queuedMs: timings?.queuedMs ?? 0,
        prefillMs: timings?.prefillMs ?? 0,
        decodeMs: timings?.decodeMs ?? 0,
        prefillTokensPerSecond: perSecond(timings?.promptTokens ?? 0, timings?.prefillMs ?? 0),
        decodeTokensPerSecond: perSecond(generated - 1, timings?.decodeMs ?? 0),
      },
      seed: this.#options.sampling.seed,
      ...(this.#options.logprobs >= 0 ? { logprobs: this.#logprobs } : {}),
    });
    this.#wake();
  }

  #fail(error: unknown): void {
    if (this.#finished) return;
    this.#finished = true;
    this.#error = error;
    this.#options.signal?.removeEventListener("abort", this.#abort);
    this.#settle.reject(error);
    this.#wake();
  }

  #wake(): void {
    const reader = this.#reader;
    this.#reader = undefined;
    reader?.();
  }

  /** The whole answer, once it is there. Rejects with a LowrankError where the request could not be served. */
  result(): Promise<GenerationResult> {
    return this.#done;
  }

  /** Parts as they come. One loop only. Throws ERR_ABORTED where the signal ended it. */
  async *[Symbol.asyncIterator](): AsyncGenerator<GenerationPart, void, undefined> {
    if (this.#iterated)
      throw new LowrankError(
        "ERR_INVALID_ARGUMENT",
        "Expected one loop over a generation, this is the second.",
      );
    this.#iterated = true;
    try {
      for (;;) {
        const part = this.#parts.shift();
        if (part) {
          yield part;
          continue;
        }
        if (this.#error !== undefined) throw this.#error;
        if (this.#finished) break;
        await new Promise<void>((resolve) => (this.#reader = resolve));
      }
      if (this.#options.signal?.aborted && this.#finishReason === "aborted")
        throw new LowrankError("ERR_ABORTED", "The generation was aborted.", {
          cause: this.#options.signal.reason,
        });
    } finally {
      this.#abort();
    }
  }
}
