import { Command, CommanderError } from "commander";
import { LowrankError } from "../errors/index.js";
import { COMMANDS } from "./commands/index.js";
import type { Runner } from "./context.js";
import { EXIT, exitCodeOf, type ExitCode } from "./exit-codes.js";
import { Terminal } from "./terminal.js";
import { packageVersion } from "./version.js";

const OWN_COMMANDS = ["help"];

/** An error's message, with the flag's name in place of the option's. */
function messageOf(error: unknown, command: Command): string {
  if (!LowrankError.isInstance(error)) return String((error as Error)?.message ?? error);
  const name = error.details?.["name"];
  const flag = command.options.find((option) => option.attributeName() === name)?.long;
  return flag ? error.message.replace(`for ${String(name)},`, `for ${flag},`) : error.message;
}

const SIGNALS = ["SIGINT", "SIGTERM"] as const;

/** Runs `work` with a signal that Ctrl-C aborts; pressed again, it ends the process. */
async function interruptible(work: (signal: AbortSignal) => Promise<void>): Promise<void> {
  const controller = new AbortController();
  const stop = (): void => {
    if (controller.signal.aborted) process.exit(EXIT.interrupted);
    controller.abort();
  };
  for (const name of SIGNALS) process.on(name, stop);
  try {
    await work(controller.signal);
  } finally {
    for (const name of SIGNALS) process.off(name, stop);
  }
}

/** Runs the command line; resolves with the exit code and never rejects. */
export async function runProgram(args: readonly string[]): Promise<ExitCode> {
  let code: ExitCode = EXIT.ok;
  const run: Runner =
    (action) =>
    async (...given) => {
      const command = given.at(-1) as Command;
      const { json, quiet } = command.optsWithGlobals<{ json?: true; quiet?: true }>();
      const terminal = new Terminal({ json: json === true, quiet: quiet === true });
      await interruptible(async (signal) => {
        try {
          // The last two are commander's own: the options and the command.
          await action({ terminal, signal }, command, ...(given.slice(0, -2) as never));
          if (signal.aborted) code = EXIT.interrupted;
        } catch (error) {
          code = signal.aborted ? EXIT.interrupted : exitCodeOf(error);
          if (!signal.aborted && !(error instanceof FailedChecks)) report(error, command, terminal);
        }
      });
    };
  const program = new Command("lowrank")
    .description("Small language models with swappable adapters, on your own machine.")
    .version(packageVersion())
    .configureHelp({ showGlobalOptions: true })
    .exitOverride();
  const asked = args.find((one) => !one.startsWith("-"));
  const helped = asked !== undefined && OWN_COMMANDS.includes(asked) ? args[args.indexOf(asked) + 1] : asked;
  for (const { name, summary, load } of COMMANDS) {
    const command = program
      .command(name)
      .summary(summary)
      .description(`${summary}.`)
      .option("--json", "Print the result as JSON.")
      .option("-q, --quiet", "Print nothing but the result and errors.")
      .exitOverride();
    if (name === helped) (await load()).configure(command, run);
  }
  program.addHelpText("after", "\nlowrank help COMMAND tells more. Exit codes stand in docs/cli.md.");
  try {
    if (args.length === 0) program.outputHelp();
    else await program.parseAsync([...args], { from: "user" });
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    return error.exitCode === 0 ? EXIT.ok : EXIT.usage;
  }
  return code;
}

function report(error: unknown, command: Command, terminal: Terminal): void {
  const message = messageOf(error, command);
  const known = LowrankError.isInstance(error);
  if (terminal.json) terminal.data({ error: { code: known ? error.code : "ERR_INTERNAL", message } });
  process.stderr.write(`${terminal.style("red", "error", process.stderr)} ${message}\n`);
  if (!known && process.env["LOWRANK_DEBUG"]) process.stderr.write(`${(error as Error).stack}\n`);
}

/** Thrown where the result itself says what is wrong. */
export class FailedChecks extends Error {}
