import { binary, signed } from "./arithmetic.js";
import { equals, hashKey, order, truth } from "./equality.js";
import { fail, refuse } from "./failure.js";
import { FILTERS } from "./filters.js";
import { getAttribute, getItem } from "./lookup.js";
import { NODE, type Meter } from "./meter.js";
import type { Arguments, Comparison, Expression, ExpressionOf, Load } from "./nodes.js";
import { toStr } from "./printing.js";
import { contains, sliceOf, toArray } from "./sequences.js";
import { Str, TextBuilder } from "./text.js";
import { TESTS } from "./tests.js";
import { typeName } from "./type-names.js";
import {
  Callable,
  Dict,
  List,
  NO_NAMED,
  Tuple,
  Undefined,
  type Named,
  type Runtime,
  type Value,
} from "./values.js";

/** A name without a value. */
export const MISSING = Symbol("missing");

/** The names of one scope, and the scope around it. */
export interface Frame {
  readonly names: Map<string, Value | typeof MISSING>;
  readonly around: Frame | null;
}

export function lookUp(frame: Frame | null, name: string): Value | typeof MISSING {
  for (let scope = frame; scope !== null; scope = scope.around) {
    const value = scope.names.get(name);
    if (value !== undefined) return value;
  }
  throw fail(`the name "${name.slice(0, 40)}" cannot be used here`);
}

/** Expressions. */
export class Evaluator implements Runtime {
  /** Variables and functions, and what the template itself has set outside of loops and macros. */
  readonly variables: Map<string, Value>;

  constructor(
    readonly meter: Meter,
    readonly now: Date,
    variables: Map<string, Value>,
  ) {
    this.variables = variables;
  }

  enterFrame(around: Frame | null, loads: readonly Load[]): Frame {
    const frame: Frame = { names: new Map(), around };
    this.meter.spend(64);
    for (const [name, how] of loads) {
      if (how === "missing") frame.names.set(name, MISSING);
      else if (how === "alias") frame.names.set(name, lookUp(around, name));
      else frame.names.set(name, this.variables.has(name) ? this.variables.get(name)! : MISSING);
    }
    this.meter.elements(loads.length);
    return frame;
  }

  evaluate(node: Expression, frame: Frame): Value {
    this.meter.spend(NODE);
    switch (node.kind) {
      case "constant":
        return node.value;
      case "name": {
        const value = lookUp(frame, node.name);
        return value === MISSING ? new Undefined(`'${node.name.slice(0, 40)}' is undefined`) : value;
      }
      case "attribute":
        return getAttribute(this.meter, this.evaluate(node.object, frame), node.name);
      case "item": {
        const object = this.evaluate(node.object, frame);
        return getItem(this.meter, object, this.evaluate(node.key, frame));
      }
      case "concat":
        return this.#concat(node, frame);
      case "compare":
        return this.#compare(node, frame);
      case "binary": {
        const left = this.evaluate(node.left, frame);
        return binary(this.meter, node.operator, left, this.evaluate(node.right, frame));
      }
      case "and": {
        const left = this.evaluate(node.left, frame);
        return truth(left) ? this.evaluate(node.right, frame) : left;
      }
      case "or": {
        const left = this.evaluate(node.left, frame);
        return truth(left) ? left : this.evaluate(node.right, frame);
      }
      case "not":
        return !truth(this.evaluate(node.operand, frame));
      case "condition":
        if (truth(this.evaluate(node.test, frame))) return this.evaluate(node.then, frame);
        if (node.otherwise !== null) return this.evaluate(node.otherwise, frame);
        return new Undefined("the inline if-expression evaluated to false and no else section was defined.");
      case "filter":
        if (node.operand === null) throw refuse("a filter without a value");
        return this.filter(node, this.evaluate(node.operand, frame), frame);
      case "test":
        return this.#test(node, frame);
      case "call": {
        const callee = this.evaluate(node.callee, frame);
        return this.call(callee, node.args, frame);
      }
      default:
        return this.#rare(node, frame);
    }
  }

