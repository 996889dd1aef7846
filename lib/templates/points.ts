import { OBJECT, type Meter } from "./meter.js";
import type { Str } from "./text.js";

// Python counts code points, JavaScript UTF-16 units. Both are the same where there are no surrogates, which is looked for first.

const hasPairs = (text: string): boolean => /[\ud800-\udbff]/.test(text);

const isPair = (text: string, at: number): boolean =>
  (text.charCodeAt(at) & 0xfc00) === 0xd800 && (text.charCodeAt(at + 1) & 0xfc00) === 0xdc00;

/** Python's len. */
export function pointCount(meter: Meter, text: string): number {
  meter.scan(text.length);
  if (!hasPairs(text)) return text.length;
  let count = text.length;
  for (let i = 0; i + 1 < text.length; ++i) {
    if (!isPair(text, i)) continue;
    --count;
    ++i;
  }
  return count;
}

/** The offset in UTF-16 units of a code point; the text's length past its end. */
export function offsetOf(meter: Meter, text: string, point: number): number {
  if (point <= 0) return 0;
  meter.scan(text.length);
  if (!hasPairs(text)) return Math.min(point, text.length);
  let at = 0;
  for (; point > 0 && at < text.length; --point) at += isPair(text, at) ? 2 : 1;
  return at;
}

/** The number of code points before an offset in UTF-16 units. */
export const pointAt = (meter: Meter, text: string, offset: number): number =>
  offset < 0 ? -1 : pointCount(meter, text.slice(0, offset));

/** The code points of a string, one piece each. */
export function* points(meter: Meter, source: Str): Generator<Str> {
  const { text } = source;
  for (let at = 0; at < text.length;) {
    const end = at + (isPair(text, at) ? 2 : 1);
    meter.spend(OBJECT);
    yield source.slice(at, end);
    at = end;
  }
}
