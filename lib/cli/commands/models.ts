import type { Command } from "commander";
import { LowrankError } from "../../errors/index.js";
import { cachedModels, MODEL_ALIASES, removeCachedModel } from "../../model/index.js";
import type { Context, Runner } from "../context.js";
import { byteText } from "../terminal.js";

async function list({ terminal }: Context): Promise<void> {
  const cached = await cachedModels();
  const aliases = MODEL_ALIASES.map(({ name, size, license, hub }) => ({
    name,
    bytes: size,
    license,
    repository: hub.repo,
  }));
  if (terminal.json) return terminal.data({ cached, aliases });
  terminal.line(terminal.style("bold", "On this machine"));
  if (cached.length === 0) terminal.line("  none yet: lowrank pull NAME");
  else
    terminal.table(cached.map(({ name, bytes, path }) => [`  ${name}`, byteText(bytes).padStart(8), path]));
  terminal.line(`\n${terminal.style("bold", "By a short name")}`);
  terminal.table(
    aliases.map(({ name, bytes, license }) => [`  ${name}`, byteText(bytes).padStart(8), license]),
  );
  terminal.line("\nAny other: hf:owner/name, a folder with config.json and safetensors, or a .gguf file.");
}

async function remove({ terminal }: Context, _command: Command, name: string): Promise<void> {
  const found = (await cachedModels()).filter((one) => one.name === name);
  if (found.length === 0)
    throw new LowrankError(
      "ERR_MODEL_NOT_FOUND",
      `Expected a model of the cache for the name, received ${JSON.stringify(name)}. lowrank models lists them.`,
    );
  for (const one of found) await removeCachedModel(one);
  const bytes = found.reduce((sum, one) => sum + one.bytes, 0);
  if (terminal.json) terminal.data({ removed: found, bytes });
  else terminal.line(`Removed ${found.map(({ path }) => path).join(", ")}: ${byteText(bytes)}`);
}

export function configure(command: Command, run: Runner): void {
  command
    .command("list", { isDefault: true })
    .description("What is in the caches, and what there is by a short name.")
    .action(run(list));
  command
    .command("remove")
    .description("Delete a model from its cache.")
    .argument("<name>", "As lowrank models lists it.")
    .action(run(remove));
}
