import { bind, needInteger } from "./arguments.js";
import { binary } from "./arithmetic.js";
import { equals, hashKey, order, truth } from "./equality.js";
import { fail, refuse } from "./failure.js";
import { FILTERS, type Filter } from "./filters.js";
import { attributeOf, getAttribute, getItem, missing } from "./lookup.js";
import { needStr, toStr } from "./printing.js";
import { iterate, needLength, sliceOf, toArray } from "./sequences.js";
import { join, recase } from "./string-methods.js";
import { TESTS } from "./tests.js";
import { Markup, Str } from "./text.js";
import { typeName } from "./type-names.js";
import { lower } from "./unicode.js";
import {
  Dict,
  Group,
  Iter,
  List,
  Range,
  Tuple,
  Undefined,
  View,
  type HashKey,
  type Named,
  type Runtime,
  type Value,
} from "./values.js";

type Getter = (item: Value) => Value;

/** What the argument `attribute` of many filters gets from an item: "a.b.0" is looked up part by part. */
function getter(runtime: Runtime, attribute: Value, caseSensitive: boolean, otherwise: Value = null): Getter {
  const { meter } = runtime;
  const path: Value[] =
    attribute === null
      ? []
      : attribute instanceof Str
        ? attribute.text.split(".").map((part) => (/^[0-9]+$/.test(part) ? Number(part) : new Str(part)))
        : [attribute];
  return (item) => {
    let result = item;
    for (const part of path) {
      result = getItem(meter, result, part);
      if (otherwise !== null && result instanceof Undefined) result = otherwise;
    }
    return caseSensitive ? result : ignoreCase(runtime, result);
  };
}

function ignoreCase({ meter }: Runtime, value: Value): Value {
  if (value instanceof Markup) throw refuse("sorting text marked as safe");
  return value instanceof Str ? recase(meter, value, lower) : value;
}

/** Python's sorted(): stable, in reverse too. */
function sorted(runtime: Runtime, items: readonly Value[], key: Getter, reverse: boolean): Value[] {
  const { meter } = runtime;
  meter.elements(4 * items.length * Math.ceil(Math.log2(items.length + 1)));
  const keyed = items.map((item) => ({ item, key: key(item) }));
  return keyed
    .sort((a, b) => {
      const place = order(meter, a.key, b.key);
      if (Number.isNaN(place)) throw refuse("sorting NaN");
      return reverse ? -place : place;
    })
    .map(({ item }) => item);
}

const hash =
  (runtime: Runtime) =>
  (value: Value): HashKey =>
    hashKey(runtime.meter, value);

function* mapped(
  runtime: Runtime,
  value: Value,
  positional: readonly Value[],
  named: Named,
): Generator<Value> {
  if (!truth(value)) return;
  let apply: Getter;
  if (positional.length === 0 && named.has("attribute")) {
    for (const name of named.keys())
      if (name !== "attribute" && name !== "default") throw fail(`unexpected keyword argument ${name}`);
    apply = getter(runtime, named.get("attribute")!, true, named.get("default") ?? null);
  } else {
    const [name, ...rest] = positional;
    if (name === undefined) throw fail("map requires a filter argument");
    const filter = name instanceof Str ? FILTERS.get(name.text) : undefined;
    if (filter === undefined) throw fail(`no filter named ${toStr(runtime.meter, name).text.slice(0, 40)}`);
    apply = (item) => filter(runtime, item, rest, named);
  }
  for (const item of iterate(runtime.meter, value)) yield apply(item);
}

function* selected(
  runtime: Runtime,
  value: Value,
  positional: readonly Value[],
  named: Named,
  wanted: boolean,
  byAttribute: boolean,
): Generator<Value> {
  if (!truth(value)) return;
  let args = positional;
  let look: Getter = (item) => item;
  if (byAttribute) {
    if (args.length === 0) throw fail("missing parameter for attribute name");
    look = getter(runtime, args[0]!, true);
    args = args.slice(1);
  }
  let holds: (item: Value) => boolean = truth;
  const [name, ...rest] = args;
  if (name !== undefined) {
    const test = name instanceof Str ? TESTS.get(name.text) : undefined;
    if (test === undefined) throw fail(`no test named ${toStr(runtime.meter, name).text.slice(0, 40)}`);
    holds = (item) => test(runtime, item, rest, named);
  }
  for (const item of iterate(runtime.meter, value)) if (holds(look(item)) === wanted) yield item;
}

const selector =
  (wanted: boolean, byAttribute: boolean): Filter =>
  (runtime, value, positional, named) =>
    new Iter("generator", selected(runtime, value, positional, named, wanted, byAttribute));

const SENSITIVE = ["case_sensitive", "attribute"];

