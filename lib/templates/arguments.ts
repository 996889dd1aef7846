import { fail } from "./failure.js";
import { typeName } from "./type-names.js";
import { Float, integerOf, type Named, type Value } from "./values.js";

interface Shape {
  /** Parameters that must be given. Default: 0. */
  readonly required?: number;
  /** May not be given by name, as in most methods that Python has in C. */
  readonly byPosition?: boolean;
}

/** A call's arguments in the order of the parameters; undefined for those that are left out. Throws where Python does. */
export function bind(
  name: string,
  parameters: readonly string[],
  positional: readonly Value[],
  named: Named,
  { required = 0, byPosition = false }: Shape = {},
): (Value | undefined)[] {
  if (positional.length > parameters.length)
    throw fail(`${name}() takes at most ${parameters.length} arguments, not ${positional.length}`);
  const bound: (Value | undefined)[] = parameters.map((_, i) => positional[i]);
  for (const [key, value] of named) {
    const place = parameters.indexOf(key);
    if (place < 0 || byPosition) throw fail(`${name}() takes no argument named "${key.slice(0, 40)}"`);
    if (place < positional.length) throw fail(`${name}() got two values for "${key}"`);
    bound[place] = value;
  }
  if (bound.slice(0, required).includes(undefined)) throw fail(`${name}() needs ${required} arguments`);
  return bound;
}

/** An integer where Python takes no float. */
export function needInteger(value: Value, what: string): number {
  const integer = integerOf(value);
  if (integer === undefined)
    throw fail(`${what} must be an integer, not ${value instanceof Float ? "float" : typeName(value)}`);
  return integer;
}
