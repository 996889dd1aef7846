import type { Command } from "commander";
import { ENCODING } from "../../tokenizer/index.js";
import type { Context, Runner } from "../context.js";
import { addFlags, readFlags } from "../flags.js";
import { textArgument } from "../input.js";
import { addModelFlags, openModel } from "../open-model.js";

async function tokenize(context: Context, command: Command, given?: string): Promise<void> {
  const { terminal } = context;
  const text = await textArgument(given, "text");
  await using opened = await openModel(context, command);
  const { model } = opened;
  const ids = await model.tokenize(text, readFlags(command, ENCODING));
  const tokens = Array.from(ids, (id) => ({
    id,
    token: model.detokenize([id], { skipSpecialTokens: false }),
  }));
  if (terminal.json) return terminal.data({ model: model.name, tokens });
  for (const { id, token } of tokens) terminal.line(`${String(id).padStart(7)}  ${JSON.stringify(token)}`);
  terminal.note(`${tokens.length} tokens`);
}

export function configure(command: Command, run: Runner): void {
  command.argument("[text]", "The text; - or nothing: what standard input holds.");
  addModelFlags(command, { adapters: false });
  addFlags(command, ENCODING);
  command.action(run(tokenize));
}