const extreme =
  (name: string, better: (order: number) => boolean): Filter =>
  (runtime, value, positional, named) => {
    const [sensitive = false, attribute = null] = bind(name, SENSITIVE, positional, named);
    const key = getter(runtime, attribute, truth(sensitive));
    let best: { item: Value; key: Value } | null = null;
    for (const item of iterate(runtime.meter, value)) {
      const candidate = { item, key: key(item) };
      if (best === null || better(order(runtime.meter, candidate.key, best.key))) best = candidate;
    }
    return best === null ? new Undefined("No aggregated item, sequence was empty.") : best.item;
  };

/** Python's reversed(); undefined for what cannot be reversed. */
function reversed(runtime: Runtime, value: Value): Value[] | undefined {
  const known =
    value instanceof List ||
    value instanceof Tuple ||
    value instanceof Range ||
    value instanceof Dict ||
    value instanceof View ||
    value instanceof Undefined ||
    value instanceof Str;
  return known ? toArray(runtime.meter, value).reverse() : undefined;
}

function* inBatches(runtime: Runtime, value: Value, size: Value, fill: Value): Generator<Value> {
  let batch: Value[] = [];
  for (const item of iterate(runtime.meter, value)) {
    if (equals(runtime.meter, batch.length, size)) {
      runtime.meter.elements(8);
      yield new List(batch);
      batch = [];
    }
    batch.push(item);
  }
  if (batch.length === 0) return;
  if (fill !== null) {
    const missing = Math.max(0, needInteger(size, "linecount") - batch.length);
    runtime.meter.elements(missing);
    for (let i = 0; i < missing; ++i) batch.push(fill);
  }
  yield new List(batch);
}

function* inSlices(runtime: Runtime, value: Value, count: Value, fill: Value): Generator<Value> {
  const items = toArray(runtime.meter, value);
  const slices = needInteger(count, "slices");
  if (slices === 0) throw fail("integer division or modulo by zero");
  const each = Math.floor(items.length / slices);
  const longer = slices > 0 ? items.length % slices : 0;
  let start = 0;
  for (let i = 0; i < slices; ++i) {
    const end = start + each + (i < longer ? 1 : 0);
    runtime.meter.elements(10 + end - start);
    const slice = items.slice(start, end);
    if (fill !== null && i >= longer) slice.push(fill);
    yield new List(slice);
    start = end;
  }
}

function* unique(runtime: Runtime, value: Value, key: Getter): Generator<Value> {
  const seen = new Set<HashKey>();
  for (const item of iterate(runtime.meter, value)) {
    const one = key(item);
    if (one instanceof Tuple) throw refuse("unique with tuples");
    runtime.meter.elements(4);
    const hashed = hash(runtime)(one);
    if (seen.has(hashed)) continue;
    seen.add(hashed);
    yield item;
  }
}

function groups(runtime: Runtime, value: Value, bound: readonly (Value | undefined)[]): List {
  const [attribute, otherwise = null, sensitive = false] = bound;
  const key = getter(runtime, attribute!, truth(sensitive), otherwise);
  const name = getter(runtime, attribute!, true, otherwise);
  const result: Group[] = [];
  let last: { key: Value; items: Value[] } | null = null;
  for (const item of sorted(runtime, toArray(runtime.meter, value), key, false)) {
    const own = key(item);
    if (last === null || !equals(runtime.meter, last.key, own)) {
      last = { key: own, items: [] };
      result.push(new Group(name(item), new List(last.items)));
    }
    last.items.push(item);
  }
  return new List(result);
}

