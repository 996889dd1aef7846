import { fail, refuse } from "./failure.js";
import { unescapeString } from "./string-literal.js";
import { skipSpace, trimmedEnd } from "./whitespace.js";

export type TokenType =
  | "data"
  | "variable_begin"
  | "variable_end"
  | "block_begin"
  | "block_end"
  | "name"
  | "string"
  | "integer"
  | "float"
  | "operator"
  | "end";

export interface Token {
  readonly type: TokenType;
  /** Data, a name, an operator, or a string without its quotes and escapes. */
  readonly value: string;
  readonly number: number;
  readonly line: number;
}

const OPEN: Readonly<Record<string, string>> = { "(": ")", "[": "]", "{": "}" };
const FLOAT = /(?<!\.)(?:\d+_)*\d+(?:(?:\.(?:\d+_)*\d+)?e[+-]?(?:\d+_)*\d+|\.(?:\d+_)*\d+)/iy;
const INTEGER = /0b(?:_?[01])+|0o(?:_?[0-7])+|0x(?:_?[\da-f])+|[1-9](?:_?\d)*|0(?:_?0)*/iy;
const NAME = /[\p{XID_Start}_]\p{XID_Continue}*/uy;
const OPERATOR = /\*\*|\/\/|==|!=|>=|<=|[-+/*%~[\](){}><=.:|,;]/y;
const RAW_WORD = /raw/y;
const END_RAW_WORD = /endraw/y;

/**
 * The tokens of a template as jinja2's lexer makes them with trim_blocks and lstrip_blocks: white space that `-` takes away is gone,
 * comments are gone, `{% raw %}` is data. Linear in the source. Throws a failure where jinja2 does.
 */
export class Lexer {
  readonly #source: string;
  readonly #tokens: Token[] = [];
  #at = 0;
  #line = 1;
  /** Up to where line ends have been counted. */
  #counted = 0;
  /** Did what was read last end with a line's end? Then white space before a block goes away. */
  #lineStarts = true;

  constructor(source: string) {
    this.#source = source.replace(/\r\n|\r/g, "\n").replace(/\n$/, "");
  }

  run(): Token[] {
    while (this.#at < this.#source.length) this.#root();
    this.#push("end", "");
    return this.#tokens;
  }

  #push(type: TokenType, value: string, number = 0): void {
    for (; this.#counted < this.#at; ++this.#counted)
      if (this.#source.charCodeAt(this.#counted) === 0x0a) ++this.#line;
    this.#tokens.push({ type, value, number, line: this.#line });
  }

  #fail(message: string): Error {
    this.#push("end", "");
    return fail(`line ${this.#line}: ${message}`);
  }

  #root(): void {
    const source = this.#source;
    let open = this.#at;
    do open = source.indexOf("{", open) + 1;
    while (open > 0 && !"{%#".includes(source[open] ?? " "));
    if (open === 0) {
      this.#data(source.slice(this.#at));
      this.#at = source.length;
      return;
    }
    const kind = source[open]!;
    const sign = source[open + 1] === "-" || source[open + 1] === "+" ? source[open + 1]! : "";
    this.#data(this.#stripped(this.#at, open - 1, sign, kind !== "{"));
    this.#at = open + 1 + sign.length;
    if (kind === "#") this.#comment();
    else if (kind === "{") this.#code("variable");
    else if (!this.#raw()) this.#code("block");
    this.#lineStarts = source[this.#at - 1] === "\n";
  }

  #data(text: string): void {
    if (text !== "") this.#push("data", text);
  }

  /** Text before a tag, without the white space that the tag takes away. */
  #stripped(start: number, end: number, sign: string, block: boolean): string {
    const source = this.#source;
    if (sign === "-") return source.slice(start, trimmedEnd(source, start, end));
    if (sign === "" && block) {
      const text = source.slice(start, end);
      const line = text.lastIndexOf("\n") + 1;
      if (text.length > line && (line > 0 || this.#lineStarts) && skipSpace(text, line) === text.length)
        return text.slice(0, line);
    }
    return source.slice(start, end);
  }

  #comment(): void {
    const end = this.#source.indexOf("#}", this.#at);
    if (end < 0) throw this.#fail("a comment without its end");
    const sign = end > this.#at ? this.#source[end - 1] : "";
    this.#at = end + 2;
    this.#trim(sign === "-" || sign === "+" ? sign : "");
  }

  /** Behind a block or comment: its own line end goes away, or all white space with "-". */
  #trim(sign: string): void {
    if (sign === "-") this.#at = skipSpace(this.#source, this.#at);
    else if (sign === "" && this.#source[this.#at] === "\n") ++this.#at;
  }

  /** Reads `raw … endraw` where the block that has been opened is one. */
  #raw(): boolean {
    const source = this.#source;
    const word = skipSpace(source, this.#at);
    if (!matchesAt(RAW_WORD, source, word)) return false;
    const close = skipSpace(source, word + 3);
    const dash = source[close] === "-" ? 1 : 0;
    if (!source.startsWith("%}", close + dash)) return false;
    this.#at = close + dash + 2;
    if (dash === 1) this.#at = skipSpace(source, this.#at);
    this.#lineStarts = source[this.#at - 1] === "\n";
    for (let open = source.indexOf("{%", this.#at); open >= 0; open = source.indexOf("{%", open + 2)) {
      const sign = source[open + 2] === "-" || source[open + 2] === "+" ? source[open + 2]! : "";
      const end = skipSpace(source, open + 2 + sign.length);
      if (!matchesAt(END_RAW_WORD, source, end)) continue;
      let tail = skipSpace(source, end + 6);
      const tailSign = source[tail] === "-" || source[tail] === "+" ? source[tail]! : "";
      tail += tailSign.length;
      if (!source.startsWith("%}", tail)) continue;
      this.#data(this.#stripped(this.#at, open, sign, true));
      this.#at = tail + 2;
      this.#trim(tailSign);
      return true;
    }
    throw this.#fail("{% raw %} without its end");
  }

  /** The tokens of one block or expression, with its begin and end. */
  #code(kind: "block" | "variable"): void {
    const source = this.#source;
    const close = kind === "block" ? "%}" : "}}";
    const balance: string[] = [];
    this.#push(`${kind}_begin`, "");
    for (;;) {
      if (balance.length === 0 && this.#end(kind, close)) return;
      const space = skipSpace(source, this.#at);
      if (space > this.#at) {
        this.#at = space;
        continue;
      }
      if (this.#at >= source.length) throw this.#fail("the template ends within a tag");
      if (this.#number() || this.#name() || this.#string()) continue;
      const operator = matchAt(OPERATOR, source, this.#at);
      if (operator === null) throw this.#fail(`unexpected character "${source[this.#at]}"`);
      if (OPEN[operator] !== undefined) balance.push(OPEN[operator]);
      else if (")]}".includes(operator) && balance.pop() !== operator)
        throw this.#fail(`unexpected "${operator}"`);
      this.#push("operator", operator);
      this.#at += operator.length;
    }
  }

  #end(kind: "block" | "variable", close: string): boolean {
    const sign = this.#source[this.#at]!;
    const signed = sign === "-" || (sign === "+" && kind === "block");
    if (!this.#source.startsWith(close, this.#at + (signed ? 1 : 0))) return false;
    this.#push(`${kind}_end`, "");
    this.#at += close.length + (signed ? 1 : 0);
    if (kind === "block") this.#trim(signed ? sign : "");
    else if (signed) this.#at = skipSpace(this.#source, this.#at);
    return true;
  }

  #number(): boolean {
    const float = matchAt(FLOAT, this.#source, this.#at);
    const digits = float ?? matchAt(INTEGER, this.#source, this.#at);
    if (digits === null) return false;
    const value = Number(digits.replaceAll("_", ""));
    if (float === null && !Number.isSafeInteger(value)) throw refuse(`the integer ${digits.slice(0, 40)}`);
    this.#push(float === null ? "integer" : "float", digits, value);
    this.#at += digits.length;
    return true;
  }

  #name(): boolean {
    const name = matchAt(NAME, this.#source, this.#at);
    if (name === null) return false;
    if (name.normalize("NFKC") !== name) throw refuse(`the name ${name.slice(0, 40)}`);
    this.#push("name", name);
    this.#at += name.length;
    return true;
  }

  #string(): boolean {
    const source = this.#source;
    const quote = source[this.#at];
    if (quote !== "'" && quote !== '"') return false;
    let end = this.#at + 1;
    while (end < source.length && source[end] !== quote) end += source[end] === "\\" ? 2 : 1;
    if (end >= source.length) throw this.#fail("a string without its end");
    this.#push("string", unescapeString(source.slice(this.#at + 1, end)));
    this.#at = end + 1;
    return true;
  }
}

function matchAt(pattern: RegExp, text: string, at: number): string | null {
  pattern.lastIndex = at;
  return pattern.exec(text)?.[0] ?? null;
}

function matchesAt(pattern: RegExp, text: string, at: number): boolean {
  pattern.lastIndex = at;
  return pattern.test(text);
}
