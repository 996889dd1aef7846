import { LowrankError, shown } from "../errors/index.js";

/** Reads one value of adapter_config.json; throws what was expected where it is none. `at` names it in messages. */
export type Reader<T> = (value: unknown, at: string) => T;

const MAX_TEXT = 4096;

function refuse(what: string, at: string, value: unknown): never {
  throw new LowrankError(
    "ERR_ADAPTER_FORMAT",
    `Expected ${what} for ${at.slice(0, 200)} in adapter_config.json, received ${shown(value)}.`,
  );
}

export const integer =
  (min: number, max: number): Reader<number> =>
  (value, at) =>
    Number.isInteger(value) && (value as number) >= min && (value as number) <= max
      ? (value as number)
      : refuse(`an integer from ${min} to ${max}`, at, value);

/** `above`: the number itself is too small. */
export const number =
  (above: number, max: number): Reader<number> =>
  (value, at) =>
    typeof value === "number" && value > above && value <= max
      ? value
      : refuse(`a number above ${above}, at most ${max},`, at, value);

/** PEFT writes null where it stands for false. */
export const boolean: Reader<boolean> = (value, at) =>
  value === null ? false : typeof value === "boolean" ? value : refuse("true or false", at, value);

export const choice =
  <T extends string>(...choices: readonly T[]): Reader<T> =>
  (value, at) =>
    choices.includes(value as T)
      ? (value as T)
      : refuse(choices.map((one) => `"${one}"`).join(" or "), at, value);

export const text: Reader<string> = (value, at) =>
  typeof value === "string" && value !== "" && value.length <= MAX_TEXT
    ? value
    : refuse(`a text of 1 to ${MAX_TEXT} characters`, at, value);

export const list =
  <T>(item: Reader<T>, max: number, min = 0): Reader<T[]> =>
  (value, at) =>
    Array.isArray(value) && value.length >= min && value.length <= max
      ? value.map((one, i) => item(one, `${at}[${i}]`))
      : refuse(`an array of ${min} to ${max}`, at, value);

/** What an object holds under whatever keys. */
export const record =
  <T>(item: Reader<T>): Reader<Record<string, T>> =>
  (value, at) =>
    typeof value === "object" && value !== null && !Array.isArray(value)
      ? Object.fromEntries(
          Object.entries(value).map(([key, one]) => [key, item(one, `${at}[${JSON.stringify(key)}]`)]),
        )
      : refuse("an object", at, value);

/** `scalar` for what is no array nor object, else `other`. */
export const scalarOr =
  <A, B>(scalar: Reader<A>, other: Reader<B>): Reader<A | B> =>
  (value, at) =>
    typeof value === "object" ? other(value, at) : scalar(value, at);

export const arrayOr =
  <A, B>(array: Reader<A>, other: Reader<B>): Reader<A | B> =>
  (value, at) =>
    Array.isArray(value) ? array(value, at) : other(value, at);

export const nullable =
  <T>(reader: Reader<T>): Reader<T | null> =>
  (value, at) =>
    value === null ? null : reader(value, at);
