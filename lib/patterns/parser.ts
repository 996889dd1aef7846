import { caseEquivalents, pythonCaseEquivalents } from "./case-folding.js";
import { EMPTY_SET, EVERY_CHAR, rangeSet } from "./char-set.js";
import { anyBut, parseClass } from "./class-parser.js";
import { Cursor, type Flags, NO_FLAGS } from "./cursor.js";
import { codePoint, setEscape } from "./escapes.js";
import { expandClass, expandFoldings, foldedChar } from "./fold-sequences.js";
import { openGroup } from "./group-parser.js";
import { classEscape, type Dialect } from "./properties.js";
import { eatQuantifier, repeat } from "./quantifier.js";
import { type Assertion, EMPTY, type Node, widthOf } from "./syntax-tree.js";

/** Groups within groups, and quantifiers in a row, at most: what works on the tree goes as deep as their product. */
const MAX_DEPTH = 100;
const MAX_STACKED = 8;

const NEWLINE = 10;
const NOT_NEWLINE = anyBut(NEWLINE);

/**
 * Reads a pattern, in time proportional to its length.
 * Throws PatternError for what is no pattern of the dialect, or has parts that cannot be run in bounded time.
 */
export function parsePattern(source: string, dialect: Dialect): Node {
  return new Parser(new Cursor(source, dialect)).whole();
}

class Parser {
  readonly #names = new Set<string>();

  constructor(readonly cursor: Cursor) {}

  whole(): Node {
    const { cursor } = this;
    let flags = NO_FLAGS;
    if (cursor.dialect === "python") flags = this.#globalFlags();
    const node = this.#alternation(flags, 0);
    if (!cursor.ended) throw cursor.malformed("a closing parenthesis too many");
    return node;
  }

  /** Python has flags without a colon at the start alone. */
  #globalFlags(): Flags {
    const { cursor } = this;
    let flags = NO_FLAGS;
    for (;;) {
      if (flags.verbose && this.#skipped()) continue;
      if (cursor.eat("(?#")) {
        cursor.until(")", "a comment");
        continue;
      }
      if (!/^\(\?[a-zA-Z]+\)/.test(cursor.source.slice(cursor.at, cursor.at + 16))) return flags;
      cursor.at++;
      flags = openGroup(cursor, flags, true).flags;
    }
  }

  #alternation(flags: Flags, depth: number): Node {
    if (depth > MAX_DEPTH) throw this.cursor.unsupported(`groups nested more than ${MAX_DEPTH} deep`);
    const items: Node[] = [];
    do items.push(this.#sequence(flags, depth));
    while (this.cursor.eat("|"));
    return items.length === 1 ? items[0]! : { type: "alternation", items };
  }

  #sequence(flags: Flags, depth: number): Node {
    const { cursor } = this;
    const items: Node[] = [];
    let stacked = 0; // quantifiers on the last item
    let grouped = false; // is the last item one in parentheses
    while (!cursor.ended && cursor.peek() !== "|" && cursor.peek() !== ")") {
      if (flags.verbose && this.#skipped()) continue;
      const at = cursor.at;
      if (cursor.eat("(?#")) {
        cursor.until(")", "a comment");
        continue;
      }
      const quantifier = eatQuantifier(cursor);
      if (quantifier !== null) {
        const target = items.pop();
        if (target === undefined || !(grouped || isRepeatable(target)))
          throw cursor.malformed("a quantifier without a target", at);
        if (++stacked > 1 && cursor.dialect === "python") throw cursor.malformed("a second quantifier", at);
        if (stacked > MAX_STACKED)
          throw cursor.unsupported(`more than ${MAX_STACKED} quantifiers in a row`, at);
        items.push(repeat(target, quantifier));
        continue;
      }
      stacked = 0;
      grouped = cursor.eat("(");
      if (grouped) items.push(this.#group(flags, depth, at));
      else items.push(this.#atom(flags));
    }
    const expanded = cursor.dialect === "oniguruma" ? expandFoldings(items, cursor) : items;
    if (expanded.length === 1) return expanded[0]!;
    return expanded.length === 0 ? EMPTY : { type: "concat", items: expanded };
  }

  /** Takes white space or a comment of a verbose pattern. */
  #skipped(): boolean {
    const { cursor } = this;
    const start = cursor.at;
    while (cursor.peek() !== "" && " \t\n\r\f\v".includes(cursor.peek())) cursor.at++;
    if (cursor.peek() === "#") {
      const end = cursor.source.indexOf("\n", cursor.at);
      cursor.at = end < 0 ? cursor.source.length : end + 1;
    }
    return cursor.at > start;
  }

  #group(flags: Flags, depth: number, at: number): Node {
    const { cursor } = this;
    const opened = openGroup(cursor, flags);
    // (?i) without a colon: for what is left of the group, alternatives and all.
    if (opened.kind === "rest") return this.#alternation(opened.flags, depth + 1);
    if (opened.name !== undefined) {
      if (cursor.dialect === "python" && this.#names.has(opened.name))
        throw cursor.malformed(`a second group "${opened.name.slice(0, 32)}"`, at);
      this.#names.add(opened.name);
    }
    const body = this.#alternation(opened.flags, depth + 1);
    if (!cursor.eat(")")) throw cursor.malformed("a group that is not closed", at);
    if (opened.kind === "atomic") return { type: "atomic", body };
    if (opened.kind === "group") return body;
    if (opened.behind && cursor.dialect === "python" && widthOf(body).min !== widthOf(body).max)
      throw cursor.malformed("a look-behind without a fixed width", at);
    return { type: "look", body, behind: opened.behind, negative: opened.negative };
  }

  #atom(flags: Flags): Node {
    const { cursor } = this;
    const python = cursor.dialect === "python";
    switch (cursor.peek()) {
      case ".":
        cursor.at++;
        return { type: "set", set: flags.dotAll ? EVERY_CHAR : NOT_NEWLINE };
      case "^":
        cursor.at++;
        return assertion(python ? (flags.multiline ? "line-start" : "text-start") : "onig-line-start");
      case "$":
        cursor.at++;
        return assertion(python && !flags.multiline ? "last-line-end" : "line-end");
      case "[": {
        cursor.at++;
        const { set, positive } = parseClass(cursor, flags);
        const node = { type: "set" as const, set };
        return flags.ignoreCase && positive && !python ? expandClass(node, cursor) : node;
      }
      case "\\":
        cursor.at++;
        return this.#escape(flags);
      default:
        return this.#literal(cursor.next("a character"), flags);
    }
  }

