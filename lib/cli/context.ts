import type { Command } from "commander";
import { Terminal } from "./terminal.js";

/** What every command runs with. */
export interface Context {
  readonly terminal: Terminal;
  /** Aborts at Ctrl-C; a second one ends the process. */
  readonly signal: AbortSignal;
}

/** A command: its module is loaded only where it is asked for. */
export interface CommandModule {
  /** Adds arguments, flags and what is done. */
  configure(command: Command, run: Runner): void;
}

/** Wraps what a command does. */
export type Runner = <Arguments extends unknown[]>(
  action: (context: Context, command: Command, ...args: Arguments) => Promise<void>,
) => (...args: unknown[]) => Promise<void>;
