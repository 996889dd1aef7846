import type { Command } from "commander";
import type { Context, Runner } from "../context.js";
import { CHECKS, type Finding } from "../checks/index.js";
import { FailedChecks } from "../program.js";

const MARKS = { ok: "✓", warning: "!", failure: "✗" } as const;
const STYLES = { ok: "green", warning: "yellow", failure: "red" } as const;

async function doctor({ terminal, signal }: Context): Promise<void> {
  const findings: (Finding & { check: string })[] = [];
  for (const { name, find } of CHECKS) {
    if (signal.aborted) return;
    const found = await find(signal).catch((error: unknown): Finding => ({
      state: "failure",
      says: (error as Error).message,
      remedy: "Report it: the check itself failed.",
    }));
    findings.push({ check: name, ...found });
    if (terminal.json) continue;
    terminal.line(
      `${terminal.style(STYLES[found.state], MARKS[found.state])} ${name.padEnd(18)} ${found.says}`,
    );
    if (found.remedy && found.state !== "ok") terminal.line(`  ${" ".repeat(18)} ${found.remedy}`);
  }
  if (terminal.json) terminal.data({ findings });
  if (findings.some(({ state }) => state === "failure")) throw new FailedChecks();
}

export function configure(command: Command, run: Runner): void {
  command
    .addHelpText("after", "\nExit code 1 where a check failed. Nothing is downloaded and nothing is changed.")
    .action(run(doctor));
}
