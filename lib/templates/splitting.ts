import { ELEMENT, OBJECT, type Meter } from "./meter.js";
import { Finder } from "./search.js";
import type { Str } from "./text.js";
import { isSpace, skipSpace, trimmedEnd } from "./whitespace.js";

const PIECE = OBJECT + ELEMENT;

/** Python's split: by a separator, or (null) by runs of white space. `most` cuts, any number where it is negative. */
export function split(meter: Meter, self: Str, separator: string | null, most: number): Str[] {
  const { text } = self;
  const pieces: Str[] = [];
  const limit = most < 0 ? Infinity : most;
  meter.scan(text.length);
  const push = (start: number, end: number): void => {
    meter.spend(PIECE);
    pieces.push(self.slice(start, end));
  };
  if (separator !== null) {
    const finder = new Finder(meter, separator);
    let from = 0;
    for (let at = finder.next(text, 0); at >= 0 && pieces.length < limit; at = finder.next(text, from)) {
      push(from, at);
      from = at + separator.length;
    }
    push(from, text.length);
    return pieces;
  }
  for (let from = skipSpace(text, 0); from < text.length;) {
    if (pieces.length >= limit) {
      push(from, text.length);
      break;
    }
    let end = from;
    while (end < text.length && !isSpace(text.charCodeAt(end))) ++end;
    push(from, end);
    from = skipSpace(text, end);
  }
  return pieces;
}

/** The same from the right. */
export function rsplit(meter: Meter, self: Str, separator: string | null, most: number): Str[] {
  if (most < 0) return split(meter, self, separator, most);
  const { text } = self;
  const pieces: Str[] = [];
  meter.scan(text.length);
  const push = (start: number, end: number): void => {
    meter.spend(PIECE);
    pieces.push(self.slice(start, end));
  };
  if (separator !== null) {
    const finder = new Finder(meter, separator);
    let end = text.length;
    while (pieces.length < most) {
      const at = finder.last(text, end);
      if (at < 0) break;
      push(at + separator.length, end);
      end = at;
    }
    push(0, end);
    return pieces.reverse();
  }
  for (let end = trimmedEnd(text, 0, text.length); end > 0;) {
    if (pieces.length >= most) {
      push(0, end);
      break;
    }
    let start = end;
    while (start > 0 && !isSpace(text.charCodeAt(start - 1))) --start;
    push(start, end);
    end = trimmedEnd(text, 0, start);
  }
  return pieces.reverse();
}

const LINE_ENDS = new Set([0x0a, 0x0b, 0x0c, 0x0d, 0x1c, 0x1d, 0x1e, 0x85, 0x2028, 0x2029]);

/** Python's splitlines, which knows more line ends than most. */
export function splitLines(meter: Meter, self: Str, keepEnds: boolean): Str[] {
  const { text } = self;
  const lines: Str[] = [];
  meter.spend(text.length);
  for (let start = 0; start < text.length;) {
    let end = start;
    while (end < text.length && !LINE_ENDS.has(text.charCodeAt(end))) ++end;
    const next = end + (text.startsWith("\r\n", end) ? 2 : end < text.length ? 1 : 0);
    meter.spend(PIECE);
    lines.push(self.slice(start, keepEnds ? next : end));
    start = next;
  }
  return lines;
}
