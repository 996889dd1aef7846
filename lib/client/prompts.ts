import { checkTokens } from "../errors/check.js";
import type { Deadline } from "../errors/deadline.js";
import { expected, LowrankError } from "../errors/index.js";
import type { ModelFacts } from "../native/types.js";
import type { ChatMessage, TextProcessor, Tokenizer } from "../tokenizer/index.js";
import { Slices } from "./slices.js";
import type { TemplateOptions } from "./template-options.js";

/** Text, or token ids as they are (then nothing is added in front). */
export type Prompt = string | { tokens: ArrayLike<number> };

/** A prompt that was checked: text, or token ids. */
export type CheckedPrompt = string | Int32Array;

/** For whom a text is tokenised, and until when. */
export interface TextRequest {
  /** Requests of different salts take turns. */
  readonly cacheSalt: string;
  readonly deadline: Deadline | undefined;
  readonly signal: AbortSignal | undefined;
}

export interface TextEncoding {
  readonly addSpecialTokens: boolean;
  readonly parseSpecialTokens: boolean;
}

/** The prompts of one model: from text, chats or ids to what fits its context. */
export class Prompts {
  readonly #text: TextProcessor | null;
  readonly #facts: Pick<ModelFacts, "vocabularySize" | "contextLength">;

  /** @param text null where the model came without a tokenizer */
  constructor(text: TextProcessor | null, facts: Pick<ModelFacts, "vocabularySize" | "contextLength">) {
    this.#text = text;
    this.#facts = facts;
  }

  get tokenizer(): Tokenizer | null {
    return this.#text?.tokenizer ?? null;
  }

  /** Throws ERR_TOKENIZER where there is none. */
  get text(): TextProcessor {
    if (this.#text !== null) return this.#text;
    throw new LowrankError(
      "ERR_TOKENIZER",
      "Expected a tokenizer beside the model, there is none. Pass token ids as { tokens }, or put tokenizer.json into the model's folder.",
    );
  }

  /** Throws ERR_INVALID_ARGUMENT, ERR_CONTEXT_LENGTH for more ids than a context holds, ERR_TOKENIZER for text without a tokenizer. */
  check(prompt: Prompt, name = "prompt"): CheckedPrompt {
    if (typeof prompt === "string") {
      void this.text;
      return prompt;
    }
    if (typeof prompt !== "object" || prompt === null || !("tokens" in prompt))
      throw expected("a string or { tokens }", name, prompt);
    return this.checkTokens(`${name}.tokens`, prompt.tokens);
  }

  /** Token ids of at most one context. */
  checkTokens(name: string, tokens: ArrayLike<number>): Int32Array {
    const { vocabularySize, contextLength } = this.#facts;
    return checkTokens(name, tokens, vocabularySize, contextLength);
  }

  /** Rejects as `TextProcessor.encode` does. */
  async tokens(prompt: CheckedPrompt, encoding: TextEncoding, request: TextRequest): Promise<Int32Array> {
    if (typeof prompt !== "string") return prompt;
    const { addSpecialTokens, parseSpecialTokens } = encoding;
    return this.text.encode(prompt, { addSpecialTokens, parseSpecialTokens, ...this.#job(request) });
  }

  /** Token ids of each text by itself, as of a completion. Rejects as `tokens` does, and with ERR_INVALID_ARGUMENT for a text of none. */
  async textsTokens(texts: readonly string[], name: string, request: TextRequest): Promise<Int32Array[]> {
    const slices = new Slices(request.signal, "The request");
    const encoding = { addSpecialTokens: false, parseSpecialTokens: false };
    const all: Int32Array[] = [];
    for (const [i, text] of texts.entries()) {
      const tokens = await this.tokens(text, encoding, request);
      if (tokens.length === 0) throw expected("at least one token", `${name}[${i}]`, text);
      all.push(tokens);
      await slices.pause();
    }
    return all;
  }

  /** Rejects as `TextProcessor.applyChatTemplate` does. */
  async chatTokens(
    messages: readonly ChatMessage[],
    template: TemplateOptions,
    request: TextRequest,
  ): Promise<Int32Array> {
    return this.text.applyChatTemplate(messages, { ...template, ...this.#job(request) });
  }

  #job({ cacheSalt, deadline, signal }: TextRequest) {
    return { group: cacheSalt, deadline, signal, maxTokens: this.#facts.contextLength };
  }
}
