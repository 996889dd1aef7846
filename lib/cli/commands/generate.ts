import type { Command } from "commander";
import { expected } from "../../errors/index.js";
import { GENERATE, CHAT, type Generation, type GenerateOptions } from "../../generate/index.js";
import type { Context, Runner } from "../context.js";
import { addFlags, readFlags } from "../flags.js";
import { textArgument } from "../input.js";
import { addModelFlags, openModel, SERVED_OPTIONS } from "../open-model.js";
import { answerFacts, printAnswer } from "../print-answer.js";

/** Flags of its own stand for these. */
const OWN = ["adapter", "template"];

async function generate(context: Context, command: Command, given?: string): Promise<void> {
  const { chat, system } = command.opts<{ chat?: true; system?: string }>();
  const prompt = await textArgument(given, "prompt");
  await using opened = await openModel(context, command);
  const { model, adapter } = opened;
  const { signal, terminal } = context;
  const asked = { ...readFlags(command, GENERATE), adapter, signal } as GenerateOptions;
  const generation: Generation =
    chat || system !== undefined
      ? model.chat(
          [
            ...(system === undefined ? [] : [{ role: "system", content: system }]),
            { role: "user", content: prompt },
          ],
          chatOptions(asked),
        )
      : model.generate(prompt, asked);
  if (terminal.json) return terminal.data(answerFacts(await generation.result(), model.name, adapter));
  await printAnswer(terminal, generation);
}

/** A template brings its own special tokens. */
function chatOptions(options: GenerateOptions): GenerateOptions {
  const { addSpecialTokens, ...others } = options;
  if (addSpecialTokens !== undefined)
    throw expected(
      "no value",
      "addSpecialTokens",
      addSpecialTokens,
      "A chat template has its own special tokens.",
    );
  return others;
}

export function configure(command: Command, run: Runner): void {
  command
    .argument("[prompt]", "The text; - or nothing: what standard input holds.")
    .option("--chat", "Put the prompt into the model's chat template, as a user's message.")
    .option("--system <text>", "A system message before it; implies --chat.")
    .addHelpText("after", `\nExample:\n  lowrank generate --chat "Why is the sky blue?" --max-tokens 60`);
  addModelFlags(command, { adapters: true });
  addFlags(command, { ...CHAT, ...GENERATE }, [...OWN, ...SERVED_OPTIONS]);
  command.action(run(generate));
}
