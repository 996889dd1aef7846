import { writeFile } from "node:fs/promises";
import type { Command } from "commander";
import {
  COMPARE,
  type ComparePrompt,
  type CompareOptions,
  type CompareVariant,
} from "../../compare/index.js";
import { expected } from "../../errors/index.js";
import type { Context, Runner } from "../context.js";
import { addFlags, readFlags } from "../flags.js";
import { readTextFile } from "../input.js";
import { addModelFlags, openModel, SERVED_OPTIONS } from "../open-model.js";

/** One prompt a line: a text, or JSON with "prompt" or "messages", and "completion" where there is one. */
async function readPrompts(path: string): Promise<ComparePrompt[]> {
  const lines = (await readTextFile(path)).split(/\r?\n/).filter((line) => line.trim() !== "");
  return lines.map((line, i) => {
    if (!/^\s*\{/.test(line)) return line;
    try {
      return JSON.parse(line) as ComparePrompt;
    } catch (error) {
      throw expected("a text or JSON", `line ${i + 1} of ${path}`, line, (error as Error).message);
    }
  });
}

async function compare(context: Context, command: Command, given: string[]): Promise<void> {
  const { terminal, signal } = context;
  const { prompts: file, out } = command.opts<{ prompts?: string; out: string }>();
  const prompts = file === undefined ? given : [...given, ...(await readPrompts(file))];
  if (prompts.length === 0)
    throw expected(
      "at least one prompt",
      "the prompts",
      undefined,
      "Write them behind the command, or name a file: --prompts.",
    );
  await using opened = await openModel(context, command);
  const { model, adapter } = opened;
  const variants: CompareVariant[] = [null, ...adapter.map((one) => [one])];
  const options = { ...readFlags(command, COMPARE), signal } as CompareOptions;
  const comparison = await model.compare(prompts, variants, options);
  await writeFile(out, comparison.toHtml());
  if (terminal.json) return terminal.data(comparison);
  terminal.table([
    ["variant", "perplexity", "KL", "log-probability gained", "same top token"],
    ...comparison.summary.map((one) => [
      one.label,
      one.perplexity.toFixed(3),
      ...[one.meanKl, one.meanLogprobDifference, one.top1Agreement].map(({ value }) => value.toFixed(4)),
    ]),
  ]);
  terminal.note(`The page: ${out}`);
}

export function configure(command: Command, run: Runner): void {
  command
    .argument("[prompts...]", "Texts that the variants are compared on.")
    .option(
      "--prompts <file>",
      "More of them, one a line: texts or JSON with prompt or messages, and completion.",
    )
    .option("-o, --out <file>", "Where the page goes.", "comparison.html")
    .addHelpText(
      "after",
      "\nThe base model is compared with each --adapter. Example:\n" +
        '  lowrank compare "The pump is broken." --adapter a --adapter b@0.5 --generations',
    );
  addModelFlags(command, { adapters: true });
  addFlags(command, COMPARE, SERVED_OPTIONS);
  command.action(run(compare));
}
