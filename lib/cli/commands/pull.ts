import { stat } from "node:fs/promises";
import type { Command } from "commander";
import { resolveModel, SOURCE } from "../../model/index.js";
import type { Context, Runner } from "../context.js";
import { addFlags, readFlags } from "../flags.js";
import { byteText } from "../terminal.js";

async function pull({ terminal, signal }: Context, command: Command, name: string): Promise<void> {
  const bars = await terminal.progress();
  try {
    const model = await resolveModel(name, {
      ...readFlags(command, SOURCE),
      onProgress: (progress) => {
        if (progress.stage === "fallback") terminal.note(`Taken from ${progress.source}: ${progress.reason}`);
        else if (progress.stage === "wait") terminal.note(`Another process is fetching ${progress.file}`);
        bars.report(progress);
      },
      signal,
    });
    bars.stop();
    const sizes = await Promise.all(model.files.map(async (file) => (await stat(file)).size));
    const bytes = sizes.reduce((sum, size) => sum + size, 0);
    if (terminal.json) return terminal.data({ ...model, bytes });
    terminal.line(model.path);
    terminal.note(`${model.name}: ${model.files.length} files, ${byteText(bytes)}`);
  } finally {
    bars.stop();
  }
}

export function configure(command: Command, run: Runner): void {
  command
    .argument("<model>", "An alias, or hf:owner/name[@revision][/file.gguf].")
    .addHelpText("after", "\nA download that was interrupted goes on where it stopped.");
  addFlags(command, SOURCE);
  command.action(run(pull));
}
