import * as jinja from "@huggingface/jinja";
import { LowrankError } from "../errors/index.js";
import { AddedTokenMatcher, type AddedToken } from "./added-tokens.js";
import { collectStrings, guardCharacters, mapStrings, Marks } from "./content-marks.js";
import { strftime } from "./strftime.js";

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
}

/** A rendered chat, and where it holds characters from outside that could take part in a control token. */
export interface RenderedChat {
  readonly text: string;
  /** UTF-16 offsets, ascending. For `Tokenizer.encodeChat`. */
  readonly foreign: Int32Array;
}

/** Longest rendered text, in UTF-16 units. */
export const MAX_RENDERED_LENGTH = 1 << 24;
/** Most numbers of a `range` in a template. */
const MAX_RANGE = 1 << 20;

/** What is used of @huggingface/jinja; its own typings do not resolve in ES modules. */
interface JinjaLibrary {
  Template: new (source: string) => { readonly parsed: unknown };
  Environment: new () => { set(name: string, value: unknown): void };
  Interpreter: new (environment: unknown) => { run(program: unknown): { value: unknown } };
}
const { Template, Environment, Interpreter } = jinja as unknown as JinjaLibrary;

type Roles = Readonly<Record<string, string>>;

/**
 * A Jinja chat template with the conventions of transformers' `apply_chat_template`: trim_blocks and lstrip_blocks, the variables
 * messages, tools, documents, add_generation_prompt, bos_token, eos_token, …; the functions raise_exception, strftime_now, range and the
 * filter tojson. Rendering is synchronous and a template may loop for ever: templates that came with a model belong in a worker
 * (`TextProcessor`).
 */
export class ChatTemplate {
  readonly #source: string;
  readonly #roles: Roles;
  readonly #controlTokens: readonly string[];
  readonly #guards: readonly string[];
  readonly #matcher: AddedTokenMatcher;
  readonly #program: unknown;

