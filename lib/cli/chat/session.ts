import { writeFile } from "node:fs/promises";
import { LowrankError } from "../../errors/index.js";
import type { ChatOptions } from "../../generate/index.js";
import type { Model } from "../../model/index.js";
import type { ChatMessage } from "../../tokenizer/index.js";
import { printAnswer } from "../print-answer.js";
import type { Terminal } from "../terminal.js";
import { SLASH_COMMANDS } from "./slash-commands.js";

interface AdapterUse {
  name: string;
  scale: number;
}

export interface ChatStart {
  system: string | undefined;
  adapter: AdapterUse[];
  options: ChatOptions;
}

/** A conversation at the terminal. */
export class ChatSession {
  readonly terminal: Terminal;
  readonly model: Model;
  /** What the next answer runs with. */
  adapter: AdapterUse[];
  readonly options: ChatOptions;
  messages: ChatMessage[];
  readonly #system: ChatMessage[];
  #answering: AbortController | undefined;

  constructor(terminal: Terminal, model: Model, { system, adapter, options }: ChatStart) {
    this.terminal = terminal;
    this.model = model;
    this.adapter = adapter;
    this.options = { ...options };
    this.#system = system === undefined ? [] : [{ role: "system", content: system }];
    this.messages = [...this.#system];
  }

  /** Takes a message or a slash command; false ends the chat. Errors are shown, and the chat goes on. */
  async take(turn: string): Promise<boolean> {
    try {
      if (!turn.startsWith("/")) await this.#message(turn);
      else return await this.#command(turn);
    } catch (error) {
      if (!LowrankError.isInstance(error) && !("syscall" in (error as object))) throw error;
      process.stderr.write(
        `${this.terminal.style("red", "error", process.stderr)} ${(error as Error).message}\n`,
      );
    }
    return true;
  }

  /** Ends the answer that is being written; false where there is none. */
  stop(): boolean {
    if (!this.#answering) return false;
    this.#answering.abort();
    return true;
  }

  /** Forgets the conversation, but for the system message. */
  reset(): void {
    this.messages = [...this.#system];
  }

  /** Answers the conversation as it stands, with these adapters. */
  async answer(adapter: AdapterUse[]): Promise<string> {
    this.#answering = new AbortController();
    try {
      const { signal } = this.#answering;
      const generation = this.model.chat(this.messages, { ...this.options, adapter, signal });
      const result = this.terminal.json
        ? await generation.result()
        : await printAnswer(this.terminal, generation);
      if (this.terminal.json) this.terminal.data({ ...result, adapters: adapter });
      return result.text;
    } catch (error) {
      if (LowrankError.isInstance(error) && error.code === "ERR_ABORTED") return "";
      throw error;
    } finally {
      this.#answering = undefined;
    }
  }

  async save(path: string): Promise<void> {
    const conversation = { model: this.model.name, adapters: this.adapter, messages: this.messages };
    await writeFile(path, `${JSON.stringify(conversation, null, 2)}\n`, { mode: 0o600 });
    this.terminal.note(`Saved ${this.messages.length} messages to ${path}`);
  }

  async #message(content: string): Promise<void> {
    this.messages.push({ role: "user", content });
    try {
      this.messages.push({ role: "assistant", content: await this.answer(this.adapter) });
    } catch (error) {
      // What could not be answered is not part of the conversation.
      this.messages.pop();
      throw error;
    }
  }

  async #command(turn: string): Promise<boolean> {
    const [name, rest = ""] = /^\/(\S*)\s*([^]*)$/.exec(turn)!.slice(1) as [string, string];
    const command = SLASH_COMMANDS.find((one) => one.name === name);
    if (command) return (await command.run(this, rest.trim())) ?? true;
    this.terminal.note(`There is no /${name}. /help lists what there is.`);
    return true;
  }
}
