import { unsupported } from "./tokenizer-errors.js";

/** What JSON.parse may give for an object; nothing is known of its values. */
export type JsonObject = Readonly<Record<string, unknown>>;

export const isObject = (value: unknown): value is JsonObject =>
  typeof value === "object" && value !== null && !Array.isArray(value);

/** An own property of an object; undefined where there is none, or no object. A file must not reach Object.prototype. */
export const own = (value: unknown, key: string): unknown =>
  isObject(value) && Object.hasOwn(value, key) ? value[key] : undefined;

/** A property that is true, false or left out. Throws ERR_TOKENIZER for another value, as Hugging Face's library does. */
export function ownFlag(value: unknown, key: string, otherwise: boolean, name: string): boolean {
  const flag = own(value, key);
  if (flag === undefined) return otherwise;
  if (typeof flag !== "boolean") throw unsupported("true or false", `${name}.${key}`, flag);
  return flag;
}

/** Deepest nesting of the steps of a pipeline, and most steps, nested ones counted. */
const MAX_DEPTH = 8;
const MAX_STEPS = 64;

/**
 * The steps of a normalizer, pre-tokenizer, decoder or post-processor in order, nested sequences resolved; none for null.
 * Throws ERR_TOKENIZER where one is no object, or there are too many of them, or nested too deep.
 * @param list key under which a Sequence has its steps
 */
export function flattenSteps(config: unknown, list: string, name: string): JsonObject[] {
  const steps: JsonObject[] = [];
  let sequences = 0;
  const add = (step: unknown, depth: number): void => {
    if (!isObject(step)) throw unsupported("an object", name, step);
    if (depth > MAX_DEPTH || steps.length + sequences >= MAX_STEPS)
      throw unsupported(`at most ${MAX_STEPS} steps, ${MAX_DEPTH} deep`, name, own(step, "type"));
    if (own(step, "type") !== "Sequence") return void steps.push(step);
    ++sequences;
    const inner = own(step, list);
    if (!Array.isArray(inner)) throw unsupported(`a list of ${list}`, name, inner);
    for (const each of inner as unknown[]) add(each, depth + 1);
  };
  if (config !== null && config !== undefined) add(config, 0);
  return steps;
}
