import type { Deadline } from "../errors/deadline.js";
import { expected, LowrankError } from "../errors/index.js";
import type { ChatMessage, ChatTemplateOptions } from "../templates/index.js";
import { readDefinition, writeDefinition } from "./packed-tokenizer.js";
import type { TokenizerSource } from "./text-jobs.js";
import { checkChatSize, checkTextLength, maxUnitsPerToken } from "./text-limits.js";
import { TIMEOUT, type EncodeOptions } from "./text-options.js";
import { MAX_TEXT_LENGTH, Tokenizer } from "./tokenizer.js";
import { chooseTemplate, MAX_TEMPLATE_LENGTH, type TokenizerDefinition } from "./tokenizer-definition.js";
import { WorkerHost, type JobOptions } from "./worker-host.js";

export interface TextJobOptions {
  /** Milliseconds of run time, 1 to 600,000, after which the job fails with ERR_TIMEOUT. Default: 5,000. */
  readonly timeout?: number | undefined;
  readonly signal?: AbortSignal | undefined;
  /** The job fails with ERR_TIMEOUT when it is not done by then, the wait for other jobs included. Default: none. */
  readonly deadline?: Deadline | undefined;
  /** Whose job it is: groups take turns. Default: "". */
  readonly group?: string | undefined;
  /** A text that cannot become so few tokens fails with ERR_CONTEXT_LENGTH before any work. Default: no limit. */
  readonly maxTokens?: number | undefined;
}

export interface ApplyChatTemplateOptions extends ChatTemplateOptions, TextJobOptions {
  /** A Jinja template in place of the model's own. */
  readonly chatTemplate?: string | undefined;
  /** Let control tokens be written in messages: for trusted messages only. Default: false. */
  readonly parseSpecialTokens?: boolean | undefined;
}

export interface CreateOptions {
  /** Milliseconds that reading the tokenizer may take, 1 to 600,000. Default: 60,000. */
  readonly timeout?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}

const BUILD_TIMEOUT = 60_000;
/** Texts up to this length (UTF-16 units) are encoded at once, in 1 to 3 ms, when the tokenizer's patterns are known ones. */
const INLINE_LENGTH = 8_192;
/** Heap of the worker in MB: reading a tokenizer.json of 33 MB takes 400, rendering a chat a few. */
const BUILD_LIMITS = { maxOldGenerationSizeMb: 2_048, stackSizeMb: 4 };
const TEXT_LIMITS = { maxOldGenerationSizeMb: 256, maxYoungGenerationSizeMb: 8, stackSizeMb: 4 };

/**
 * Texts and chats of one model, without blocking the event loop and bounded in time and size: the tokenizer is read in a worker;
 * long texts are encoded, and chat templates rendered, in a worker that can be ended. The tables of the tokenizer lie in shared
 * memory and are there once, however many threads use them. The worker starts with the first job that needs it.
 */
export class TextProcessor {
  /** For short, synchronous work: decoding, single tokens. */
  readonly tokenizer: Tokenizer;
  readonly #worker: WorkerHost;

  readonly #definition: TokenizerDefinition;
  #unitsPerToken: number | undefined;

  private constructor(definition: TokenizerDefinition) {
    this.#definition = definition;
    this.tokenizer = new Tokenizer(definition);
    this.#worker = new WorkerHost(definition, TEXT_LIMITS);
  }

  /** Reads a tokenizer in a worker of its own. Rejects with ERR_TOKENIZER, ERR_TIMEOUT, ERR_ABORTED, ERR_OUT_OF_MEMORY. */
  static async create(source: TokenizerSource, options: CreateOptions = {}): Promise<TextProcessor> {
    const timeout = TIMEOUT.check("timeout", options.timeout ?? BUILD_TIMEOUT, undefined);
    const builder = new WorkerHost(null, BUILD_LIMITS);
    try {
      const definition = await builder.run(
        { kind: "build", source: withoutRest(source) },
        { timeout, signal: options.signal },
      );
      return new TextProcessor(definition);
    } finally {
      await builder.dispose();
    }
  }

  /** What {@link save} wrote to `path`; null where there is nothing of use. */
  static async restore(path: string): Promise<TextProcessor | null> {
    const definition = await readDefinition(path);
    return definition && new TextProcessor(definition);
  }

