import { equals, hashKey, textOf } from "./equality.js";
import { fail, refuse } from "./failure.js";
import { OBJECT, type Meter } from "./meter.js";
import { offsetOf, pointCount, points } from "./points.js";
import { Finder } from "./search.js";
import { EMPTY, Markup, Str, TextBuilder } from "./text.js";
import { typeName } from "./type-names.js";
import {
  Callable,
  Dict,
  integerOf,
  Iter,
  List,
  Range,
  Tuple,
  Undefined,
  View,
  type Value,
} from "./values.js";

function* indexed(meter: Meter, length: number, at: (index: number) => Value): Generator<Value> {
  for (let i = 0; i < length; ++i) {
    meter.elements(1);
    yield at(i);
  }
}

/** Is there an `iter()` of it? */
export const isIterable = (value: Value): boolean =>
  value instanceof Str ||
  value instanceof Markup ||
  value instanceof List ||
  value instanceof Tuple ||
  value instanceof Dict ||
  value instanceof Range ||
  value instanceof View ||
  value instanceof Iter ||
  value instanceof Undefined ||
  (value instanceof Callable && value.name === "loop");

/** Python's iter(). Each step is metered. */
export function iterate(meter: Meter, value: Value): Iterator<Value> & Iterable<Value> {
  if (value instanceof List || value instanceof Tuple) {
    const { items } = value;
    return indexed(meter, items.length, (i) => items[i]!);
  }
  if (value instanceof Str) return points(meter, value);
  if (value instanceof Dict) return indexed(meter, value.entries.length, (i) => value.entries[i]![0]);
  if (value instanceof Range) return indexed(meter, value.length, (i) => value.at(i));
  if (value instanceof View) return indexed(meter, value.dict.entries.length, (i) => value.at(i));
  if (value instanceof Iter) return remaining(value);
  if (value instanceof Undefined) return indexed(meter, 0, () => null);
  if (value instanceof Markup || value instanceof Callable) throw refuse(`going through ${typeName(value)}`);
  throw fail(`${typeName(value)} is not iterable`);
}

/** What is left of an iterator; leaving it early does not end it. */
function* remaining({ steps }: Iter): Generator<Value> {
  for (let step = steps.next(); !step.done; step = steps.next()) yield step.value;
}

/** Python's list(), as an array that nobody else has. */
export function toArray(meter: Meter, value: Value): Value[] {
  if (value instanceof List || value instanceof Tuple) {
    meter.elements(value.items.length);
    return [...value.items];
  }
  return [...iterate(meter, value)];
}

/** Python's len(); undefined for what has none. */
export function lengthOf(meter: Meter, value: Value): number | undefined {
  const text = textOf(value);
  if (text !== undefined) return pointCount(meter, text);
  if (value instanceof List || value instanceof Tuple) return value.items.length;
  if (value instanceof Dict) return value.entries.length;
  if (value instanceof Range) return value.length;
  if (value instanceof View) return value.dict.entries.length;
  return value instanceof Undefined ? 0 : undefined;
}

export function needLength(meter: Meter, value: Value): number {
  const length = lengthOf(meter, value);
  if (length !== undefined) return length;
  throw value instanceof Callable
    ? refuse(`the length of ${value.name}`)
    : fail(`${typeName(value)} has no length`);
}

/** `sequence[index]`; undefined where it is out of range. */
export function elementAt(meter: Meter, value: Str | List | Tuple | Range, index: number): Value | undefined {
  if (value instanceof Str) {
    const { text } = value;
    const at = index < 0 ? index + pointCount(meter, text) : index;
    const start = at < 0 ? -1 : offsetOf(meter, text, at);
    if (start < 0 || start >= text.length) return undefined;
    meter.spend(OBJECT);
    return value.slice(start, start + (text.codePointAt(start)! > 0xffff ? 2 : 1));
  }
  const length = value instanceof Range ? value.length : value.items.length;
  const at = index < 0 ? index + length : index;
  if (at < 0 || at >= length) return undefined;
  return value instanceof Range ? value.at(at) : value.items[at]!;
}

type Bounds = readonly [start: Value, stop: Value, step: Value];

/** `value[start:stop:step]`; None stands for a bound that is left out. */
export function sliceOf(meter: Meter, value: Value, bounds: Bounds): Value {
  if (value instanceof Undefined) throw value.failure();
  if (value instanceof Str) return sliceText(meter, value, bounds);
  if (value instanceof Range) throw refuse("a slice of a range");
  if (!(value instanceof List || value instanceof Tuple)) throw fail(`${typeName(value)} cannot be sliced`);
  const [start, count, step] = resolved(bounds, value.items.length);
  meter.elements(count);
  const items = Array.from({ length: count }, (_, i) => value.items[start + i * step]!);
  return value instanceof List ? new List(items) : new Tuple(items);
}

function sliceText(meter: Meter, value: Str, bounds: Bounds): Str {
  const { text } = value;
  const length = pointCount(meter, text);
  const [start, count, step] = resolved(bounds, length);
  meter.spend(OBJECT);
  if (count === 0) return EMPTY;
  if (step === 1) {
    const from = offsetOf(meter, text, start);
    return value.slice(from, offsetOf(meter, text, start + count));
  }
  meter.elements(4 * length);
  const pieces = [...points(meter, value)];
  const builder = new TextBuilder(meter);
  for (let i = 0; i < count; ++i) builder.add(pieces[start + i * step]!);
  return builder.finish();
}

/** Where a slice begins, how many elements it has, and how far each is from the one before. */
function resolved(bounds: Bounds, length: number): [start: number, count: number, step: number] {
  const [first, last, by] = bounds.map((bound) => {
    if (bound === null) return null;
    const index = integerOf(bound);
    if (index === undefined) throw fail(`slice indices are integers, not ${typeName(bound)}`);
    return index;
  });
  const step = by ?? 1;
  if (step === 0) throw fail("slice step cannot be zero");
  const [low, high] = step > 0 ? [0, length] : [-1, length - 1];
  const clamp = (index: number | null | undefined, otherwise: number): number =>
    index === null || index === undefined
      ? otherwise
      : Math.min(Math.max(index < 0 ? index + length : index, low), high);
  const start = clamp(first, step > 0 ? low : high);
  const stop = clamp(last, step > 0 ? high : low);
  return [start, Math.max(0, Math.ceil((stop - start) / step)), step];
}

/** Python's `item in container`. */
export function contains(meter: Meter, container: Value, item: Value): boolean {
  if (container instanceof Str) {
    const part = textOf(item);
    if (part === undefined) {
      throw item instanceof Undefined
        ? item.failure()
        : fail(`"in <string>" needs a string, not ${typeName(item)}`);
    }
    return new Finder(meter, part).next(container.text, 0) >= 0;
  }
  if (container instanceof Markup) throw refuse('"in" with text marked as safe');
  if (container instanceof Dict) return container.get(item, (key) => hashKey(meter, key)) !== undefined;
  if (container instanceof View && container.kind === "dict_keys")
    return container.dict.get(item, (key) => hashKey(meter, key)) !== undefined;
  if (container instanceof Range) {
    const number = integerOf(item);
    if (number === undefined) throw refuse('"in" a range with what is no integer');
    const place = (number - container.start) / container.step;
    return Number.isInteger(place) && place >= 0 && place < container.length;
  }
  for (const element of iterate(meter, container))
    if (element === item || equals(meter, element, item)) return true;
  return false;
}
