// Command lines of the cuda:… scripts.
import { parseArgs } from "node:util";

/** Ends the process as wrong usage does. */
export function refuse(script, message) {
  process.stderr.write(`${script}: ${message}\n`);
  process.exit(2);
}

/** The values of `options` (as parseArgs takes them); prints `help` and ends where it is asked for. */
export function readArguments(script, help, options) {
  try {
    const { values } = parseArgs({ options: { ...options, help: { type: "boolean", default: false } } });
    if (values.help) {
      process.stdout.write(help);
      process.exit(0);
    }
    return values;
  } catch (error) {
    return refuse(script, error.message);
  }
}

/** A whole number from 1. */
export function positive(script, name, text) {
  const number = Number(text);
  if (!Number.isSafeInteger(number) || number < 1)
    refuse(script, `Expected a whole number from 1 for --${name}, received ${text}.`);
  return number;
}