  /** Writes the tokenizer's tables to `path`, for {@link restore}. Rejects with what the file system says. */
  save(path: string): Promise<void> {
    return writeDefinition(path, this.#definition);
  }

  /** Starts the worker now, so that the first chat need not wait about 50 ms for it. */
  warmUp(): void {
    this.#worker.start();
  }

  /**
   * Token ids of a text. Control tokens are parsed only if asked for. Rejects with ERR_INVALID_ARGUMENT for what is no text of at most
   * 16,777,216 UTF-16 units, ERR_TIMEOUT, ERR_ABORTED, ERR_OUT_OF_MEMORY, ERR_DISPOSED.
   */
  async encode(text: string, options: EncodeOptions & TextJobOptions = {}): Promise<Int32Array> {
    const { addSpecialTokens, parseSpecialTokens, signal } = options;
    const run = runOptions(options);
    if (typeof text !== "string" || text.length > MAX_TEXT_LENGTH)
      throw expected(`a string of at most ${MAX_TEXT_LENGTH} UTF-16 units`, "text", text);
    checkTextLength(text.length, this.#maxLength(options.maxTokens), "text");
    const encodeOptions = { addSpecialTokens, parseSpecialTokens };
    if (text.length > INLINE_LENGTH || !this.tokenizer.trusted)
      return this.#worker.run({ kind: "encode", text, options: encodeOptions }, run);
    if (signal?.aborted)
      throw new LowrankError("ERR_ABORTED", "Expected no abort for encode, received one by the signal.", {
        cause: signal.reason,
      });
    return this.tokenizer.encode(text, encodeOptions);
  }

  /**
   * Token ids of a chat, by the model's own template or another. Text of messages never becomes a control token, unless
   * `parseSpecialTokens` says so. Rejects with ERR_CHAT_TEMPLATE where there is no template, or it fails, or refuses the messages;
   * else as `encode` does.
   */
  async applyChatTemplate(
    messages: readonly ChatMessage[],
    options: ApplyChatTemplateOptions = {},
  ): Promise<Int32Array> {
    const { job, run } = this.#chatJob(messages, options);
    return this.#worker.run({ kind: "chat", ...job }, run);
  }

  /** The text of a chat by the template. Rejects as `applyChatTemplate` does. */
  async renderChatTemplate(
    messages: readonly ChatMessage[],
    options: ApplyChatTemplateOptions = {},
  ): Promise<string> {
    const { job, run } = this.#chatJob(messages, options);
    return this.#worker.run({ kind: "render", ...job }, run);
  }

  #chatJob(messages: readonly ChatMessage[], options: ApplyChatTemplateOptions) {
    const { chatTemplate, parseSpecialTokens = false, maxTokens } = options;
    const { addGenerationPrompt, tools, documents, variables, now, limits } = options;
    checkMessages(messages);
    checkChatSize({ messages, tools, documents, variables }, this.#maxLength(maxTokens));
    if (
      chatTemplate !== undefined &&
      (typeof chatTemplate !== "string" || chatTemplate.length > MAX_TEMPLATE_LENGTH)
    )
      throw expected(`a text of at most ${MAX_TEMPLATE_LENGTH} characters`, "chatTemplate", chatTemplate);
    const template = chatTemplate ?? chooseTemplate(this.#definition, tools);
    if (template === null)
      throw new LowrankError(
        "ERR_CHAT_TEMPLATE",
        "Expected a chat template for the model, received none: its files bring none along. Pass chatTemplate, or write the prompt yourself and use generate.",
      );
    const templateOptions = { addGenerationPrompt, tools, documents, variables, now, limits };
    const job = { template, messages, options: templateOptions, parseSpecialTokens };
    return { job, run: runOptions(options) };
  }

  #maxLength(maxTokens: number | undefined): number {
    return maxTokens === undefined
      ? MAX_TEXT_LENGTH
      : maxTokens * (this.#unitsPerToken ??= maxUnitsPerToken(this.#definition));
  }

  /** Ends the worker. Jobs that are not done fail with ERR_DISPOSED; the synchronous tokenizer stays usable. */
  dispose(): Promise<void> {
    return this.#worker.dispose();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.dispose();
  }
}

/** Sends the worker only what makes a tokenizer: a GGUF file's metadata may hold more. */
function withoutRest(source: TokenizerSource): TokenizerSource {
  if (source.kind !== "gguf") return source;
  if (typeof source.metadata !== "object" || source.metadata === null)
    throw expected("the key-values of a GGUF file", "metadata", source.metadata);
  const metadata = Object.fromEntries(
    Object.entries(source.metadata).filter(([key]) => key.startsWith("tokenizer.")),
  );
  return { kind: "gguf", metadata };
}

function runOptions({ timeout, signal, deadline, group }: TextJobOptions): JobOptions {
  return { timeout: TIMEOUT.check("timeout", timeout, undefined), signal, deadline, group };
}

function checkMessages(messages: readonly ChatMessage[]): void {
  if (!Array.isArray(messages) || messages.length === 0)
    throw expected("a list of at least one message", "messages", messages);
  (messages as unknown[]).forEach((message, index) => {
    const { role, content } = (
      typeof message === "object" && message !== null ? message : {}
    ) as Partial<ChatMessage>;
    if (typeof role !== "string") throw expected("a string", `messages[${index}].role`, role);
    if (content !== undefined && content !== null && typeof content !== "string" && !Array.isArray(content))
      throw expected("a string or a list of parts", `messages[${index}].content`, content);
  });
}