  #literal(code: number, flags: Flags): Node {
    if (code >= 0xd800 && code <= 0xdfff) return { type: "set", set: EMPTY_SET }; // half a pair is no character
    if (!flags.ignoreCase) return { type: "char", code };
    const python = this.cursor.dialect === "python";
    const others = python ? pythonCaseEquivalents(code) : caseEquivalents(code);
    const plain = others.length === 0 && (python || code < 0x80);
    return plain ? { type: "char", code } : foldedChar(this.cursor, code, others);
  }

  #escape(flags: Flags): Node {
    const { cursor } = this;
    const python = cursor.dialect === "python";
    const at = cursor.at - 1;
    const letter = cursor.peek();
    const simple = SIMPLE[letter];
    if (simple !== undefined && !(python && !"AZ".includes(letter))) {
      cursor.at++;
      return assertion(python && letter === "Z" ? "text-end" : simple);
    }
    if (letter === "b" || letter === "B") {
      cursor.at++;
      const words = classEscape("w", cursor.dialect, flags.ascii, false)!;
      return { type: "boundary", words, negative: letter === "B", filled: python };
    }
    const set = setEscape(cursor, flags, false);
    if (set !== undefined) return { type: "set", set };
    if (!python) {
      const what = UNSUPPORTED[letter];
      if (what !== undefined) throw cursor.unsupported(what, at);
      if (letter === "N" || letter === "O" || letter === "R") cursor.at++;
      if (letter === "N") return { type: "set", set: NOT_NEWLINE };
      if (letter === "O") return { type: "set", set: EVERY_CHAR };
      if (letter === "R") return LINE_BREAK;
    }
    return this.#literal(codePoint(cursor, false), flags);
  }
}

/** Anchors are not, unless they stand in parentheses. */
const isRepeatable = (node: Node): boolean => node.type !== "assertion" && node.type !== "boundary";

const assertion = (kind: Assertion): Node => ({ type: "assertion", kind });

const SIMPLE: Readonly<Record<string, Assertion>> = {
  A: "text-start",
  Z: "last-line-end",
  z: "text-end",
  G: "search-start",
};

const UNSUPPORTED: Readonly<Record<string, string>> = {
  K: "the start of the match put elsewhere (\\K)",
  X: "a grapheme cluster (\\X)",
  y: "a boundary of grapheme clusters (\\y)",
  Y: "a boundary of grapheme clusters (\\Y)",
};

/** \R: a carriage return with its line feed, or one character that ends a line. */
const LINE_BREAK: Node = {
  type: "atomic",
  body: {
    type: "alternation",
    items: [
      {
        type: "concat",
        items: [
          { type: "char", code: 13 },
          { type: "char", code: 10 },
        ],
      },
      {
        type: "set",
        set: rangeSet([
          [10, 13],
          [0x85, 0x85],
          [0x2028, 0x2029],
        ]),
      },
    ],
  },
};