  #rare(
    node: ExpressionOf<"list" | "tuple" | "dict" | "negative" | "positive" | "slice">,
    frame: Frame,
  ): Value {
    switch (node.kind) {
      case "list":
      case "tuple": {
        this.meter.elements(node.items.length + 2);
        const items = node.items.map((item) => this.evaluate(item, frame));
        return node.kind === "list" ? new List(items) : new Tuple(items);
      }
      case "dict": {
        this.meter.elements(8 * node.pairs.length + 8);
        const pairs = node.pairs.map(
          ([key, value]) => [this.evaluate(key, frame), this.evaluate(value, frame)] as const,
        );
        return new Dict(pairs, (key) => hashKey(this.meter, key));
      }
      case "negative":
        return signed(this.evaluate(node.operand, frame), -1);
      case "positive":
        return signed(this.evaluate(node.operand, frame), 1);
      case "slice": {
        const object = this.evaluate(node.object, frame);
        const [start, stop, step] = node.bounds.map((bound) =>
          bound === null ? null : this.evaluate(bound, frame),
        );
        return sliceOf(this.meter, object, [start!, stop!, step!]);
      }
    }
  }

  #concat(node: ExpressionOf<"concat">, frame: Frame): Str {
    const values = node.parts.map((part) => this.evaluate(part, frame));
    const builder = new TextBuilder(this.meter);
    for (const value of values) builder.add(toStr(this.meter, value));
    return builder.finish();
  }

  /** A chain: `a < b < c` is `a < b and b < c`, with b looked at once. */
  #compare(node: ExpressionOf<"compare">, frame: Frame): boolean {
    let left = this.evaluate(node.first, frame);
    for (const [operator, operand] of node.rest) {
      const right = this.evaluate(operand, frame);
      if (!this.#holds(operator, left, right)) return false;
      left = right;
    }
    return true;
  }

  #holds(operator: Comparison, left: Value, right: Value): boolean {
    const { meter } = this;
    switch (operator) {
      case "==":
        return equals(meter, left, right);
      case "!=":
        return !equals(meter, left, right);
      case "<":
        return order(meter, left, right) < 0;
      case "<=":
        return order(meter, left, right) <= 0;
      case ">":
        return order(meter, left, right) > 0;
      case ">=":
        return order(meter, left, right) >= 0;
      case "in":
        return contains(meter, right, left);
      case "not in":
        return !contains(meter, right, left);
    }
  }

  #test(node: ExpressionOf<"test">, frame: Frame): boolean {
    const test = TESTS.get(node.name);
    if (test === undefined) throw fail(`no test named "${node.name.slice(0, 40)}"`);
    const value = this.evaluate(node.operand, frame);
    const { positional, named } = this.arguments(node.args, frame);
    return test(this, value, positional, named);
  }

  filter(node: ExpressionOf<"filter">, value: Value, frame: Frame): Value {
    const filter = FILTERS.get(node.name);
    if (filter === undefined) throw fail(`no filter named "${node.name.slice(0, 40)}"`);
    const { positional, named } = this.arguments(node.args, frame);
    return filter(this, value, positional, named);
  }

  call(callee: Value, args: Arguments, frame: Frame, more?: readonly [string, Value]): Value {
    const { positional, named } = this.arguments(args, frame);
    if (callee instanceof Undefined) throw callee.failure();
    if (!(callee instanceof Callable)) throw fail(`${typeName(callee)} is not callable`);
    if (more !== undefined && named.has(more[0])) throw fail(`two values for the argument "${more[0]}"`);
    this.meter.enter();
    const result = callee.call(positional, more === undefined ? named : new Map([...named, more]));
    this.meter.leave();
    return result;
  }

  arguments(args: Arguments, frame: Frame): { positional: Value[]; named: Named } {
    const positional = args.positional.map((value) => this.evaluate(value, frame));
    if (args.named.length === 0 && args.list === null && args.dict === null)
      return { positional, named: NO_NAMED };
    const named = new Map<string, Value>();
    for (const [name, value] of args.named) named.set(name, this.evaluate(value, frame));
    if (args.list !== null)
      for (const value of toArray(this.meter, this.evaluate(args.list, frame))) positional.push(value);
    if (args.dict !== null) {
      const more = this.evaluate(args.dict, frame);
      if (!(more instanceof Dict))
        throw fail(`the argument behind ** must be a mapping, not ${typeName(more)}`);
      this.meter.elements(more.entries.length);
      for (const [key, value] of more.entries) {
        if (!(key instanceof Str)) throw fail("keywords must be strings");
        if (named.has(key.text)) throw fail(`two values for the argument "${key.text.slice(0, 40)}"`);
        named.set(key.text, value);
      }
    }
    return { positional, named };
  }
}
