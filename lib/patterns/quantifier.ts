import type { Cursor } from "./cursor.js";
import type { Mode, Node } from "./syntax-tree.js";

/** Oniguruma's own bound for {n,m}. */
const MAX_COUNT = 100_000;
const PYTHON_MAX_COUNT = 4_294_967_295;

export interface Quantifier {
  readonly min: number;
  readonly max: number;
  readonly mode: Mode;
  /** {n}? in Oniguruma: an optional {n}. */
  readonly optional?: boolean;
}

/** Takes a quantifier if one comes next; braces that are none are left for literals. */
export function eatQuantifier(cursor: Cursor): Quantifier | null {
  const python = cursor.dialect === "python";
  const simple = { "*": [0, Infinity], "+": [1, Infinity], "?": [0, 1] }[cursor.peek()];
  if (simple !== undefined) {
    cursor.at++;
    const mode = cursor.eat("?") ? "lazy" : cursor.eat("+") ? "possessive" : "greedy";
    return { min: simple[0]!, max: simple[1]!, mode };
  }
  if (cursor.peek() !== "{") return null;
  const at = cursor.at;
  const found = /^\{([0-9]*)(,?)([0-9]*)\}/.exec(cursor.source.slice(at, at + 64));
  if (found === null) return null;
  const [whole, low, comma, high] = found as unknown as [string, string, string, string];
  if (low === "" && high === "" && !(python && comma !== "")) return null;
  cursor.at += whole.length;
  let min = low === "" ? 0 : Number(low);
  let max = high !== "" ? Number(high) : comma === "" ? min : Infinity;
  const bound = python ? PYTHON_MAX_COUNT - 1 : MAX_COUNT;
  if (min > bound || (max !== Infinity && max > bound)) throw cursor.malformed(`a count beyond ${bound}`, at);
  if (max < min) {
    // Oniguruma's way to write a possessive one.
    if (python) throw cursor.malformed("a quantifier whose maximum is below its minimum", at);
    [min, max] = [max, min];
    return { min, max, mode: "possessive" };
  }
  if (cursor.eat("?"))
    return !python && min === max ? { min, max, mode: "greedy", optional: true } : { min, max, mode: "lazy" };
  if (python && cursor.eat("+")) return { min, max, mode: "possessive" };
  return { min, max, mode: "greedy" };
}

/** A quantified node; plain quantifiers upon plain ones become one, as in Oniguruma. */
export function repeat(body: Node, { min, max, mode, optional }: Quantifier): Node {
  if (optional === true) return repeat(repeat(body, { min, max, mode }), { min: 0, max: 1, mode });
  if (mode === "greedy" && body.type === "repeat" && body.mode === "greedy" && isPlain(min, max)) {
    // So does any number of X{1,3}, where X is one character.
    const one = body.body.type === "set" || body.body.type === "char";
    if (isPlain(body.min, body.max) || (one && body.min <= 1 && max === Infinity))
      return { ...body, min: Math.min(min, body.min), max: Math.max(max, body.max) };
  }
  return { type: "repeat", body, min, max, mode };
}

/** One of ? * + */
const isPlain = (min: number, max: number): boolean =>
  min <= 1 && (max === Infinity || (min === 0 && max === 1));
