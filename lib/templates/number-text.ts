import { fail, refuse } from "./failure.js";
import { integer } from "./values.js";
import { skipSpace, trimmedEnd } from "./whitespace.js";

function trimmed(text: string): string {
  const start = skipSpace(text, 0);
  return text.slice(start, trimmedEnd(text, start, text.length));
}

const PREFIXES: Readonly<Record<number, RegExp>> = { 2: /^0[bB]_?/, 8: /^0[oO]_?/, 16: /^0[xX]_?/ };

/** Python's int(text, base); undefined where it raises a ValueError. */
export function parseInteger(text: string, base: number): number | undefined {
  if (base === 0) throw refuse("base 0");
  if (base < 2 || base > 36) throw fail("the base must be 0 or 2 to 36");
  const bare = trimmed(text);
  if (isLong(bare)) return undefined;
  refuseOtherDigits(bare);
  const sign = bare.startsWith("-") ? -1 : 1;
  const digits = bare.replace(/^[+-]/, "").replace(PREFIXES[base] ?? /^/, "");
  if (!/^[0-9a-z]+(?:_[0-9a-z]+)*$/i.test(digits)) return undefined;
  let value = 0;
  for (const digit of digits.replaceAll("_", "")) {
    const worth = parseInt(digit, 36);
    if (worth >= base) return undefined;
    value = integer(value * base + worth);
  }
  return sign * value + 0;
}

/** Python's float(text); undefined where it raises a ValueError. */
export function parseFloatText(text: string): number | undefined {
  const bare = trimmed(text);
  if (isLong(bare)) return undefined;
  refuseOtherDigits(bare);
  const special = /^([+-]?)(inf|infinity|nan)$/i.exec(bare);
  if (special !== null)
    return special[2]!.toLowerCase() === "nan" ? NaN : special[1] === "-" ? -Infinity : Infinity;
  const grammar = /^[+-]?(?:\d+(?:_\d+)*\.?(?:\d+(?:_\d+)*)?|\.\d+(?:_\d+)*)(?:e[+-]?\d+(?:_\d+)*)?$/i;
  return grammar.test(bare) ? Number(bare.replaceAll("_", "")) : undefined;
}

/** Python reads the digits of every script. */
function refuseOtherDigits(text: string): void {
  if (/(?![0-9])\p{Nd}/u.test(text)) throw refuse("a number in other digits than 0 to 9");
}

/** Is it too long for a number? Refused where it might be one nevertheless. */
function isLong(text: string): boolean {
  if (text.length <= 200) return false;
  if (/[^\p{Nd}\w.+-]/u.test(text)) return true;
  throw refuse("a number of more than 200 characters");
}
