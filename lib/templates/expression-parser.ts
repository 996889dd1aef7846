import { fail, refuse } from "./failure.js";
import type { Arguments, BinaryOperator, Comparison, Expression, ExpressionOf } from "./nodes.js";
import { Str } from "./text.js";
import type { TokenStream } from "./token-stream.js";
import { Float } from "./values.js";

/** Expressions within each other; brackets count twice. jinja2 ends at about as many. */
const MAX_NESTING = 128;
/** Levels of nodes, which chains such as a + b + c add to. Python takes 200 brackets within each other. */
const MAX_DEPTH = 190;

const CONSTANTS: Readonly<Record<string, boolean | null>> = {
  true: true,
  True: true,
  false: false,
  False: false,
  none: null,
  None: null,
};
const COMPARISONS: readonly string[] = ["==", "!=", "<", "<=", ">", ">="];

type WithoutDepth<T> = T extends unknown ? Omit<T, "depth"> : never;
type Fields = WithoutDepth<Expression>;

/** Recursive descent over jinja2's grammar, with its precedences: `~` binds closer than `+`, comparisons are chains. */
export class ExpressionParser {
  #nesting = 0;

  constructor(protected readonly stream: TokenStream) {}

  /** An expression, or a tuple without brackets. */
  protected tuple(options: { conditions?: boolean; brackets?: boolean } = {}): Expression {
    const { conditions = true, brackets = false } = options;
    const items: Expression[] = [];
    let isTuple = false;
    for (;;) {
      if (items.length > 0) this.stream.expect("operator", ",");
      if (this.#isTupleEnd()) break;
      items.push(this.expression(conditions));
      if (!this.stream.isOperator(",")) break;
      isTuple = true;
    }
    if (!isTuple && items.length > 0) return items[0]!;
    if (!isTuple && !brackets) throw this.stream.unexpected("an expression");
    return this.#node({ kind: "tuple", items }, items);
  }

  #isTupleEnd(): boolean {
    const { type } = this.stream.current;
    return type === "variable_end" || type === "block_end" || this.stream.isOperator(")");
  }

  protected expression(conditions = true): Expression {
    if (++this.#nesting > MAX_NESTING) throw fail(`more than ${MAX_NESTING} expressions within each other`);
    const result = conditions ? this.#condition() : this.#or();
    --this.#nesting;
    return result;
  }

  #condition(): Expression {
    let result = this.#or();
    while (this.stream.skipName("if")) {
      const test = this.#or();
      const otherwise = this.stream.skipName("else") ? this.expression() : null;
      const children = otherwise === null ? [test, result] : [test, result, otherwise];
      result = this.#node({ kind: "condition", test, then: result, otherwise }, children);
    }
    return result;
  }

