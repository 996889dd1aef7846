import { fail, refuse } from "./failure.js";
import type { Meter } from "./meter.js";
import type { Markup, Str } from "./text.js";

/** Python's values. An integer is a number, of the template's own, or an `OuterInt`; `null` is None. */
export type Value =
  | null
  | boolean
  | number
  | OuterInt
  | Float
  | Str
  | Markup
  | List
  | Tuple
  | Dict
  | Range
  | View
  | Iter
  | Namespace
  | Undefined
  | Callable;

/** An integer that came from outside: its digits are foreign text when it is printed. */
export class OuterInt {
  constructor(readonly value: number) {}
}

export class Float {
  constructor(
    readonly value: number,
    readonly foreign = false,
  ) {}
}

export class List {
  constructor(readonly items: readonly Value[]) {}
}

export class Tuple {
  constructor(readonly items: readonly Value[]) {}
}

/** One group of the filter `groupby`: a tuple whose two elements have names. */
export class Group extends Tuple {
  constructor(
    readonly grouper: Value,
    readonly list: List,
  ) {
    super([grouper, list]);
  }
}

export class Range {
  readonly length: number;

  constructor(
    readonly start: number,
    readonly stop: number,
    readonly step: number,
  ) {
    this.length = Math.max(0, Math.ceil((stop - start) / step));
  }

  at(index: number): number {
    return this.start + index * this.step;
  }
}

/** `keys()`, `values()` and `items()` of a dict. */
export class View {
  constructor(
    readonly dict: Dict,
    readonly kind: "dict_keys" | "dict_values" | "dict_items",
  ) {}

  at(index: number): Value {
    const entry = this.dict.entries[index]!;
    return this.kind === "dict_items" ? new Tuple(entry) : entry[this.kind === "dict_keys" ? 0 : 1];
  }
}

/** What a filter such as `map` gives: it can be gone through once, and each step is done when it is asked for. */
export class Iter {
  constructor(
    readonly type: string,
    readonly steps: Iterator<Value>,
  ) {}
}

export class Namespace {
  readonly fields = new Map<string, Value>();
}

/** jinja2's default `Undefined`: prints nothing, holds nothing, and fails for whatever else is done with it. */
export class Undefined {
  constructor(readonly message: string) {}

  failure(): Error {
    return fail(this.message);
  }
}

/** Arguments by name. */
export type Named = ReadonlyMap<string, Value>;

/** A function, method, macro or loop. */
export abstract class Callable {
  constructor(readonly name: string) {}

  abstract call(positional: readonly Value[], named: Named): Value;

  /** An attribute; `undefined` where it has none. */
  attribute(name: string): Value | undefined {
    throw refuse(`the attribute "${name.slice(0, 40)}" of ${this.name}`);
  }

  /** How it prints; functions print their address in Python, which is refused. */
  print(): string {
    throw refuse(`printing ${this.name}`);
  }
}

export class Builtin extends Callable {
  constructor(
    name: string,
    readonly run: (positional: readonly Value[], named: Named) => Value,
  ) {
    super(name);
  }

  call(positional: readonly Value[], named: Named): Value {
    return this.run(positional, named);
  }
}

export type HashKey = string | number | symbol | object | null;

/** A dict keeps the order in which keys came. Nothing changes it once it is made: the sandbox forbids that. */
export class Dict {
  readonly entries: readonly (readonly [Value, Value])[];
  readonly #places = new Map<HashKey, number>();
  /** Keys that are tuples, by a text that stands for all of it. */
  readonly #tuples = new Map<string, number>();

  /** @param hash gives the key under which equal values are one; see `hashKey` */
  constructor(pairs: Iterable<readonly [Value, Value]>, hash: (key: Value) => HashKey) {
    const entries: [Value, Value][] = [];
    for (const [key, value] of pairs) {
      const map: Map<HashKey, number> = key instanceof Tuple ? this.#tuples : this.#places;
      const hashed = hash(key);
      const place = map.get(hashed);
      if (place !== undefined) {
        entries[place]![1] = value;
      } else {
        map.set(hashed, entries.length);
        entries.push([key, value]);
      }
    }
    this.entries = entries;
  }

  get(key: Value, hash: (key: Value) => HashKey): Value | undefined {
    const map: Map<HashKey, number> = key instanceof Tuple ? this.#tuples : this.#places;
    const place = map.get(hash(key));
    return place === undefined ? undefined : this.entries[place]![1];
  }

  /** The value of a key that is a text. */
  getText(key: string): Value | undefined {
    const place = this.#places.get(key);
    return place === undefined ? undefined : this.entries[place]![1];
  }
}

/** What functions need from the rendering that they are part of. */
export interface Runtime {
  readonly meter: Meter;
  readonly now: Date;
}

/** The value of an integer or a bool; undefined for anything else. */
export function integerOf(value: Value): number | undefined {
  if (typeof value === "number") return value;
  if (typeof value === "boolean") return value ? 1 : 0;
  return value instanceof OuterInt ? value.value : undefined;
}

/** The value of any number, a bool counted; undefined for anything else. */
export const numberOf = (value: Value): number | undefined =>
  value instanceof Float ? value.value : integerOf(value);

/** An integer that Python would have exactly. */
export function integer(value: number): number {
  if (!Number.isSafeInteger(value)) throw refuse("an integer beyond 2^53");
  return value + 0;
}

export const NO_NAMED: Named = new Map();
