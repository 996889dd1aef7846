import type { Command } from "commander";
import { inspectAdapter, type AdapterFacts } from "../../adapters/index.js";
import { LowrankError } from "../../errors/index.js";
import type { Context, Runner } from "../context.js";
import { FailedChecks } from "../program.js";
import { addModelFlags, openModel } from "../open-model.js";
import { byteText } from "../terminal.js";

/** Keys of adapter_config.json that say most. */
const SHOWN = [
  "base_model_name_or_path",
  "r",
  "lora_alpha",
  "use_rslora",
  "use_dora",
  "bias",
  "modules_to_save",
];
const TENSORS_SHOWN = 12;

async function inspect(context: Context, command: Command, path: string): Promise<void> {
  const { terminal } = context;
  const { tensors: all } = command.opts<{ tensors?: true }>();
  const found = await inspectAdapter(path);
  if (terminal.json) return terminal.data(found);
  const config = (found.config ?? found.metadata) as Record<string, unknown>;
  const parameters = found.tensors.reduce((sum, { shape }) => sum + shape.reduce((a, b) => a * b, 1), 0);
  terminal.line(`${found.origin}: ${found.format}, ${byteText(found.bytes)}, ${parameters} parameters`);
  const keys = found.config === null ? Object.keys(config) : SHOWN.filter((key) => config[key] !== undefined);
  terminal.table(keys.map((key) => [`  ${key}`, JSON.stringify(config[key])]));
  if (Array.isArray(config["target_modules"]))
    terminal.line(`  target_modules  ${(config["target_modules"] as string[]).join(", ")}`);
  terminal.line(`${found.tensors.length} tensors`);
  const shown = all ? found.tensors : found.tensors.slice(0, TENSORS_SHOWN);
  terminal.table(shown.map(({ name, dtype, shape }) => [`  ${name}`, dtype, `[${shape.join(", ")}]`]));
  if (shown.length < found.tensors.length)
    terminal.line(`  … and ${found.tensors.length - shown.length} more: --tensors shows all`);
}

interface CheckedAdapter {
  path: string;
  fits: boolean;
  facts?: AdapterFacts;
  error?: { code: string; message: string };
}

const factsText = ({ rank, targets, bytes, dora }: AdapterFacts): string =>
  `rank ${rank}${dora ? ", DoRA" : ""}, ${targets.join(", ")}, ${byteText(bytes)}`;

async function check(context: Context, command: Command, paths: string[]): Promise<void> {
  const { terminal, signal } = context;
  await using opened = await openModel(context, command);
  const { model } = opened;
  const checked: CheckedAdapter[] = [];
  for (const path of paths) {
    try {
      checked.push({ path, fits: true, facts: await model.adapters.load(path, path, { signal }) });
    } catch (error) {
      if (!LowrankError.isInstance(error) || signal.aborted) throw error;
      checked.push({ path, fits: false, error: { code: error.code, message: error.message } });
    }
  }
  if (terminal.json) terminal.data({ model: model.name, adapters: checked });
  else
    terminal.table(
      checked.map(({ path, fits, facts, error }) => [
        terminal.style(fits ? "green" : "red", fits ? "fits" : "does not fit"),
        path,
        facts ? factsText(facts) : error!.message,
      ]),
    );
  if (checked.some(({ fits }) => !fits)) throw new FailedChecks();
}

export function configure(command: Command, run: Runner): void {
  command
    .command("inspect")
    .description("What an adapter's files say, without a model.")
    .argument("<path>", "A PEFT folder, a .safetensors file or a .gguf file.")
    .option("--tensors", "List all tensors.")
    .action(run(inspect));
  const checking = command
    .command("check")
    .description("Load adapters into their base model, and say what does not fit.")
    .argument("<paths...>", "PEFT folders, .safetensors files or .gguf files.");
  addModelFlags(checking, { adapters: false });
  checking.action(run(check));
}
