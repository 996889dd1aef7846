import type { Command } from "commander";
import { SCORE, type ScoreOptions } from "../../generate/index.js";
import type { Context, Runner } from "../context.js";
import { addFlags, readFlags } from "../flags.js";
import { textArgument } from "../input.js";
import { addModelFlags, openModel, SERVED_OPTIONS } from "../open-model.js";

async function score(context: Context, command: Command, prompt: string, given?: string): Promise<void> {
  const { terminal, signal } = context;
  const completion = await textArgument(given, "completion");
  await using opened = await openModel(context, command);
  const { model, adapter } = opened;
  const options = { ...readFlags(command, SCORE), adapter, signal } as ScoreOptions;
  const result = await model.score(prompt, completion, options);
  if (terminal.json) return terminal.data({ model: model.name, adapters: adapter, ...result });
  terminal.table([
    ["token", "log-probability", "entropy"],
    ...result.tokens.map(({ token, logprob, entropy }) => [
      JSON.stringify(token),
      logprob.toFixed(4),
      entropy.toFixed(4),
    ]),
  ]);
  terminal.line(`sum ${result.logprob.toFixed(4)}, perplexity ${result.perplexity.toFixed(4)}`);
}

export function configure(command: Command, run: Runner): void {
  command
    .argument("<prompt>", "What comes before.")
    .argument("[completion]", "What is scored; - or nothing: what standard input holds.")
    .addHelpText("after", `\nExample:\n  lowrank score "The capital of France is" " Paris"`);
  addModelFlags(command, { adapters: true });
  addFlags(command, SCORE, ["adapter", ...SERVED_OPTIONS]);
  command.action(run(score));
}