  #or(): Expression {
    let left = this.#and();
    while (this.stream.skipName("or")) {
      const right = this.#and();
      left = this.#node({ kind: "or", left, right }, [left, right]);
    }
    return left;
  }

  #and(): Expression {
    let left = this.#not();
    while (this.stream.skipName("and")) {
      const right = this.#not();
      left = this.#node({ kind: "and", left, right }, [left, right]);
    }
    return left;
  }

  #not(): Expression {
    let count = 0;
    while (this.stream.skipName("not")) ++count;
    let result = this.#compare();
    for (; count > 0; --count) result = this.#node({ kind: "not", operand: result }, [result]);
    return result;
  }

  #compare(): Expression {
    const first = this.#sum();
    const rest: [Comparison, Expression][] = [];
    for (;;) {
      const { stream } = this;
      let operator: Comparison;
      if (stream.isOperator(...COMPARISONS)) operator = stream.next().value as Comparison;
      else if (stream.skipName("in")) operator = "in";
      else if (stream.isName("not") && stream.following.type === "name" && stream.following.value === "in") {
        stream.next();
        stream.next();
        operator = "not in";
      } else break;
      rest.push([operator, this.#sum()]);
    }
    if (rest.length === 0) return first;
    return this.#node({ kind: "compare", first, rest }, [first, ...rest.map(([, operand]) => operand)]);
  }

  #sum(): Expression {
    let left = this.#concat();
    while (this.stream.isOperator("+", "-")) {
      const operator = this.stream.next().value as BinaryOperator;
      const right = this.#concat();
      left = this.#node({ kind: "binary", operator, left, right }, [left, right]);
    }
    return left;
  }

  #concat(): Expression {
    const parts = [this.#product()];
    while (this.stream.skipOperator("~")) parts.push(this.#product());
    return parts.length === 1 ? parts[0]! : this.#node({ kind: "concat", parts }, parts);
  }

  #product(): Expression {
    let left = this.#power();
    while (this.stream.isOperator("*", "/", "//", "%")) {
      const operator = this.stream.next().value as BinaryOperator;
      const right = this.#power();
      left = this.#node({ kind: "binary", operator, left, right }, [left, right]);
    }
    return left;
  }

  /** `a ** b ** c`: jinja2 reads it from the left and writes it down with brackets. */
  #power(): Expression {
    let left = this.#unary();
    while (this.stream.skipOperator("**")) {
      const right = this.#unary();
      left = this.#node({ kind: "binary", operator: "**", left, right }, [left, right]);
    }
    return left;
  }

  #unary(filters = true): Expression {
    const signs: ("negative" | "positive")[] = [];
    while (this.stream.isOperator("-", "+"))
      signs.push(this.stream.next().value === "-" ? "negative" : "positive");
    // What follows belongs to the operand first; after a sign, filters and tests take the signed value.
    let result = this.#postfix(this.#primary());
    for (const kind of signs.reverse()) result = this.#node({ kind, operand: result }, [result]);
    return filters ? this.#filters(result) : result;
  }

  #primary(): Expression {
    const { stream } = this;
    const { type, value, number } = stream.current;
    if (type === "name") {
      stream.next();
      if (Object.hasOwn(CONSTANTS, value)) return this.#node({ kind: "constant", value: CONSTANTS[value]! });
      if (value === "self" || value === "super") throw refuse(`"${value}"`);
      return this.#node({ kind: "name", name: value });
    }
    if (type === "string") {
      let text = "";
      while (stream.is("string")) text += stream.next().value;
      return this.#node({ kind: "constant", value: new Str(text) });
    }
    if (type === "integer" || type === "float") {
      stream.next();
      return this.#node({ kind: "constant", value: type === "integer" ? number : new Float(number) });
    }
    if (stream.skipOperator("(")) {
      if (++this.#nesting > MAX_NESTING) throw fail(`more than ${MAX_NESTING} brackets within each other`);
      const inner = this.tuple({ brackets: true });
      --this.#nesting;
      stream.expect("operator", ")");
      return inner;
    }
    if (stream.skipOperator("[")) return this.#list();
    if (stream.skipOperator("{")) return this.#dict();
    throw stream.unexpected("an expression");
  }

  #list(): Expression {
    const items: Expression[] = [];
    while (!this.stream.isOperator("]")) {
      if (items.length > 0) this.stream.expect("operator", ",");
      if (this.stream.isOperator("]")) break;
      items.push(this.expression());
    }
    this.stream.expect("operator", "]");
    return this.#node({ kind: "list", items }, items);
  }

  #dict(): Expression {
    const pairs: [Expression, Expression][] = [];
    while (!this.stream.isOperator("}")) {
      if (pairs.length > 0) this.stream.expect("operator", ",");
      if (this.stream.isOperator("}")) break;
      const key = this.expression();
      // jinja2 computes what is constant before it renders, and fails there.
      if (key.kind === "list" || key.kind === "dict") throw fail(`unhashable type: ${key.kind}`);
      this.stream.expect("operator", ":");
      pairs.push([key, this.expression()]);
    }
    this.stream.expect("operator", "}");
    return this.#node({ kind: "dict", pairs }, pairs.flat());
  }

  #postfix(object: Expression): Expression {
    for (let result = object; ;) {
      if (this.stream.skipOperator(".")) result = this.#attribute(result);
      else if (this.stream.skipOperator("[")) result = this.#subscript(result);
      else if (this.stream.isOperator("(")) result = this.#call(result);
      else return result;
    }
  }

  #attribute(object: Expression): Expression {
    const token = this.stream.next();
    if (token.type === "name") return this.#node({ kind: "attribute", object, name: token.value }, [object]);
    if (token.type !== "integer") throw fail(`line ${token.line}: expected a name or number behind "."`);
    const key = this.#node({ kind: "constant", value: token.number });
    return this.#node({ kind: "item", object, key }, [object]);
  }

  #subscript(object: Expression): Expression {
    const items: (Expression | (Expression | null)[])[] = [];
    while (!this.stream.isOperator("]")) {
      if (items.length > 0) this.stream.expect("operator", ",");
      items.push(this.#subscribed());
    }
    this.stream.expect("operator", "]");
    if (items.length === 1 && Array.isArray(items[0])) {
      const bounds = items[0] as [Expression | null, Expression | null, Expression | null];
      return this.#node({ kind: "slice", object, bounds }, [object, ...bounds.filter((one) => one !== null)]);
    }
    if (items.some((item) => Array.isArray(item))) throw refuse("a slice among other subscripts");
    const keys = items as Expression[];
    const key = keys.length === 1 ? keys[0]! : this.#node({ kind: "tuple", items: keys }, keys);
    return this.#node({ kind: "item", object, key }, [object, key]);
  }

  /** One subscript: an expression, or the three bounds of a slice. */
  #subscribed(): Expression | (Expression | null)[] {
    const { stream } = this;
    const bounds: (Expression | null)[] = [null, null, null];
    if (!stream.isOperator(":")) {
      bounds[0] = this.expression();
      if (!stream.isOperator(":")) return bounds[0];
    }
    stream.expect("operator", ":");
    if (!stream.isOperator(":", "]", ",")) bounds[1] = this.expression();
    if (stream.skipOperator(":") && !stream.isOperator("]", ",")) bounds[2] = this.expression();
    return bounds;
  }

  #call(callee: Expression): ExpressionOf<"call"> {
    const args = this.#arguments();
    return this.#node({ kind: "call", callee, args }, [callee, ...children(args)]) as ExpressionOf<"call">;
  }

  #arguments(): Arguments {
    const { stream } = this;
    const open = stream.expect("operator", "(");
    const positional: Expression[] = [];
    const named: [string, Expression][] = [];
    let list: Expression | null = null;
    let dict: Expression | null = null;
    const ensure = (sound: boolean): void => {
      if (!sound) throw fail(`line ${open.line}: arguments in an order that is not allowed`);
    };
    for (let first = true; !stream.isOperator(")"); first = false) {
      if (!first) {
        stream.expect("operator", ",");
        if (stream.isOperator(")")) break;
      }
      if (stream.skipOperator("*")) {
        ensure(list === null && dict === null);
        list = this.expression();
      } else if (stream.skipOperator("**")) {
        ensure(dict === null);
        dict = this.expression();
      } else if (
        stream.is("name") &&
        stream.following.type === "operator" &&
        stream.following.value === "="
      ) {
        ensure(dict === null);
        const name = stream.next().value;
        stream.next();
        ensure(named.every(([other]) => other !== name));
        named.push([name, this.expression()]);
      } else {
        ensure(list === null && dict === null && named.length === 0);
        positional.push(this.expression());
      }
    }
    stream.expect("operator", ")");
    return { positional, named, list, dict };
  }

  #filters(operand: Expression): Expression {
    for (let result = operand; ;) {
      if (this.stream.isOperator("|")) result = this.filter(result)!;
      else if (this.stream.isName("is")) result = this.#test(result);
      else if (this.stream.isOperator("(")) result = this.#call(result);
      else return result;
    }
  }

  /** `| name(…) | name(…)`; with `inline`, the first one's "|" is left out. */
  protected filter(operand: Expression | null, inline = false): Expression | null {
    let result = operand;
    for (let bare = inline; bare || this.stream.skipOperator("|"); bare = false) {
      const name = this.#dottedName();
      const args = this.stream.isOperator("(") ? this.#arguments() : NO_ARGUMENTS;
      const inner = result === null ? [] : [result];
      result = this.#node({ kind: "filter", name, operand: result, args }, [...inner, ...children(args)]);
    }
    return result;
  }

  #dottedName(): string {
    let name = this.stream.expect("name").value;
    while (this.stream.skipOperator(".")) name += `.${this.stream.expect("name").value}`;
    return name;
  }

  #test(operand: Expression): Expression {
    const { stream } = this;
    stream.next();
    const negated = stream.skipName("not");
    const name = this.#dottedName();
    let args = NO_ARGUMENTS;
    if (stream.isOperator("(")) {
      args = this.#arguments();
    } else if (
      (["name", "string", "integer", "float"].includes(stream.current.type) ||
        stream.isOperator("(", "[", "{")) &&
      !stream.isName("else", "or", "and")
    ) {
      if (stream.isName("is")) throw fail(`line ${stream.current.line}: tests cannot be chained with "is"`);
      args = { ...NO_ARGUMENTS, positional: [this.#postfix(this.#primary())] };
    }
    const test = this.#node({ kind: "test", name, operand, args }, [operand, ...children(args)]);
    return negated ? this.#node({ kind: "not", operand: test }, [test]) : test;
  }

  #node(fields: Fields, inner: readonly Expression[] = []): Expression {
    const depth = inner.reduce((most, { depth }) => Math.max(most, depth), 0) + 1;
    if (depth > MAX_DEPTH) throw fail(`more than ${MAX_DEPTH} levels within an expression`);
    return { ...fields, depth };
  }
}

const NO_ARGUMENTS: Arguments = { positional: [], named: [], list: null, dict: null };

const children = ({ positional, named, list, dict }: Arguments): Expression[] => [
  ...positional,
  ...named.map(([, value]) => value),
  ...[list, dict].filter((one) => one !== null),
];
