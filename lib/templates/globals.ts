import { bind, needInteger } from "./arguments.js";
import { hashKey } from "./equality.js";
import { fail, refuse } from "./failure.js";
import { toStr } from "./printing.js";
import { iterate, toArray } from "./sequences.js";
import { strftime } from "./strftime.js";
import { Str } from "./text.js";
import { typeName } from "./type-names.js";
import {
  Builtin,
  Callable,
  Dict,
  Namespace,
  Range,
  Tuple,
  type Named,
  type Runtime,
  type Value,
} from "./values.js";

/** Most numbers of a `range`, as in jinja2's sandbox. */
const MAX_RANGE = 100_000;

function range(positional: readonly Value[], named: Named): Range {
  const args = bind("range", ["start", "stop", "step"], positional, named, { required: 1, byPosition: true });
  const numbers = args
    .filter((one) => one !== undefined)
    .map((one) => needInteger(one, "an argument of range()"));
  const [start, stop, step] =
    numbers.length === 1 ? [0, numbers[0]!, 1] : [numbers[0]!, numbers[1]!, numbers[2] ?? 1];
  if (step === 0) throw fail("range() step must not be zero");
  const result = new Range(start, stop, step);
  if (result.length > MAX_RANGE) throw fail(`range() of more than ${MAX_RANGE} numbers`);
  return result;
}

/** The pairs that Python's dict(…) takes. */
function pairs(runtime: Runtime, name: string, positional: readonly Value[], named: Named): [Value, Value][] {
  if (positional.length > 1) throw fail(`${name}() takes at most 1 positional argument`);
  const [source] = positional;
  const result: [Value, Value][] = [];
  if (source instanceof Dict) {
    for (const [key, value] of source.entries) result.push([key, value]);
  } else if (source !== undefined) {
    for (const pair of iterate(runtime.meter, source)) {
      const both = toArray(runtime.meter, pair);
      if (both.length !== 2) throw fail(`${name}() needs pairs`);
      result.push([both[0]!, both[1]!]);
    }
  }
  for (const [key, value] of named) result.push([new Str(key), value]);
  runtime.meter.elements(4 * result.length);
  return result;
}

function namespace(runtime: Runtime, positional: readonly Value[], named: Named): Namespace {
  const result = new Namespace();
  for (const [key, value] of pairs(runtime, "namespace", positional, named)) {
    if (!(key instanceof Str)) throw refuse("a namespace with keys that are no strings");
    result.fields.set(key.text, value);
  }
  return result;
}

class Joiner extends Callable {
  #used = false;

  constructor(private readonly separator: Value) {
    super("joiner");
  }

  call(positional: readonly Value[], named: Named): Value {
    bind("joiner", [], positional, named);
    if (this.#used) return this.separator;
    this.#used = true;
    return new Str("");
  }
}

class Cycler extends Callable {
  #at = 0;

  constructor(private readonly items: readonly Value[]) {
    super("cycler");
  }

  call(): Value {
    throw fail("a cycler is not callable");
  }

  override attribute(name: string): Value | undefined {
    switch (name) {
      case "items":
        return new Tuple(this.items);
      case "pos":
        return this.#at;
      case "current":
        return this.items[this.#at]!;
      case "next":
        return new Builtin("next", (positional, named) => {
          bind("next", [], positional, named);
          const item = this.items[this.#at]!;
          this.#at = (this.#at + 1) % this.items.length;
          return item;
        });
      case "reset":
        return new Builtin("reset", (positional, named) => {
          bind("reset", [], positional, named);
          this.#at = 0;
          return null;
        });
      default:
        return undefined;
    }
  }
}

type Global = (runtime: Runtime, positional: readonly Value[], named: Named) => Value;

const GLOBALS: Readonly<Record<string, Global>> = {
  range: (_, positional, named) => range(positional, named),
  dict: (runtime, positional, named) =>
    new Dict(pairs(runtime, "dict", positional, named), (key) => hashKey(runtime.meter, key)),
  namespace,
  joiner: (_, positional, named) => {
    const [separator = new Str(", ")] = bind("joiner", ["sep"], positional, named);
    return new Joiner(separator);
  },
  cycler: (_, positional, named) => {
    if (named.size > 0 || positional.length === 0)
      throw fail("cycler() needs at least one item, and none by name");
    return new Cycler(positional);
  },
  lipsum: () => {
    throw refuse("lipsum()");
  },
  raise_exception: ({ meter }, positional, named) => {
    const [message] = bind("raise_exception", ["message"], positional, named, { required: 1 });
    throw fail(toStr(meter, message!).text);
  },
  strftime_now: ({ meter, now }, positional, named) => {
    const [format] = bind("strftime_now", ["format"], positional, named, { required: 1 });
    if (!(format instanceof Str)) throw fail(`strftime_now needs a string, not ${typeName(format!)}`);
    meter.characters(40 * format.text.length);
    return format.replaced(strftime(now, format.text));
  },
};

/** The functions that every template has. */
export const makeGlobals = (runtime: Runtime): Map<string, Value> =>
  new Map(
    Object.entries(GLOBALS).map(([name, run]) => [
      name,
      new Builtin(name, (positional, named) => run(runtime, positional, named)),
    ]),
  );
