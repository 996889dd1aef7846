import { ChatTemplate, type ChatMessage, type ChatTemplateOptions } from "../templates/index.js";
import { definitionFromGguf } from "./from-gguf.js";
import type { GgufMetadata } from "./gguf-vocabulary.js";
import { definitionFromFiles, type TokenizerFiles } from "./from-tokenizer-json.js";
import type { EncodeOptions } from "./text-options.js";
import { Tokenizer } from "./tokenizer.js";
import type { TokenizerDefinition } from "./tokenizer-definition.js";

/** Where a tokenizer comes from. */
export type TokenizerSource =
  | { readonly kind: "gguf"; readonly metadata: GgufMetadata }
  | { readonly kind: "files"; readonly files: TokenizerFiles };

/** What a text worker can be asked for. Everything in it survives a structured clone. */
export type TextJob =
  | { readonly kind: "build"; readonly source: TokenizerSource }
  | { readonly kind: "encode"; readonly text: string; readonly options: EncodeOptions }
  | {
      readonly kind: "render" | "chat";
      readonly template: string;
      readonly messages: readonly ChatMessage[];
      readonly options: ChatTemplateOptions;
      readonly parseSpecialTokens: boolean;
    };

/** The result of each kind of job. */
export interface TextResults {
  readonly build: TokenizerDefinition;
  readonly encode: Int32Array;
  readonly render: string;
  readonly chat: Int32Array;
}

/** Does the jobs of one worker, one after another. */
export class TextJobRunner {
  readonly #definition: TokenizerDefinition | null;
  #tokenizer: Tokenizer | null = null;
  #template: { source: string; compiled: ChatTemplate } | null = null;

  constructor(definition: TokenizerDefinition | null) {
    this.#definition = definition;
  }

  run(job: TextJob): TextResults[TextJob["kind"]] {
    switch (job.kind) {
      case "build":
        return job.source.kind === "gguf"
          ? definitionFromGguf(job.source.metadata)
          : definitionFromFiles(job.source.files);
      case "encode":
        return this.#own().encode(job.text, job.options);
      case "render":
        return this.#compiled(job.template).render(job.messages, job.options);
      case "chat": {
        const template = this.#compiled(job.template);
        if (job.parseSpecialTokens)
          return this.#own().encode(template.render(job.messages, job.options), {
            addSpecialTokens: false,
            parseSpecialTokens: true,
          });
        const { text, foreign } = template.renderMarked(job.messages, job.options);
        return this.#own().encodeChat(text, foreign);
      }
    }
  }

  #own(): Tokenizer {
    return (this.#tokenizer ??= new Tokenizer(this.#definition!));
  }

  #compiled(source: string): ChatTemplate {
    if (this.#template?.source !== source) {
      this.#template = { source, compiled: new ChatTemplate(source, this.#definition?.specialTokens) };
    }
    return this.#template.compiled;
  }
}
