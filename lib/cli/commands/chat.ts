import type { Command } from "commander";
import { CHAT, type ChatOptions } from "../../generate/index.js";
import { ChatSession } from "../chat/session.js";
import { readTurns } from "../chat/turns.js";
import type { Context, Runner } from "../context.js";
import { addFlags, readFlags } from "../flags.js";
import { addModelFlags, openModel, SERVED_OPTIONS } from "../open-model.js";

async function chat(context: Context, command: Command): Promise<void> {
  const { system } = command.opts<{ system?: string }>();
  await using opened = await openModel(context, command);
  const { model, adapter } = opened;
  const options = readFlags(command, CHAT) as ChatOptions;
  const session = new ChatSession(context.terminal, model, { system, adapter, options });
  if (process.stdin.isTTY) context.terminal.note("/help lists what there is beside messages; Ctrl-D ends.");
  for await (const turn of readTurns(context.signal, () => session.stop()))
    if (!(await session.take(turn))) break;
}

export function configure(command: Command, run: Runner): void {
  command
    .option("--system <text>", "A system message.")
    .addHelpText(
      "after",
      "\nOn a terminal, /help lists what there is beside messages. From a pipe, each line is a message.",
    );
  addModelFlags(command, { adapters: true });
  addFlags(command, CHAT, ["adapter", "template", ...SERVED_OPTIONS]);
  command.action(run(chat));
}
