import { LowrankError } from "../errors/index.js";
import { TemplateFailure } from "./failure.js";
import { InputReader, invalid } from "./input.js";
import type { TemplateLimits } from "./meter.js";
import type { Program } from "./nodes.js";
import { parseTemplate } from "./parser.js";
import { renderTemplate } from "./renderer.js";
import { Str } from "./text.js";
import type { Value } from "./values.js";

/** One message of a chat. Templates may know further fields (`tool_calls`, `reasoning_content`, …): JSON values. */
export interface ChatMessage {
  /** "system", "user", "assistant", "tool", or what the model's template knows. */
  readonly role: string;
  readonly content?: string | null | readonly Readonly<Record<string, unknown>>[];
  readonly [key: string]: unknown;
}

export interface ChatTemplateOptions {
  /** End with the beginning of an answer, so that the model writes one. Default: true. */
  readonly addGenerationPrompt?: boolean | undefined;
  /** Tools as JSON schemas, in the form that the model's template knows. */
  readonly tools?: readonly unknown[] | undefined;
  readonly documents?: readonly unknown[] | undefined;
  /** Further variables of the template, such as `enable_thinking`: JSON values. */
  readonly variables?: Readonly<Record<string, unknown>> | undefined;
  /** What `strftime_now` tells, in milliseconds since 1970. Default: now. */
  readonly now?: number | undefined;
  /** Budgets of the rendering. A template that exceeds one ends in ERR_CHAT_TEMPLATE. */
  readonly limits?: TemplateLimits | undefined;
}

/** A rendered chat, and which of its characters came from outside. */
export interface RenderedChat {
  readonly text: string;
  /** Ascending, disjoint pairs [start, end) of UTF-16 offsets. For `Tokenizer.encodeChat`. */
  readonly foreign: Int32Array;
}

/** Variables that have options of their own. */
const OWN_OPTIONS = ["messages", "tools", "documents", "add_generation_prompt"];

/**
 * A Jinja chat template that renders as transformers' `apply_chat_template` does, to the character, or throws: jinja2 with trim_blocks,
 * lstrip_blocks and loop controls, in its sandbox, on Python's values. Rendering is synchronous and metered: a template or messages
 * that would take more than the budgets of `limits` end in ERR_CHAT_TEMPLATE, after a second at most.
 */
export class ChatTemplate {
  readonly #roles: Readonly<Record<string, string>>;
  readonly #program: Program;

  /**
   * @param source the Jinja template
   * @param roles special tokens by role: bos_token, eos_token, …
   * Throws ERR_CHAT_TEMPLATE where the template cannot be parsed.
   */
  constructor(source: string, roles: Readonly<Record<string, string>> = {}) {
    this.#roles = roles;
    try {
      this.#program = parseTemplate(source);
    } catch (cause) {
      throw failure(
        "Expected a Jinja template that can be parsed for the chat template",
        cause,
        "Pass a chatTemplate of your own.",
      );
    }
  }

  /** The text of a chat. Throws ERR_CHAT_TEMPLATE where the template fails, ERR_INVALID_ARGUMENT for messages that are no JSON. */
  render(messages: readonly ChatMessage[], options: ChatTemplateOptions = {}): string {
    return this.#render(messages, options).text;
  }

  /**
   * The text of a chat, and which of its characters came in with the messages, tools, documents or variables, so that "<|im_end|>" in
   * a user's message stays text. Cutting, joining and replacing keep account of each character; where a change of case or a
   * format mixes them, the whole piece counts as foreign.
   */
  renderMarked(messages: readonly ChatMessage[], options: ChatTemplateOptions = {}): RenderedChat {
    const { text, foreign } = this.#render(messages, options);
    return { text, foreign: Int32Array.from(foreign) };
  }

  #render(messages: readonly ChatMessage[], options: ChatTemplateOptions): Str {
    const {
      addGenerationPrompt = true,
      tools,
      documents,
      variables = {},
      now = Date.now(),
      limits,
    } = options;
    checkObjects("tools", tools);
    checkObjects("documents", documents);
    try {
      return renderTemplate({
        program: this.#program,
        now: new Date(now),
        limits,
        variables: (meter) => {
          const reader = new InputReader(meter);
          const names = new Map<string, Value>();
          for (const [role, token] of Object.entries(this.#roles)) names.set(role, new Str(token));
          for (const [name, value] of Object.entries(variables)) {
            if (OWN_OPTIONS.includes(name))
              throw invalid(
                `no variable of that name: it has an option of its own,`,
                `variables.${name}`,
                "one",
              );
            if (value !== undefined) names.set(name, reader.read(value, `variables.${name}`));
          }
          names.set("messages", reader.messages(messages));
          // transformers hands None over where there are none, which templates test for.
          names.set("tools", reader.read(tools ?? null, "tools"));
          names.set("documents", reader.read(documents ?? null, "documents"));
          names.set("add_generation_prompt", addGenerationPrompt);
          return names;
        },
      });
    } catch (cause) {
      throw failure(
        "Expected messages that the chat template accepts for messages",
        cause,
        "Change the messages, or pass a chatTemplate of your own.",
      );
    }
  }
}

/** transformers takes objects only. */
function checkObjects(name: string, list: readonly unknown[] | undefined): void {
  if (list === undefined || list === null) return;
  if (!Array.isArray(list)) throw invalid("a list", name, typeof list);
  for (const item of list as unknown[])
    if (typeof item !== "object" || item === null || Array.isArray(item))
      throw invalid("a list of objects", name, `one with ${item === null ? "null" : typeof item}`);
}

function failure(what: string, cause: unknown, remedy: string): Error {
  if (LowrankError.isInstance(cause)) return cause;
  const reason =
    cause instanceof RangeError
      ? "it is nested too deeply"
      : cause instanceof Error
        ? cause.message
        : String(cause);
  const shown = reason.length > 500 ? `${reason.slice(0, 500)}…` : reason;
  const budget = cause instanceof TemplateFailure ? cause.budget : undefined;
  return new LowrankError(
    "ERR_CHAT_TEMPLATE",
    `${what}, received its error: ${shown.replace(/\.?$/, ".")} ${remedy}`,
    { cause, details: { reason: shown, ...(budget === undefined ? {} : { budget }) } },
  );
}
