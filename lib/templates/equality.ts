import { fail, refuse } from "./failure.js";
import { ELEMENT, type Meter } from "./meter.js";
import { Markup, Str } from "./text.js";
import { typeName } from "./type-names.js";
import {
  Callable,
  Dict,
  Float,
  Iter,
  List,
  Namespace,
  numberOf,
  Range,
  Tuple,
  Undefined,
  View,
  type HashKey,
  type Value,
} from "./values.js";

const UNDEFINED = Symbol("undefined");

/** The text of a string, marked or not; undefined for anything else. */
export const textOf = (value: Value): string | undefined =>
  value instanceof Str ? value.text : value instanceof Markup ? value.str.text : undefined;

/** Under which a value is found in a dict: equal values have equal keys. For a tuple, a text that stands for all of it. */
export function hashKey(meter: Meter, value: Value): HashKey {
  const text = textOf(value);
  if (text !== undefined) return text;
  if (value === null) return null;
  const number = numberOf(value);
  if (number !== undefined) {
    if (Number.isNaN(number)) throw refuse("NaN as a key");
    return number;
  }
  if (value instanceof Undefined) return UNDEFINED;
  if (value instanceof Tuple) {
    meter.elements(value.items.length);
    meter.enter();
    const parts = value.items.map((item) => {
      const key = hashKey(meter, item);
      if (typeof key === "object" && key !== null) throw refuse(`${typeName(item)} in a tuple as a key`);
      if (typeof key === "string") meter.characters(key.length);
      if (item instanceof Tuple) return `(${key as string})`;
      return typeof key === "string" ? JSON.stringify(key) : String(key);
    });
    meter.leave();
    return parts.join();
  }
  if (value instanceof Namespace || value instanceof Callable || value instanceof Iter) return value;
  if (value instanceof Range) throw refuse("a range as a key");
  throw fail(`unhashable type: ${typeName(value)}`);
}

/** Python's `==`. */
export function equals(meter: Meter, left: Value, right: Value): boolean {
  meter.spend(ELEMENT);
  if (left === right) return !(left instanceof Float && Number.isNaN(left.value));
  const text = textOf(left);
  if (text !== undefined) {
    const other = textOf(right);
    if (other === undefined || other.length !== text.length) return false;
    meter.scan(text.length);
    return text === other;
  }
  const number = numberOf(left);
  if (number !== undefined) return number === numberOf(right);
  if (left instanceof Undefined) return right instanceof Undefined;
  if ((left instanceof List && right instanceof List) || (left instanceof Tuple && right instanceof Tuple))
    return allEqual(meter, left.items, right.items);
  if (left instanceof Dict && right instanceof Dict) return dictsEqual(meter, left, right);
  if (left instanceof Range && right instanceof Range)
    return (
      left.length === right.length &&
      (left.length === 0 || (left.start === right.start && (left.length === 1 || left.step === right.step)))
    );
  if (left instanceof View && right instanceof View && left.kind !== "dict_values")
    throw refuse(`comparing ${left.kind}`);
  return false;
}

function allEqual(meter: Meter, left: readonly Value[], right: readonly Value[]): boolean {
  if (left.length !== right.length) return false;
  meter.enter();
  meter.elements(left.length);
  const equal = left.every((item, i) => item === right[i] || equals(meter, item, right[i]!));
  meter.leave();
  return equal;
}

function dictsEqual(meter: Meter, left: Dict, right: Dict): boolean {
  if (left.entries.length !== right.entries.length) return false;
  meter.enter();
  meter.elements(left.entries.length);
  const equal = left.entries.every(([key, value]) => {
    const other = right.get(key, (one) => hashKey(meter, one));
    return other !== undefined && (value === other || equals(meter, value, other));
  });
  meter.leave();
  return equal;
}

/** Below 0 where `left` comes first, above 0 where `right` does, 0 where they are equal, NaN where neither. */
export function order(meter: Meter, left: Value, right: Value): number {
  const [leftText, rightText] = [textOf(left), textOf(right)];
  if (leftText !== undefined && rightText !== undefined) return orderTexts(meter, leftText, rightText);
  const [a, b] = [numberOf(left), numberOf(right)];
  if (a !== undefined && b !== undefined) return a < b ? -1 : a > b ? 1 : a === b ? 0 : NaN;
  for (const side of [left, right]) if (side instanceof Undefined) throw side.failure();
  if ((left instanceof List && right instanceof List) || (left instanceof Tuple && right instanceof Tuple)) {
    meter.enter();
    const length = Math.min(left.items.length, right.items.length);
    meter.elements(length);
    let at = 0;
    while (at < length && equals(meter, left.items[at]!, right.items[at]!)) ++at;
    const result =
      at < length ? order(meter, left.items[at]!, right.items[at]!) : left.items.length - right.items.length;
    meter.leave();
    return result;
  }
  throw fail(`${typeName(left)} and ${typeName(right)} have no order`);
}

/** By code points: UTF-16 units sort surrogates before U+E000. */
function orderTexts(meter: Meter, left: string, right: string): number {
  meter.scan(Math.min(left.length, right.length));
  if (left === right) return 0;
  if (!/[\ud800-\uffff]/.test(left) || !/[\ud800-\uffff]/.test(right)) return left < right ? -1 : 1;
  let at = 0;
  while (at < left.length && at < right.length && left[at] === right[at]) ++at;
  if (at === left.length || at === right.length) return left.length - right.length;
  const rank = (unit: number): number =>
    unit >= 0xe000 ? unit - 0x2000 : unit >= 0xd800 ? unit + 0x2000 : unit;
  return rank(left.charCodeAt(at)) - rank(right.charCodeAt(at));
}

/** Python's bool(). */
export function truth(value: Value): boolean {
  if (value === null || value instanceof Undefined) return false;
  const number = numberOf(value);
  if (number !== undefined) return number !== 0;
  const text = textOf(value);
  if (text !== undefined) return text !== "";
  if (value instanceof List || value instanceof Tuple) return value.items.length > 0;
  if (value instanceof Dict) return value.entries.length > 0;
  if (value instanceof View) return value.dict.entries.length > 0;
  return value instanceof Range ? value.length > 0 : true;
}
