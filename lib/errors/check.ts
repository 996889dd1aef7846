import { expected, LowrankError } from "./index.js";

/** More token ids than any context holds. */
const MAX_TOKENS = 2 ** 24;

/** Argument checks in the one message form. Each returns the value, or the default where it is undefined. */

export function checkNumber(
  name: string,
  value: unknown,
  bounds: { min: number; max: number; default: number; integer?: boolean },
): number {
  if (value === undefined) return bounds.default;
  const kind = bounds.integer ? "an integer" : "a number";
  if (
    typeof value !== "number" ||
    !(value >= bounds.min && value <= bounds.max) ||
    (bounds.integer && !Number.isInteger(value))
  )
    throw expected(`${kind} from ${bounds.min} to ${bounds.max}`, name, value);
  return value;
}

export function checkBoolean(name: string, value: unknown, fallback: boolean): boolean {
  if (value === undefined) return fallback;
  if (typeof value !== "boolean") throw expected("true or false", name, value);
  return value;
}

export function checkChoice<T extends string>(
  name: string,
  value: unknown,
  choices: readonly T[],
  fallback: T,
): T {
  if (value === undefined) return fallback;
  if (!choices.includes(value as T))
    throw expected(choices.map((one) => `"${one}"`).join(" or "), name, value);
  return value as T;
}

/** A choice that only models of precision "int8" have; undefined where it is left out. */
export function checkInt8Choice<T extends string>(
  name: string,
  value: unknown,
  choices: readonly [T, ...T[]],
  precision: string,
): T | undefined {
  if (value === undefined) return undefined;
  const choice = checkChoice(name, value, choices, choices[0]);
  if (precision !== "int8")
    throw expected("a model of precision int8", name, choice, `Leave it out with precision ${precision}.`);
  return choice;
}

export function checkFunction<T>(name: string, value: T | undefined): T | undefined {
  if (value !== undefined && typeof value !== "function") throw expected("a function", name, value);
  return value;
}

export function checkSignal(value: unknown): AbortSignal | undefined {
  if (value === undefined) return undefined;
  if (!(value instanceof AbortSignal)) throw expected("an AbortSignal", "signal", value);
  return value;
}

/** Refuses options that do not exist, so that a misspelt one is not silently ignored. */
export function checkKnown(name: string, value: unknown, known: readonly string[]): void {
  if (typeof value !== "object" || value === null || Array.isArray(value))
    throw expected("an object", name, value);
  for (const key of Object.keys(value))
    if (!known.includes(key)) throw expected(`one of ${known.join(", ")}`, `a key of ${name}`, key);
}

/** Token ids from any array-like, each an integer from 0 to `vocabularySize - 1`. Throws ERR_CONTEXT_LENGTH for more than `maxTokens`. */
export function checkTokens(
  name: string,
  value: unknown,
  vocabularySize: number,
  maxTokens = MAX_TOKENS,
): Int32Array {
  const list = value as ArrayLike<number> | undefined;
  if (typeof list !== "object" || list === null || !Number.isInteger(list.length) || list.length < 0)
    throw expected("an array of token ids", name, value);
  if (list.length > maxTokens)
    throw new LowrankError(
      "ERR_CONTEXT_LENGTH",
      `Expected at most ${maxTokens} tokens for ${name}, received ${list.length}.`,
      { details: { name, maxTokens } },
    );
  const tokens = new Int32Array(list.length);
  for (let i = 0; i < tokens.length; i++) {
    const token = list[i];
    if (!Number.isInteger(token) || token! < 0 || token! >= vocabularySize)
      throw expected(`an integer from 0 to ${vocabularySize - 1}`, `${name}[${i}]`, token);
    tokens[i] = token!;
  }
  return tokens;
}

/** Throws ERR_ABORTED, with the signal's reason as cause, where the signal is aborted. `what` begins the sentence. */
export function throwIfAborted(signal: AbortSignal | undefined, what: string): void {
  if (signal?.aborted)
    throw new LowrankError("ERR_ABORTED", `${what} was aborted.`, { cause: signal.reason });
}
