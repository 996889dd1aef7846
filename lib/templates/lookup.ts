import { bind, needInteger } from "./arguments.js";
import { equals, hashKey } from "./equality.js";
import { fail, refuse } from "./failure.js";
import type { Meter } from "./meter.js";
import { elementAt, iterate } from "./sequences.js";
import { STRING_METHODS } from "./string-methods.js";
import { Markup, Str } from "./text.js";
import { typeName } from "./type-names.js";
import {
  Builtin,
  Callable,
  Dict,
  Group,
  integerOf,
  Iter,
  List,
  Namespace,
  numberOf,
  Range,
  Tuple,
  Undefined,
  View,
  type Named,
  type Value,
} from "./values.js";

type Method<T> = (meter: Meter, self: T, positional: readonly Value[], named: Named) => Value;

const BY_POSITION = { byPosition: true };

const COUNT: [string, Method<List | Tuple>] = [
  "count",
  (meter, self, positional, named) => {
    const [item] = bind("count", ["value"], positional, named, { required: 1, ...BY_POSITION });
    let found = 0;
    for (const element of iterate(meter, self)) if (equals(meter, element, item!)) ++found;
    return found;
  },
];
const INDEX: [string, Method<List | Tuple>] = [
  "index",
  (meter, self, positional, named) => {
    const [item, start = 0, stop] = bind("index", ["value", "start", "stop"], positional, named, {
      required: 1,
      ...BY_POSITION,
    });
    const { length } = self.items;
    const clamp = (value: Value): number => {
      const at = needInteger(value, "an index");
      return Math.max(0, at < 0 ? at + length : at);
    };
    const end = Math.min(length, stop === undefined ? length : clamp(stop));
    for (let i = clamp(start); i < end; ++i) {
      meter.elements(1);
      if (equals(meter, self.items[i]!, item!)) return i;
    }
    throw fail("the value is not in the list");
  },
];
const TUPLE_METHODS = new Map([COUNT, INDEX]);
const LIST_METHODS = new Map<string, Method<List>>([
  COUNT,
  INDEX,
  [
    "copy",
    (meter, self, positional, named) => {
      bind("copy", [], positional, named);
      meter.elements(self.items.length);
      return new List(self.items);
    },
  ],
]);

const view =
  (name: string, kind: View["kind"]): Method<Dict> =>
  (_, self, positional, named) => {
    bind(name, [], positional, named);
    return new View(self, kind);
  };

const DICT_METHODS = new Map<string, Method<Dict>>([
  ["keys", view("keys", "dict_keys")],
  ["values", view("values", "dict_values")],
  ["items", view("items", "dict_items")],
  [
    "get",
    (meter, self, positional, named) => {
      const [key, otherwise = null] = bind("get", ["key", "default"], positional, named, {
        required: 1,
        ...BY_POSITION,
      });
      const item = self.get(key!, (one) => hashKey(meter, one));
      return item === undefined ? otherwise : item;
    },
  ],
  [
    "copy",
    (_, self, positional, named) => {
      bind("copy", [], positional, named);
      return self;
    },
  ],
]);

const words = (list: string): ReadonlySet<string> => new Set(list.split(" "));

/** Attributes that every object of Python has; the sandbox hands none of them out. */
const HIDDEN = words(
  "__class__ __delattr__ __dir__ __doc__ __eq__ __format__ __ge__ __getattribute__ __getstate__ __gt__ __hash__ __init__ __init_subclass__ __le__ __lt__ __ne__ __new__ __reduce__ __reduce_ex__ __repr__ __setattr__ __sizeof__ __str__ __subclasshook__",
);
const HIDDEN_OF_SEQUENCES = words("__contains__ __getitem__ __iter__ __len__");
const HIDDEN_OF_STR = words("__add__ __getnewargs__ __mod__ __mul__ __rmod__ __rmul__");
const HIDDEN_OF_TUPLE = words("__add__ __class_getitem__ __getnewargs__ __mul__ __rmul__");
const HIDDEN_OF_LIST = words(
  "__add__ __class_getitem__ __delitem__ __iadd__ __imul__ __mul__ __reversed__ __rmul__ __setitem__",
);
const HIDDEN_OF_DICT = words("__class_getitem__ __delitem__ __ior__ __or__ __reversed__ __ror__ __setitem__");

/** Methods that would change a list or dict: the sandbox treats them as undefined. */
const CHANGES_LIST = words("append clear extend insert pop remove reverse sort");
const CHANGES_DICT = words("clear pop popitem setdefault update");

/** Attributes of numbers and others that no template needs. */
const ATTRIBUTES_OF_NUMBERS = words(
  "as_integer_ratio bit_count bit_length conjugate denominator from_bytes fromhex hex imag is_integer numerator real to_bytes",
);

/**
 * Python's getattr() as the sandbox allows it: undefined where there is no such attribute, an `Undefined` where it is not allowed.
 */
