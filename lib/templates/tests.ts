import { bind } from "./arguments.js";
import { binary } from "./arithmetic.js";
import { equals, order, textOf } from "./equality.js";
import { fail, refuse } from "./failure.js";
import { FILTERS } from "./filters.js";
import { toStr } from "./printing.js";
import { contains, isIterable } from "./sequences.js";
import { Markup, Str } from "./text.js";
import { typeName } from "./type-names.js";
import { CLASSES } from "./unicode.js";
import {
  Callable,
  Dict,
  Float,
  integerOf,
  List,
  Namespace,
  numberOf,
  OuterInt,
  Range,
  Tuple,
  Undefined,
  type Named,
  type Runtime,
  type Value,
} from "./values.js";

export type Test = (runtime: Runtime, value: Value, positional: readonly Value[], named: Named) => boolean;

const simple =
  (name: string, test: (value: Value, runtime: Runtime) => boolean): Test =>
  (runtime, value, positional, named) => {
    bind(name, [], positional, named);
    return test(value, runtime);
  };

const withOne =
  (name: string, parameter: string, test: (runtime: Runtime, value: Value, other: Value) => boolean): Test =>
  (runtime, value, positional, named) => {
    const [other] = bind(name, [parameter], positional, named, { required: 1 });
    return test(runtime, value, other!);
  };

const rest = ({ meter }: Runtime, value: Value, by: Value): Value => binary(meter, "%", value, by);

const textClass =
  (name: string): Test =>
  (runtime, value, positional, named) => {
    bind(name, [], positional, named);
    const { text } = toStr(runtime.meter, value);
    runtime.meter.scan(text.length);
    return CLASSES.get(`is${name}`)!(text);
  };

function isSame(left: Value, right: Value): boolean {
  if (left === null || typeof left === "boolean" || right === null || typeof right === "boolean")
    return left === right;
  if (
    typeof left !== "object" ||
    typeof right !== "object" ||
    textOf(left) !== undefined ||
    numberOf(left) !== undefined
  )
    throw refuse(`"sameas" with ${typeName(left)}`);
  return left === right;
}

const nameIn =
  (name: string, names: () => ReadonlyMap<string, unknown>): Test =>
  (_, value, positional, named) => {
    bind(name, [], positional, named);
    if (value instanceof List || value instanceof Dict) throw fail(`unhashable type: ${typeName(value)}`);
    return value instanceof Str && names().has(value.text);
  };

const aliases = (names: readonly string[], test: (name: string) => Test): [string, Test][] =>
  names.map((name) => [name, test(name)]);

const equal = withOne("eq", "b", ({ meter }, a, b) => equals(meter, a, b));
const unequal = withOne("ne", "b", ({ meter }, a, b) => !equals(meter, a, b));
const ordered = (name: string, holds: (order: number) => boolean): Test =>
  withOne(name, "b", ({ meter }, a, b) => holds(order(meter, a, b)));

/** jinja2's tests. */
export const TESTS: ReadonlyMap<string, Test> = new Map<string, Test>([
  ["defined", simple("defined", (value) => !(value instanceof Undefined))],
  ["undefined", simple("undefined", (value) => value instanceof Undefined)],
  ["none", simple("none", (value) => value === null)],
  ["boolean", simple("boolean", (value) => typeof value === "boolean")],
  ["true", simple("true", (value) => value === true)],
  ["false", simple("false", (value) => value === false)],
  ["integer", simple("integer", (value) => typeof value === "number" || value instanceof OuterInt)],
  ["float", simple("float", (value) => value instanceof Float)],
  ["number", simple("number", (value) => numberOf(value) !== undefined)],
  ["string", simple("string", (value) => value instanceof Str || value instanceof Markup)],
  ["mapping", simple("mapping", (value) => value instanceof Dict)],
  [
    "sequence",
    simple(
      "sequence",
      (value) =>
        textOf(value) !== undefined ||
        value instanceof List ||
        value instanceof Tuple ||
        value instanceof Dict ||
        value instanceof Range ||
        value instanceof Undefined,
    ),
  ],
  ["iterable", simple("iterable", (value) => isIterable(value))],
  [
    "callable",
    simple("callable", (value) => {
      if (value instanceof Undefined) return true; // it has a __call__, which fails
      return value instanceof Callable && !(value instanceof Namespace);
    }),
  ],
  ["escaped", simple("escaped", (value) => value instanceof Markup)],
  ["lower", textClass("lower")],
  ["upper", textClass("upper")],
  ["odd", simple("odd", (value, runtime) => equals(runtime.meter, rest(runtime, value, 2), 1))],
  ["even", simple("even", (value, runtime) => equals(runtime.meter, rest(runtime, value, 2), 0))],
  [
    "divisibleby",
    withOne(
      "divisibleby",
      "num",
      (runtime, value, by) =>
        integerOf(rest(runtime, value, by)) === 0 || equals(runtime.meter, rest(runtime, value, by), 0),
    ),
  ],
  ["sameas", withOne("sameas", "other", (_, value, other) => isSame(value, other))],
  ["in", withOne("in", "seq", ({ meter }, value, container) => contains(meter, container, value))],
  ["filter", nameIn("filter", () => FILTERS)],
  ["test", nameIn("test", () => TESTS)],
  ...aliases(["==", "eq", "equalto"], () => equal),
  ...aliases(["!=", "ne"], () => unequal),
  ...aliases([">", "gt", "greaterthan"], (name) => ordered(name, (order) => order > 0)),
  ...aliases([">=", "ge"], (name) => ordered(name, (order) => order >= 0)),
  ...aliases(["<", "lt", "lessthan"], (name) => ordered(name, (order) => order < 0)),
  ...aliases(["<=", "le"], (name) => ordered(name, (order) => order <= 0)),
]);