  /**
   * @param source the Jinja template
   * @param roles special tokens by role: bos_token, eos_token, …
   * @param addedTokens those of the tokenizer; its control tokens are what messages must not bring in
   * Throws ERR_CHAT_TEMPLATE where the template cannot be parsed.
   */
  constructor(source: string, roles: Roles = {}, addedTokens: readonly AddedToken[] = []) {
    this.#source = source;
    this.#roles = roles;
    const control = addedTokens.filter((token) => token.special && token.content !== "");
    this.#controlTokens = control.map((token) => token.content);
    this.#guards = guardCharacters(this.#controlTokens);
    this.#matcher = new AddedTokenMatcher(control);
    try {
      this.#program = new Template(source).parsed;
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
    return this.#prepare(messages, options).plain;
  }

  /**
   * The text of a chat, and which of its characters came in with the messages, tools or variables, so that "<|im_end|>" in a user's message
   * stays text. It is rendered twice: once as it is, once with the guard characters of everything from outside marked by private
   * ones. Where both agree, the marks tell. A template that looks into the messages for such a character (for "</think>", say)
   * may render differently; then only the control tokens inside messages are marked, and the result counts if it is the plain
   * one and has the very control tokens of the fully marked one. Otherwise ERR_CHAT_TEMPLATE: nothing is guessed.
   */
  renderMarked(messages: readonly ChatMessage[], options: ChatTemplateOptions = {}): RenderedChat {
    const { plain, marks, strings, draw } = this.#prepare(messages, options);
    const risky = strings.some((text) => this.#guards.some((guard) => text.includes(guard)));
    if (!risky) return { text: plain, foreign: new Int32Array(0) };
    const full = attempt(() => draw((text) => marks.markAll(text)));
    if (full !== null && marks.unmark(full) === plain) return { text: plain, foreign: marks.positions(full) };
    const partly = attempt(() => draw((text) => marks.markTokens(text, this.#controlTokens)));
    if (
      full !== null &&
      partly !== null &&
      marks.unmark(partly) === plain &&
      this.#controlTokensOf(full) === this.#controlTokensOf(partly)
    )
      return { text: plain, foreign: marks.positions(partly) };
    throw new LowrankError(
      "ERR_CHAT_TEMPLATE",
      "Expected messages whose text can be told from the template's own for messages, received control tokens that the template changes or looks for. Remove them from the messages, or pass parseSpecialTokens: true where the messages are trusted.",
    );
  }

  #controlTokensOf(text: string): string {
    return this.#matcher
      .split(text, () => true)
      .map((section) => section.token?.id ?? "")
      .filter((id) => id !== "")
      .join();
  }

  #prepare(messages: readonly ChatMessage[], options: ChatTemplateOptions): Prepared {
    const { addGenerationPrompt = true, tools, documents, variables = {}, now = Date.now() } = options;
    const given = { messages, tools, documents, variables };
    const strings = Object.entries(given).flatMap(([name, value]) => collectStrings(value, name));
    const marks = new Marks(this.#guards, [this.#source, ...Object.values(this.#roles), ...strings]);
    const draw = (map: (text: string) => string): string => {
      const input = mapStrings(given, map) as typeof given;
      return this.#run({
        ...this.#roles,
        ...input.variables,
        messages: input.messages,
        // transformers hands None over where there are none, which templates test for.
        tools: input.tools ?? null,
        documents: input.documents ?? null,
        add_generation_prompt: addGenerationPrompt,
        strftime_now: (format: string) => strftime(new Date(now), String(format)),
      });
    };
    const plain = marks.unmark(draw((text) => marks.hideBom(text)));
    refusePrintedParts(messages, plain);
    return { plain, marks, strings, draw };
  }

  #run(variables: Readonly<Record<string, unknown>>): string {
    const environment = new Environment();
    const globals = new Map<string, unknown>(Object.entries({ ...GLOBALS, ...variables }));
    let text: unknown;
    try {
      for (const [name, value] of globals) environment.set(name, value);
      text = new Interpreter(environment).run(this.#program).value;
    } catch (cause) {
      throw failure(
        "Expected messages that the chat template accepts for messages",
        cause,
        "Change the messages, or pass a chatTemplate of your own.",
      );
    }
    if (typeof text !== "string" || text.length > MAX_RENDERED_LENGTH)
      throw new LowrankError(
        "ERR_CHAT_TEMPLATE",
        `Expected at most ${MAX_RENDERED_LENGTH} characters for the rendered chat, received ${typeof text === "string" ? text.length : typeof text}. Shorten the chat.`,
      );
    return text;
  }
}

interface Prepared {
  readonly plain: string;
  readonly marks: Marks;
  readonly strings: readonly string[];
  readonly draw: (map: (text: string) => string) => string;
}

/** An error that the template itself has raised. */
class RaisedByTemplate extends Error {}

const GLOBALS: Readonly<Record<string, unknown>> = {
  true: true,
  True: true,
  false: false,
  False: false,
  none: null,
  None: null,
  raise_exception: (message: unknown) => {
    throw new RaisedByTemplate(String(message));
  },
  range,
};

/** Python's range, bounded. */
function range(first: number, second?: number, step = 1): number[] {
  const [start, stop] = typeof second === "number" ? [first, second] : [0, first];
  const count = step === 0 ? NaN : Math.ceil((stop - start) / step);
  if (!(count <= MAX_RANGE)) throw new RaisedByTemplate(`range() of more than ${MAX_RANGE} numbers`);
  return Array.from({ length: Math.max(count, 0) }, (_, i) => start + i * step);
}

/**
 * A template for text only, given a list of parts, fails in Python; in JavaScript it would print the list as JSON into the prompt.
 */
function refusePrintedParts(messages: readonly ChatMessage[], text: string): void {
  messages.forEach(({ content }, index) => {
    if (!Array.isArray(content) || content.length === 0) return;
    const parts = content.map(spacedJson);
    if (!text.includes(parts.join(",")) && !text.includes(parts.join(", "))) return;
    throw new LowrankError(
      "ERR_CHAT_TEMPLATE",
      `Expected text for messages[${index}].content, received a list of parts: this chat template takes text only. Pass a string.`,
    );
  });
}

/** JSON with ", " and ": ", as Python and the Jinja library write it. */
function spacedJson(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(spacedJson).join(", ")}]`;
  if (typeof value !== "object" || value === null) return JSON.stringify(value) ?? "null";
  const entries = Object.entries(value).filter(([, element]) => element !== undefined);
  return `{${entries.map(([key, element]) => `${JSON.stringify(key)}: ${spacedJson(element)}`).join(", ")}}`;
}

function attempt(render: () => string): string | null {
  try {
    return render();
  } catch (error) {
    if (LowrankError.isInstance(error) && error.code === "ERR_CHAT_TEMPLATE") return null;
    throw error;
  }
}

function failure(what: string, cause: unknown, remedy: string): LowrankError {
  const reason = cause instanceof Error ? cause.message : String(cause);
  const shown = reason.length > 500 ? `${reason.slice(0, 500)}…` : reason;
  return new LowrankError(
    "ERR_CHAT_TEMPLATE",
    `${what}, received its error: ${shown.replace(/\.?$/, ".")} ${remedy}`,
    { cause, details: { reason: shown } },
  );
}