export function attributeOf(meter: Meter, value: Value, name: string): Value | undefined {
  if (value instanceof Undefined) throw value.failure();
  if (value instanceof Callable) {
    if (name.startsWith("_")) throw refuse(`the attribute "${name.slice(0, 40)}"`);
    return value.attribute(name);
  }
  if (value instanceof Namespace) return name === "__class__" ? unsafe(value, name) : value.fields.get(name);
  if (value instanceof Markup || value instanceof Iter)
    throw refuse(`the attribute "${name.slice(0, 40)}" of ${typeName(value)}`);
  if (name.startsWith("_")) return isHidden(value, name) ? unsafe(value, name) : undefined;
  if (value instanceof Dict) {
    if (CHANGES_DICT.has(name)) return unsafe(value, name);
    if (name === "fromkeys") throw refuse("dict.fromkeys");
    return method(meter, value, name, DICT_METHODS);
  }
  if (value instanceof Str) return method(meter, value, name, STRING_METHODS);
  if (value instanceof List)
    return CHANGES_LIST.has(name) ? unsafe(value, name) : method(meter, value, name, LIST_METHODS);
  if (value instanceof Group && (name === "grouper" || name === "list")) return value[name];
  if (value instanceof Tuple) return method(meter, value, name, TUPLE_METHODS);
  if (value instanceof Range) {
    if (name === "start" || name === "stop" || name === "step") return value[name];
    if (name === "count" || name === "index") throw refuse(`range.${name}`);
    return undefined;
  }
  if (numberOf(value) !== undefined && ATTRIBUTES_OF_NUMBERS.has(name))
    throw refuse(`the attribute "${name}"`);
  if (value instanceof View && (name === "mapping" || name === "isdisjoint"))
    throw refuse(`the attribute "${name}"`);
  return undefined;
}

function method<T extends Value>(
  meter: Meter,
  self: T,
  name: string,
  methods: ReadonlyMap<string, Method<T>>,
): Builtin | undefined {
  const run = methods.get(name);
  return run && new Builtin(name, (positional, named) => run(meter, self, positional, named));
}

const unsafe = (value: Value, name: string): Undefined =>
  new Undefined(`access to attribute '${name.slice(0, 40)}' of '${typeName(value)}' object is unsafe.`);

function isHidden(value: Value, name: string): boolean {
  if (HIDDEN.has(name)) return true;
  if (value instanceof Str) return HIDDEN_OF_SEQUENCES.has(name) || HIDDEN_OF_STR.has(name);
  if (value instanceof Tuple) return HIDDEN_OF_SEQUENCES.has(name) || HIDDEN_OF_TUPLE.has(name);
  if (value instanceof List) return HIDDEN_OF_SEQUENCES.has(name) || HIDDEN_OF_LIST.has(name);
  if (value instanceof Dict) return HIDDEN_OF_SEQUENCES.has(name) || HIDDEN_OF_DICT.has(name);
  // Numbers, None, ranges and views: whatever it is, it may not be had.
  return name.startsWith("__") && name.endsWith("__");
}

export const missing = (value: Value, name: string): Undefined =>
  new Undefined(`'${typeName(value)} object' has no attribute '${name.slice(0, 40)}'`);

/** `value.name`: an attribute first, then an item. */
export function getAttribute(meter: Meter, value: Value, name: string): Value {
  const attribute = attributeOf(meter, value, name);
  if (attribute !== undefined) return attribute;
  const item = value instanceof Dict ? value.getText(name) : undefined;
  return item === undefined ? missing(value, name) : item; // None is an item, too
}

/** `value[key]`: an item first, then an attribute. */
export function getItem(meter: Meter, value: Value, key: Value): Value {
  if (value instanceof Undefined) throw value.failure();
  if (value instanceof Dict) {
    const hashable = !(key instanceof List || key instanceof Dict || key instanceof View);
    const item = hashable ? value.get(key, (one) => hashKey(meter, one)) : undefined;
    if (item !== undefined) return item;
  } else if (
    value instanceof Str ||
    value instanceof List ||
    value instanceof Tuple ||
    value instanceof Range
  ) {
    const index = integerOf(key);
    const item = index === undefined ? undefined : elementAt(meter, value, index);
    if (item !== undefined) return item;
  } else if (value instanceof Callable || value instanceof Markup || value instanceof Iter) {
    throw refuse(`an item of ${typeName(value)}`);
  }
  if (key instanceof Str) {
    const attribute = attributeOf(meter, value, key.text);
    return attribute === undefined ? missing(value, key.text) : attribute;
  }
  if (key instanceof Markup) throw refuse("text marked as safe as a key");
  const shown = typeof key === "number" ? ` ${key}` : "";
  return new Undefined(`${typeName(value)} object has no element${shown}`);
}
