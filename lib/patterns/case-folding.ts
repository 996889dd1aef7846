/** Characters that are equal without regard to case: Unicode's simple case folding. */

/** Where letters with another case lie. */
const CASED: readonly (readonly [number, number])[] = [
  [0x41, 0x2fff],
  [0xa600, 0xabff],
  [0xfb00, 0xffff],
  [0x10400, 0x105ff],
  [0x10c80, 0x10fff],
  [0x11800, 0x118ff],
  [0x16e00, 0x16eff],
  [0x1e900, 0x1e9ff],
];
/** Where characters lie that fold to several. */
const MULTIPLE: readonly (readonly [number, number])[] = [
  [0xdf, 0x5ff],
  [0x1e90, 0x1fff],
  [0xfb00, 0xfb17],
];

function* codesOf(ranges: readonly (readonly [number, number])[]): Iterable<number> {
  for (const [low, high] of ranges) for (let code = low; code <= high; code++) yield code;
}

let table: Map<number, readonly number[]> | undefined;

const only = (text: string): number => {
  const code = text.codePointAt(0)!;
  return String.fromCodePoint(code) === text ? code : -1;
};

/** The simple folding: what the members of a group of equal characters have in common. */
export function simpleFolding(code: number): number {
  if (code === 0x131 || code === 0x130) return code; // the Turkish i's are apart
  const text = String.fromCodePoint(code);
  const upper = only(text.toUpperCase());
  const lower = only((upper < 0 ? text : String.fromCodePoint(upper)).toLowerCase());
  return lower < 0 ? code : lower;
}

/** All groups, in 10 ms; made when a pattern first needs more than the ASCII letters. */
function build(): Map<number, readonly number[]> {
  const groups = new Map<number, number[]>();
  const cased = /[\p{Changes_When_Casemapped}\p{Changes_When_Casefolded}]/u;
  for (const code of codesOf(CASED)) {
    if (!cased.test(String.fromCodePoint(code))) continue;
    const key = simpleFolding(code);
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [code]);
    else group.push(code);
  }
  const out = new Map<number, readonly number[]>();
  for (const group of groups.values())
    for (const code of group)
      if (group.length > 1)
        out.set(
          code,
          group.filter((other) => other !== code),
        );
  return out;
}

const NONE: readonly number[] = [];

/** The other characters that equal `code` without regard to case. */
export function caseEquivalents(code: number): readonly number[] {
  if (code < 0x80) {
    const lower = code | 0x20;
    if (lower < 0x61 || lower > 0x7a) return NONE;
    const other = code ^ 0x20;
    if (lower === 0x73) return [other, 0x17f]; // the long s
    if (lower === 0x6b) return [other, 0x212a]; // the Kelvin sign
    return [other];
  }
  return (table ??= build()).get(code) ?? NONE;
}

/** As Python's `re` has it: both Turkish i's equal i, too. */
export function pythonCaseEquivalents(code: number): readonly number[] {
  const family = [0x69, 0x49, 0x131, 0x130];
  return family.includes(code) ? family.filter((other) => other !== code) : caseEquivalents(code);
}

let folds: Map<string, number[]> | undefined;

/** Characters whose full folding is several characters (ß: ss), by that folding. */
export function multipleFoldings(): ReadonlyMap<string, readonly number[]> {
  if (folds !== undefined) return folds;
  folds = new Map();
  for (const code of codesOf(MULTIPLE)) {
    const folded = foldingOf(code);
    if (folded === null) continue;
    const key = String.fromCodePoint(...folded);
    folds.set(key, [...(folds.get(key) ?? []), code]);
  }
  return folds;
}

/** The full folding of a character where it is several characters, else null. */
export function foldingOf(code: number): number[] | null {
  if (code < 0xdf) return null;
  if (code === 0x1e9e) return [0x73, 0x73];
  if (code === 0x130) return [0x69, 0x307];
  const text = String.fromCodePoint(code);
  const folded = Array.from(text.toUpperCase().toLowerCase(), (part) => part.codePointAt(0)!);
  if (folded.length < 2) return null;
  return folded.map((part) => (part === 0x3c2 ? 0x3c3 : part)); // no final sigma
}
