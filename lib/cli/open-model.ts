import { basename, resolve } from "node:path";
import { InvalidArgumentError, Option, type Command } from "commander";
import { loadModel, LOAD, type LoadModelOptions, type Model } from "../model/index.js";
import type { Context } from "./context.js";
import { addFlags, readFlags } from "./flags.js";

/** What answers where no model is named. */
export const DEFAULT_MODEL = "smollm2-135m-instruct";

/** No flags of a command that runs one request: they set how a server's requests live together. */
const SERVER_OPTIONS = ["maxSequences", "maxQueue", "maxStepTokens", "adapterMemory", "adapterDirectory"];
/** Likewise, of a request. */
export const SERVED_OPTIONS = ["priority", "prefixCache", "cacheSalt"];

/** An adapter on disk and its scale. */
export interface AdapterFlag {
  name: string;
  path: string;
  scale: number;
}

/** What an adapter at a path is called: its folder, or its file without the ending. */
export const adapterNameOf = (path: string): string =>
  basename(resolve(path)).replace(/\.(gguf|safetensors)$/i, "");

function parseAdapter(text: string, before: AdapterFlag[] = []): AdapterFlag[] {
  const [, path, scale] = /^(.+?)(?:@(-?[\d.]+))?$/.exec(text) ?? [];
  if (path === undefined || Number.isNaN(Number(scale ?? 1)))
    throw new InvalidArgumentError("Expected a folder or file, and @ with a scale where it is not 1.");
  const stem = adapterNameOf(path);
  const name = before.some((one) => one.name === stem) ? `${stem}-${before.length + 1}` : stem;
  return [...before, { name, path, scale: Number(scale ?? 1) }];
}

/** `--model`, what `loadModel` takes, and `--adapter`. */
export function addModelFlags(command: Command, { adapters }: { adapters: boolean }): void {
  command.option(
    "-m, --model <name>",
    "An alias, hf:owner/name, a folder, or a .gguf file. See lowrank models.",
    DEFAULT_MODEL,
  );
  if (adapters)
    command.addOption(
      new Option(
        "-a, --adapter <path>",
        "An adapter's folder or file; @0.5 after it scales it. May be repeated.",
      )
        .argParser(parseAdapter)
        .default([], "none"),
    );
  addFlags(command, LOAD, SERVER_OPTIONS);
}

/** A model that one command uses, with its adapters loaded. */
export interface OpenModel extends AsyncDisposable {
  readonly model: Model;
  /** What a request names to run with all of them. */
  readonly adapter: { name: string; scale: number }[];
}

/** Loads what the flags name, with a bar on a terminal. */
export async function openModel({ terminal, signal }: Context, command: Command): Promise<OpenModel> {
  const { model: name, adapter: adapters = [] } = command.opts<{ model: string; adapter?: AdapterFlag[] }>();
  const bars = await terminal.progress();
  const began = performance.now();
  let model: Model | undefined;
  try {
    const options: LoadModelOptions = { ...readFlags(command, LOAD), onProgress: bars.report, signal };
    model = await loadModel(name, options);
    for (const one of adapters) await model.adapters.load(one.name, one.path, { signal });
  } catch (error) {
    await model?.dispose();
    throw error;
  } finally {
    bars.stop();
  }
  const { facts } = model;
  const seconds = ((performance.now() - began) / 1000).toFixed(1);
  const millions = Math.round(facts.parameters / 1e6);
  terminal.note(
    terminal.style(
      "dim",
      `${model.name}: ${millions} M parameters, ${facts.precision}, ${facts.instructionSet}, ready in ${seconds} s`,
      process.stderr,
    ),
  );
  const opened = model;
  return {
    model: opened,
    adapter: adapters.map(({ name: adapter, scale }) => ({ name: adapter, scale })),
    [Symbol.asyncDispose]: () => opened.dispose(),
  };
}
