import { readFileSync } from "node:fs";
import { InvalidArgumentError, Option, type Command } from "commander";
import { helpText, namesOf, type JsonSchema, type OptionSet, type OptionsOf } from "../schema/index.js";

// Flags come from the option sets of the API: their names, help, defaults and values. What a value may be is checked by the call itself.

const kebab = (name: string): string => name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);

/** "--max-tokens" of "maxTokens". */
export const flagOf = (name: string): string => `--${kebab(name)}`;

function parseNumber(text: string): number | bigint {
  const value = Number(text);
  if (text.trim() === "" || Number.isNaN(value)) throw new InvalidArgumentError("Expected a number.");
  return /^\d+$/.test(text) && !Number.isSafeInteger(value) ? BigInt(text) : value;
}

const parseIntegers = (text: string): number[] => text.split(",").map((one) => Number(parseNumber(one)));

/** JSON, or what a file holds: @FILE. */
function parseJson(text: string): unknown {
  try {
    return JSON.parse(text.startsWith("@") ? readFileSync(text.slice(1), "utf8") : text) as unknown;
  } catch (error) {
    throw new InvalidArgumentError(
      `Expected JSON, or @ and the name of a file with JSON: ${(error as Error).message}.`,
    );
  }
}

const collect = (text: string, before: string[] = []): string[] => [...before, text];

interface Form {
  /** What follows the flag's name. */
  readonly value: string;
  readonly parse?: (text: string, before: never) => unknown;
  readonly choices?: readonly string[];
}

function typesOf(schema: JsonSchema): JsonSchema[] {
  return (schema["anyOf"] as JsonSchema[] | undefined) ?? [schema];
}

function formOf(schema: JsonSchema): Form {
  const types = typesOf(schema);
  const of = (type: string): JsonSchema | undefined => types.find((one) => one["type"] === type);
  if (Array.isArray(schema["enum"])) return { value: " <choice>", choices: schema["enum"] as string[] };
  const numeric = of("integer") ?? of("number");
  if (of("boolean")) return numeric ? { value: " [n]", parse: parseNumber } : { value: "" };
  if (numeric) return { value: " <n>", parse: parseNumber };
  const list = of("array");
  if (list && (list["items"] as JsonSchema | undefined)?.["type"] === "string")
    return { value: " <text>", parse: collect };
  if (list && (list["items"] as JsonSchema | undefined)?.["type"] === "integer")
    return { value: " <ids>", parse: parseIntegers };
  if (list || of("object")) return { value: " <json>", parse: parseJson };
  return { value: " <text>" };
}

/** Adds the options of a set as flags, but for those that no text can say, and `without`. */
export function addFlags(command: Command, set: OptionSet, without: readonly string[] = []): void {
  for (const name of namesOf(set)) {
    const schema = without.includes(name) ? null : set[name]!.json(undefined);
    if (schema === null) continue;
    const { value, parse, choices } = formOf(schema);
    const fallback = set[name]!.default;
    const negated = value === "" && fallback === true;
    const description = helpText(set[name]!);
    const stated = typeof fallback === "number" || (typeof fallback === "string" && fallback !== "");
    const option = negated
      ? new Option(`--no-${kebab(name)}`, `Turns off: ${description}`)
      : new Option(`${flagOf(name)}${value}`, stated ? `${description} Default: ${fallback}.` : description);
    if (parse) option.argParser(parse as (text: string) => unknown);
    if (choices) option.choices(choices);
    command.addOption(option);
  }
}

/** What was given of a set's options. */
export function readFlags<Set extends OptionSet>(command: Command, set: Set): OptionsOf<Set> {
  const given = namesOf(set).filter((name) => command.getOptionValueSource(name) === "cli");
  return Object.fromEntries(
    given.map((name) => [name, command.getOptionValue(name) as unknown]),
  ) as OptionsOf<Set>;
}
