import type { Command } from "commander";
import { devices, instructionSets } from "../../native/index.js";
import type { Context, Runner } from "../context.js";
import { byteText } from "../terminal.js";

async function list({ terminal }: Context): Promise<void> {
  const found = await devices();
  const sets = instructionSets();
  if (terminal.json) return terminal.data({ devices: found, instructionSets: sets });
  terminal.table(
    found.map(({ id, name, available, reason, instructionSet, memoryBytes, emulated }) => [
      terminal.style(available ? "green" : "yellow", available ? "yes" : "no "),
      id,
      available
        ? `${name}, ${instructionSet}, ${byteText(memoryBytes)}${emulated ? ", EMULATED" : ""}`
        : reason,
    ]),
  );
  terminal.line("\nInstruction sets of the CPU, best first:");
  terminal.table(
    sets.map(({ name, available, description }) => [
      terminal.style(available ? "green" : "dim", available ? "yes" : "no "),
      name,
      description,
    ]),
  );
}

export function configure(command: Command, run: Runner): void {
  command
    .addHelpText("after", "\nLOWRANK_ISA forces an instruction set, --device of other commands a device.")
    .action(run(list));
}
