import { caseEquivalents, foldingOf, multipleFoldings, simpleFolding } from "./case-folding.js";
import { rangeSet } from "./char-set.js";
import type { Cursor } from "./cursor.js";
import { EMPTY, type Node } from "./syntax-tree.js";

/**
 * Foldings of one character to several, as Oniguruma has them: (?i:ss) matches ß, and (?i:ß) matches "ss".
 */

/** Letters in a row whose foldings overlap, at most. */
const MAX_CLUSTER = 8;
/** Characters of the longest folding. */
const LONGEST = 3;

/** A character without regard to case. */
export function foldedChar(cursor: Cursor, code: number, equivalents: readonly number[]): Node {
  const set = cursor.intern(`i${code}`, () => rangeSet([code, ...equivalents].map((one) => [one, one])));
  return { type: "set", set, folded: code };
}

/** Puts the foldings of several characters into a sequence; quantified items stay as they are. */
export function expandFoldings(items: readonly Node[], cursor: Cursor): Node[] {
  if (!items.some((item) => item.type === "set" && item.folded !== undefined)) return [...items];
  const parts = items.flatMap((item): Node[] => {
    const folding = item.type === "set" && item.folded !== undefined ? foldingOf(item.folded) : null;
    return folding === null ? [item] : folding.map((code) => foldedChar(cursor, code, caseEquivalents(code)));
  });
  const out: Node[] = [];
  for (let at = 0; at < parts.length;) {
    let end = at;
    for (let start = at; start === at || start < end; start++)
      for (let length = 2; length <= LONGEST; length++)
        if (foldersAt(parts, start, length) !== undefined) end = Math.max(end, start + length);
    if (end === at) {
      out.push(parts[at++]!);
      continue;
    }
    if (end - at > MAX_CLUSTER)
      throw cursor.unsupported(`more than ${MAX_CLUSTER} letters that fold together without regard to case`);
    out.push(cluster(parts.slice(at, end), cursor));
    at = end;
  }
  return out;
}

/** The characters whose folding is the `length` items at `start`. */
function foldersAt(parts: readonly Node[], start: number, length: number): readonly number[] | undefined {
  let key = "";
  for (let i = start; i < start + length; i++) {
    const part = parts[i];
    if (part?.type !== "set" || part.folded === undefined) return undefined;
    key += String.fromCodePoint(simpleFolding(part.folded));
  }
  return multipleFoldings().get(key);
}

function cluster(parts: readonly Node[], cursor: Cursor): Node {
  if (parts.length === 0) return EMPTY;
  const rest = (from: number): Node => cluster(parts.slice(from), cursor);
  const branches: Node[] = [{ type: "concat", items: [parts[0]!, rest(1)] }];
  for (let length = 2; length <= LONGEST; length++) {
    const folders = foldersAt(parts, 0, length);
    if (folders === undefined) continue;
    const set = cursor.intern(`f${folders.join()}`, () => rangeSet(folders.map((one) => [one, one])));
    branches.push({ type: "concat", items: [{ type: "set", set }, rest(length)] });
  }
  return branches.length === 1 ? branches[0]! : { type: "alternation", items: branches };
}

/** A class without regard to case: also what its members fold to, where that is several characters. */
export function expandClass(node: Node & { type: "set" }, cursor: Cursor): Node {
  const sequences: Node[] = [];
  for (const codes of multipleFoldings().values())
    for (const code of codes)
      if (node.set.has(code))
        sequences.push({
          type: "concat",
          items: foldingOf(code)!.map((part) => foldedChar(cursor, part, caseEquivalents(part))),
        });
  return sequences.length === 0 ? node : { type: "alternation", items: [node, ...sequences] };
}
