/** Python's `str.isspace`: other than JavaScript's, with U+001C to U+001F and U+0085, without U+FEFF. */
export function isSpace(code: number): boolean {
  if (code <= 0x20) return code === 0x20 || (code >= 0x09 && code <= 0x0d) || (code >= 0x1c && code <= 0x1f);
  if (code < 0x1680) return code === 0x85 || code === 0xa0;
  return (
    code === 0x1680 ||
    (code >= 0x2000 && code <= 0x200a) ||
    code === 0x2028 ||
    code === 0x2029 ||
    code === 0x202f ||
    code === 0x205f ||
    code === 0x3000
  );
}

/** The first offset from `start` on that holds no white space. */
export function skipSpace(text: string, start: number, end = text.length): number {
  while (start < end && isSpace(text.charCodeAt(start))) ++start;
  return start;
}

/** The end of the text without white space before `end`. */
export function trimmedEnd(text: string, start: number, end: number): number {
  while (end > start && isSpace(text.charCodeAt(end - 1))) --end;
  return end;
}
