import { Command } from "commander";
import type { CommandModule, Context, Runner } from "../context.js";

const SHELLS = ["bash", "zsh", "fish"] as const;
type Shell = (typeof SHELLS)[number];

interface Described {
  name: string;
  summary: string;
  flags: { name: string; description: string }[];
  subcommands: string[];
}

const noAction: Runner = () => async () => undefined;

const firstSentence = (text: string): string => text.split(/(?<=\.)\s/)[0]!.replace(/\.$/, "");

/** Every command with its flags, which its module is loaded for. */
async function describeAll(program: Command): Promise<Described[]> {
  const { COMMANDS } = await import("./index.js");
  return Promise.all(
    COMMANDS.map(async ({ name, summary, load }) => {
      const command = new Command(name);
      const module: CommandModule = await load();
      module.configure(command, noAction);
      const listed = program.commands.find((one) => one.name() === name);
      const common = listed?.options.filter(({ long }) => long === "--json" || long === "--quiet") ?? [];
      const all = [...common, ...command.options, ...command.commands.flatMap(({ options }) => [...options])];
      const flags = new Map(all.map(({ long, description }) => [long!, firstSentence(description)]));
      return {
        name,
        summary,
        flags: Array.from(flags, ([flag, description]) => ({ name: flag, description })),
        subcommands: command.commands.map((one) => one.name()),
      };
    }),
  );
}

function bash(commands: readonly Described[]): string {
  const cases = commands.map(
    ({ name, flags, subcommands }) =>
      `    ${name}) words="${[...subcommands, ...flags.map((flag) => flag.name)].join(" ")}" ;;`,
  );
  return `_lowrank() {
  local current="\${COMP_WORDS[COMP_CWORD]}" words
  if [ "$COMP_CWORD" -eq 1 ]; then
    words="${commands.map(({ name }) => name).join(" ")}"
  else
    case "\${COMP_WORDS[1]}" in
${cases.map((one) => `  ${one}`).join("\n")}
    esac
  fi
  case "$current" in
    -*) COMPREPLY=($(compgen -W "$words" -- "$current")) ;;
    *) COMPREPLY=($(compgen -W "$words" -- "$current") $(compgen -f -- "$current")) ;;
  esac
}
complete -o filenames -F _lowrank lowrank
`;
}

const zsh = (commands: readonly Described[]): string =>
  `#compdef lowrank\nautoload -U +X bashcompinit && bashcompinit\n${bash(commands)}`;

const quoted = (text: string): string => `'${text.replace(/[\\']/g, "\\$&")}'`;

function fish(commands: readonly Described[]): string {
  const lines = ["complete -c lowrank -f -n __fish_use_subcommand"];
  for (const { name, summary, flags, subcommands } of commands) {
    lines.push(`complete -c lowrank -n __fish_use_subcommand -a ${name} -d ${quoted(summary)}`);
    const seen = `-n ${quoted(`__fish_seen_subcommand_from ${name}`)}`;
    for (const subcommand of subcommands) lines.push(`complete -c lowrank ${seen} -a ${subcommand}`);
    for (const flag of flags)
      lines.push(`complete -c lowrank ${seen} -l ${flag.name.slice(2)} -d ${quoted(flag.description)}`);
  }
  return `${lines.join("\n")}\n`;
}

const WRITERS: Readonly<Record<Shell, (commands: readonly Described[]) => string>> = { bash, zsh, fish };

async function completion({ terminal }: Context, command: Command): Promise<void> {
  const shell = command.processedArgs[0] as Shell;
  terminal.write(WRITERS[shell](await describeAll(command.parent!)));
}

export function configure(command: Command, run: Runner): void {
  command
    .addArgument(command.createArgument("<shell>", "Which shell.").choices(SHELLS))
    .addHelpText(
      "after",
      "\nbash, zsh:  source <(lowrank completion bash)\nfish:       lowrank completion fish | source",
    )
    .action(run(completion));
}
