import { LowrankError } from "../errors/index.js";

/** A value in an error message: short, and safe for values of any shape. */
export function shown(value: unknown): string {
  if (typeof value === "string") return JSON.stringify(value.length > 80 ? `${value.slice(0, 80)}…` : value);
  if (typeof value === "number" || typeof value === "boolean" || typeof value === "bigint")
    return String(value);
  if (Array.isArray(value)) return `a list of ${value.length}`;
  if (value === undefined || value === null) return value === null ? "null" : "nothing";
  return typeof value === "object" ? "an object" : typeof value;
}

/** A file that is damaged or inconsistent. */
export const damaged = (what: string, name: string, received: unknown): LowrankError =>
  new LowrankError(
    "ERR_TOKENIZER",
    `Expected ${what} for ${name}, received ${shown(received)}. Fetch the model's tokenizer files again.`,
  );

/** A tokenizer of a kind that this package does not have. */
export const unsupported = (what: string, name: string, received: unknown, cause?: unknown): LowrankError =>
  new LowrankError(
    "ERR_TOKENIZER",
    `Expected ${what} for ${name}, received ${shown(received)}. Use a model whose tokenizer is of the Llama, Qwen, Mistral or Gemma kind.`,
    cause === undefined ? {} : { cause },
  );
