import { fail, type TemplateFailure } from "./failure.js";
import type { Token, TokenType } from "./lexer.js";

/** Tokens with one token of look-ahead. */
export class TokenStream {
  #at = 0;

  constructor(private readonly tokens: readonly Token[]) {}

  get current(): Token {
    return this.tokens[this.#at]!;
  }

  get following(): Token {
    return this.tokens[Math.min(this.#at + 1, this.tokens.length - 1)]!;
  }

  next(): Token {
    const token = this.current;
    if (token.type !== "end") ++this.#at;
    return token;
  }

  is(type: TokenType, value?: string): boolean {
    const { current } = this;
    return current.type === type && (value === undefined || current.value === value);
  }

  isName(...names: readonly string[]): boolean {
    return this.current.type === "name" && names.includes(this.current.value);
  }

  isOperator(...operators: readonly string[]): boolean {
    return this.current.type === "operator" && operators.includes(this.current.value);
  }

  skipName(name: string): boolean {
    return this.isName(name) && this.next() !== undefined;
  }

  skipOperator(operator: string): boolean {
    return this.isOperator(operator) && this.next() !== undefined;
  }

  expect(type: TokenType, value?: string): Token {
    if (!this.is(type, value)) throw this.unexpected(value === undefined ? type : `"${value}"`);
    return this.next();
  }

  unexpected(wanted: string): TemplateFailure {
    const { type, value, line } = this.current;
    const found =
      type === "end" ? "the end of the template" : value === "" ? type : `"${value.slice(0, 40)}"`;
    return fail(`line ${line}: expected ${wanted.replace("_", " ")}, found ${found.replace("_", " ")}`);
  }
}
