import { expected } from "../../errors/index.js";
import { adapterNameOf } from "../open-model.js";
import type { ChatSession } from "./session.js";

interface SlashCommand {
  readonly name: string;
  readonly argument: string;
  readonly says: string;
  /** false ends the chat. */
  readonly run: (session: ChatSession, argument: string) => Promise<boolean | void> | boolean | void;
}

/** An adapter that is loaded already, or one on disk. */
async function adapterOf(session: ChatSession, given: string): Promise<string> {
  const { adapters } = session.model;
  if (adapters.list().some(({ name }) => name === given)) return given;
  const name = adapterNameOf(given);
  await adapters.load(name, given);
  return name;
}

function numberOf(argument: string, name: string): number {
  const value = Number(argument);
  if (argument === "" || Number.isNaN(value)) throw expected("a number", name, argument);
  return value;
}

const texts = (session: ChatSession): string =>
  session.adapter.length === 0
    ? "the base model alone"
    : session.adapter.map(({ name, scale }) => `${name} at ${scale}`).join(", ");

export const SLASH_COMMANDS: readonly SlashCommand[] = [
  {
    name: "help",
    argument: "",
    says: "this list",
    run: ({ terminal }) =>
      terminal.note(
        `${SLASH_COMMANDS.map(({ name, argument, says }) => `  ${`/${name} ${argument}`.padEnd(22)} ${says}`).join("\n")}\n` +
          '  Several lines: end each with \\, or put them between """ and """. Ctrl-C stops an answer.',
      ),
  },
  {
    name: "adapter",
    argument: "[NAME or PATH]",
    says: "answer with this adapter; without one, the base model alone",
    run: async (session, argument) => {
      session.adapter = argument === "" ? [] : [{ name: await adapterOf(session, argument), scale: 1 }];
      session.terminal.note(`Now: ${texts(session)}`);
    },
  },
  {
    name: "scale",
    argument: "N",
    says: "scale of the adapters; 0 takes their effect away",
    run: (session, argument) => {
      const scale = numberOf(argument, "/scale");
      session.adapter = session.adapter.map(({ name }) => ({ name, scale }));
      session.terminal.note(`Now: ${texts(session)}`);
    },
  },
  {
    name: "compare",
    argument: "",
    says: "answer the last message again, with and without the adapters",
    run: async (session) => {
      const { messages, terminal, adapter } = session;
      const last = messages.at(-1)?.role === "assistant" ? messages.pop() : undefined;
      try {
        for (const [title, used] of [
          ["The base model alone", []],
          [texts(session), adapter],
        ] as const) {
          terminal.note(terminal.style("bold", `--- ${title}`, process.stderr));
          await session.answer([...used]);
        }
      } finally {
        if (last) messages.push(last);
      }
    },
  },
  {
    name: "seed",
    argument: "N",
    says: "the same seed gives the same answer",
    run: (session, argument) => {
      session.options.seed = numberOf(argument, "/seed");
    },
  },
  {
    name: "temperature",
    argument: "N",
    says: "0 takes the most likely token each time",
    run: (session, argument) => {
      session.options.temperature = numberOf(argument, "/temperature");
    },
  },
  {
    name: "reset",
    argument: "",
    says: "forget the conversation",
    run: (session) => session.reset(),
  },
  {
    name: "save",
    argument: "FILE",
    says: "write the conversation as JSON",
    run: async (session, argument) => {
      if (argument === "") throw expected("a file's name", "/save", argument);
      await session.save(argument);
    },
  },
  { name: "exit", argument: "", says: "end the chat", run: () => false },
];