export const LIST_FILTERS: readonly (readonly [string, Filter])[] = [
  [
    "map",
    (runtime, value, positional, named) => new Iter("generator", mapped(runtime, value, positional, named)),
  ],
  ["select", selector(true, false)],
  ["reject", selector(false, false)],
  ["selectattr", selector(true, true)],
  ["rejectattr", selector(false, true)],
  ["min", extreme("min", (place) => place < 0)],
  ["max", extreme("max", (place) => place > 0)],
  ...["length", "count"].map((name): [string, Filter] => [
    name,
    ({ meter }, value, positional, named) => {
      bind(name, [], positional, named);
      return needLength(meter, value);
    },
  ]),
  [
    "list",
    ({ meter }, value, positional, named) => {
      bind("list", [], positional, named);
      return new List(toArray(meter, value));
    },
  ],
  [
    "first",
    ({ meter }, value, positional, named) => {
      bind("first", [], positional, named);
      const step = iterate(meter, value).next();
      return step.done ? new Undefined("No first item, sequence was empty.") : step.value;
    },
  ],
  [
    "last",
    (runtime, value, positional, named) => {
      bind("last", [], positional, named);
      const items = reversed(runtime, value);
      if (items === undefined) throw fail(`${typeName(value)} is not reversible`);
      return items.length === 0 ? new Undefined("No last item, sequence was empty.") : items[0]!;
    },
  ],
  [
    "reverse",
    (runtime, value, positional, named) => {
      bind("reverse", [], positional, named);
      if (value instanceof Str) return sliceOf(runtime.meter, value, [null, null, -1]);
      const items = reversed(runtime, value);
      if (items !== undefined) return new Iter("reversed", items.values());
      return new List(toArray(runtime.meter, value).reverse());
    },
  ],
  [
    "join",
    (runtime, value, positional, named) => {
      const { meter } = runtime;
      const [separator = new Str(""), attribute = null] = bind("join", ["d", "attribute"], positional, named);
      const look = getter(runtime, attribute, true);
      return join(meter, toStr(meter, separator), iterate(meter, value), (item) => toStr(meter, look(item)));
    },
  ],
  [
    "sort",
    (runtime, value, positional, named) => {
      const parameters = ["reverse", "case_sensitive", "attribute"];
      const [reverse = false, sensitive = false, attribute = null] = bind(
        "sort",
        parameters,
        positional,
        named,
      );
      const paths =
        attribute instanceof Str ? attribute.text.split(",").map((path) => new Str(path)) : [attribute];
      const looks = paths.map((path) => getter(runtime, path, truth(sensitive)));
      const key: Getter = (item) => new List(looks.map((look) => look(item)));
      return new List(sorted(runtime, toArray(runtime.meter, value), key, truth(reverse)));
    },
  ],
  [
    "dictsort",
    (runtime, value, positional, named) => {
      const parameters = ["case_sensitive", "by", "reverse"];
      const [sensitive = false, by = new Str("key"), reverse = false] = bind(
        "dictsort",
        parameters,
        positional,
        named,
      );
      const which = needStr(by, "by").text;
      if (which !== "key" && which !== "value") throw fail('dictsort sorts by "key" or "value"');
      if (value instanceof Undefined) throw value.failure();
      if (!(value instanceof Dict)) throw fail(`dictsort needs a dict, not ${typeName(value)}`);
      const items = value.entries.map((entry) => new Tuple(entry));
      const place = which === "key" ? 0 : 1;
      const key: Getter = (item) => {
        const one = (item as Tuple).items[place]!;
        return truth(sensitive) ? one : ignoreCase(runtime, one);
      };
      return new List(sorted(runtime, items, key, truth(reverse)));
    },
  ],
  [
    "unique",
    (runtime, value, positional, named) => {
      const [sensitive = false, attribute = null] = bind("unique", SENSITIVE, positional, named);
      return new Iter("generator", unique(runtime, value, getter(runtime, attribute, truth(sensitive))));
    },
  ],
  [
    "groupby",
    (runtime, value, positional, named) => {
      const parameters = ["attribute", "default", "case_sensitive"];
      return groups(runtime, value, bind("groupby", parameters, positional, named, { required: 1 }));
    },
  ],
  [
    "batch",
    (runtime, value, positional, named) => {
      const [size, fill = null] = bind("batch", ["linecount", "fill_with"], positional, named, {
        required: 1,
      });
      return new Iter("generator", inBatches(runtime, value, size!, fill));
    },
  ],
  [
    "slice",
    (runtime, value, positional, named) => {
      const [count, fill = null] = bind("slice", ["slices", "fill_with"], positional, named, { required: 1 });
      return new Iter("generator", inSlices(runtime, value, count!, fill));
    },
  ],
  [
    "items",
    (runtime, value, positional, named) => {
      bind("items", [], positional, named);
      const steps = function* (): Generator<Value> {
        if (value instanceof Undefined) return;
        if (!(value instanceof Dict)) throw fail("can only get item pairs from a mapping");
        yield* iterate(runtime.meter, new View(value, "dict_items"));
      };
      return new Iter("generator", steps());
    },
  ],
  [
    "sum",
    (runtime, value, positional, named) => {
      const [attribute = null, start = 0] = bind("sum", ["attribute", "start"], positional, named);
      if (start instanceof Str) throw fail("sum() cannot sum strings");
      const look = getter(runtime, attribute, true);
      let total: Value = start;
      for (const item of iterate(runtime.meter, value)) total = binary(runtime.meter, "+", total, look(item));
      return total;
    },
  ],
  [
    "attr",
    ({ meter }, value, positional, named) => {
      const [name] = bind("attr", ["name"], positional, named, { required: 1 });
      const { text } = needStr(name!, "attr");
      return attributeOf(meter, value, text) === undefined
        ? missing(value, text)
        : getAttribute(meter, value, text);
    },
  ],
];
