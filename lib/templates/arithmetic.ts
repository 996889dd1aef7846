import { fail, refuse } from "./failure.js";
import { Parts } from "./input.js";
import type { Meter } from "./meter.js";
import type { BinaryOperator } from "./nodes.js";
import { formatPercent } from "./percent-format.js";
import { concat, EMPTY, Markup, Str, TextBuilder } from "./text.js";
import { typeName } from "./type-names.js";
import { Float, integer, integerOf, List, numberOf, Tuple, Undefined, type Value } from "./values.js";

/** Python's `left operator right`. */
export function binary(meter: Meter, operator: BinaryOperator, left: Value, right: Value): Value {
  const [a, b] = [numberOf(left), numberOf(right)];
  if (a !== undefined && b !== undefined)
    return left instanceof Float || right instanceof Float || operator === "/"
      ? new Float(floats(operator, a, b))
      : integers(operator, a, b);
  if (operator === "%" && left instanceof Str) return formatPercent(meter, left, right);
  for (const side of [left, right]) {
    if (side instanceof Undefined) throw side.failure();
    if (side instanceof Markup) throw refuse(`"${operator}" with text marked as safe`);
    if (side instanceof Parts && (left instanceof Str || right instanceof Str)) throw side.refusal();
  }
  if (operator === "+") {
    if (left instanceof Str && right instanceof Str) return concat(meter, left, right);
    if (left instanceof List && right instanceof List)
      return new List(joined(meter, left.items, right.items));
    if (left instanceof Tuple && right instanceof Tuple)
      return new Tuple(joined(meter, left.items, right.items));
  }
  if (operator === "*") {
    const repeated = repeat(meter, left, integerOf(right)) ?? repeat(meter, right, integerOf(left));
    if (repeated !== undefined) return repeated;
  }
  throw fail(`unsupported operand types for ${operator}: ${typeName(left)} and ${typeName(right)}`);
}

function joined(meter: Meter, left: readonly Value[], right: readonly Value[]): Value[] {
  meter.elements(left.length + right.length);
  return left.concat(right);
}

function repeat(meter: Meter, value: Value, count: number | undefined): Value | undefined {
  if (count === undefined) return undefined;
  const times = Math.max(0, count);
  if (value instanceof Str) {
    const { length } = value.text;
    if (times === 0 || length === 0) return EMPTY;
    meter.characters(length * times);
    if (!value.mixed) return new Str(value.text.repeat(times));
    const builder = new TextBuilder(meter);
    for (let i = 0; i < times; ++i) builder.add(value);
    return builder.finish();
  }
  if (!(value instanceof List || value instanceof Tuple)) return undefined;
  meter.elements(value.items.length * times);
  const items: Value[] = [];
  if (value.items.length > 0)
    for (let i = 0; i < times; ++i) for (const item of value.items) items.push(item);
  return value instanceof List ? new List(items) : new Tuple(items);
}

function integers(operator: BinaryOperator, a: number, b: number): Value {
  switch (operator) {
    case "+":
      return integer(a + b);
    case "-":
      return integer(a - b);
    case "*":
      return integer(a * b);
    case "**":
      return b < 0 ? new Float(floats("**", a, b)) : power(a, b);
    default: {
      if (b === 0) throw fail("integer division or modulo by zero");
      const rest = remainder(a, b);
      if (operator === "%") return integer(rest);
      return integer(Number((BigInt(a) - BigInt(rest)) / BigInt(b)));
    }
  }
}

/** With the sign of the divisor, as Python has it. */
function remainder(a: number, b: number): number {
  const rest = a % b;
  return rest !== 0 && rest < 0 !== b < 0 ? rest + b : rest;
}

function power(base: number, exponent: number): number {
  if (exponent === 0) return 1;
  if (base === 0 || base === 1) return base;
  if (base === -1) return exponent % 2 === 0 ? 1 : -1;
  let result = 1;
  for (let i = 0; i < exponent; ++i) result = integer(result * base); // ends after 53 steps at most
  return result;
}

function floats(operator: BinaryOperator, a: number, b: number): number {
  switch (operator) {
    case "+":
      return a + b;
    case "-":
      return a - b;
    case "*":
      return a * b;
    case "**":
      return floatPower(a, b);
    case "/":
      if (b === 0) throw fail("division by zero");
      return a / b;
    default: {
      if (b === 0) throw fail("float division or modulo by zero");
      let rest = a % b;
      let quotient = (a - rest) / b;
      if (rest !== 0) {
        if (rest < 0 !== b < 0) {
          rest += b;
          quotient -= 1;
        }
      } else {
        rest = b < 0 ? -0 : 0;
      }
      if (operator === "%") return rest;
      if (quotient === 0) return a / b < 0 ? -0 : 0;
      const floor = Math.floor(quotient);
      return quotient - floor > 0.5 ? floor + 1 : floor;
    }
  }
}

function floatPower(a: number, b: number): number {
  if (a === 0 && b < 0) throw fail("0.0 cannot be raised to a negative power");
  if (b === 0 || a === 1) return 1;
  if (a < 0 && !Number.isInteger(b) && Number.isFinite(a) && Number.isFinite(b))
    throw refuse("a complex number");
  const result = a === -1 && !Number.isFinite(b) && !Number.isNaN(b) ? 1 : a ** b;
  if (!Number.isFinite(result) && Number.isFinite(a) && Number.isFinite(b)) throw fail("result too large");
  return result;
}

/** `-value` and `+value`. */
export function signed(value: Value, sign: 1 | -1): Value {
  if (value instanceof Float) return new Float(sign * value.value);
  const number = integerOf(value);
  if (number !== undefined) return integer(sign * number);
  if (value instanceof Undefined) throw value.failure();
  throw fail(`bad operand type for a sign: ${typeName(value)}`);
}
