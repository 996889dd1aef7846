import type { Value } from "./values.js";

/** Expressions. `depth`: levels of nodes, this one counted. */
export type Expression = { readonly depth: number } & (
  | { readonly kind: "constant"; readonly value: Value }
  | { readonly kind: "name"; readonly name: string }
  | { readonly kind: "list" | "tuple"; readonly items: readonly Expression[] }
  | { readonly kind: "dict"; readonly pairs: readonly (readonly [Expression, Expression])[] }
  | { readonly kind: "negative" | "positive"; readonly operand: Expression }
  | { readonly kind: "not"; readonly operand: Expression }
  | {
      readonly kind: "binary";
      readonly operator: BinaryOperator;
      readonly left: Expression;
      readonly right: Expression;
    }
  | { readonly kind: "and" | "or"; readonly left: Expression; readonly right: Expression }
  | {
      readonly kind: "compare";
      readonly first: Expression;
      readonly rest: readonly (readonly [Comparison, Expression])[];
    }
  | { readonly kind: "concat"; readonly parts: readonly Expression[] }
  | {
      readonly kind: "condition";
      readonly test: Expression;
      readonly then: Expression;
      readonly otherwise: Expression | null;
    }
  | { readonly kind: "attribute"; readonly object: Expression; readonly name: string }
  | { readonly kind: "item"; readonly object: Expression; readonly key: Expression }
  | {
      readonly kind: "slice";
      readonly object: Expression;
      readonly bounds: readonly [Expression | null, Expression | null, Expression | null];
    }
  | { readonly kind: "call"; readonly callee: Expression; readonly args: Arguments }
  /** `operand` is null at the head of a filter block: what the block holds. */
  | {
      readonly kind: "filter";
      readonly name: string;
      readonly operand: Expression | null;
      readonly args: Arguments;
    }
  | { readonly kind: "test"; readonly name: string; readonly operand: Expression; readonly args: Arguments }
);

export type ExpressionOf<K extends Expression["kind"]> = Extract<Expression, { kind: K }>;
export type BinaryOperator = "+" | "-" | "*" | "/" | "//" | "%" | "**";
export type Comparison = "==" | "!=" | "<" | "<=" | ">" | ">=" | "in" | "not in";

export interface Arguments {
  readonly positional: readonly Expression[];
  readonly named: readonly (readonly [string, Expression])[];
  /** `*list` and `**dict`. */
  readonly list: Expression | null;
  readonly dict: Expression | null;
}

/** What a value is assigned to. */
export type Target =
  | { readonly kind: "name"; readonly name: string }
  | { readonly kind: "field"; readonly object: string; readonly field: string }
  | { readonly kind: "tuple"; readonly items: readonly Target[] };

/** How a name gets its value when a scope is entered; see `scopes.ts`. */
export type Load = readonly [name: string, how: "resolve" | "alias" | "missing"];

export interface Signature {
  readonly names: readonly string[];
  /** Of the last parameters. */
  readonly defaults: readonly Expression[];
}

/** The body of a macro, a call block or `{% generation %}`. */
export interface MacroBody extends Signature {
  readonly name: string | null;
  readonly body: readonly Statement[];
  loads: readonly Load[];
  /** Which of the special names the body uses without having them as parameters. */
  special: { caller: boolean; kwargs: boolean; varargs: boolean };
}

export type Statement =
  | { readonly kind: "text"; readonly text: string }
  | { readonly kind: "print"; readonly value: Expression }
  | {
      readonly kind: "if";
      readonly branches: readonly (readonly [Expression, readonly Statement[]])[];
      readonly otherwise: readonly Statement[];
    }
  | {
      readonly kind: "for";
      readonly target: Target;
      readonly iterable: Expression;
      readonly test: Expression | null;
      readonly recursive: boolean;
      readonly body: readonly Statement[];
      readonly otherwise: readonly Statement[];
      loads: readonly Load[];
      testLoads: readonly Load[];
      otherwiseLoads: readonly Load[];
    }
  | { readonly kind: "set"; readonly target: Target; readonly value: Expression; exports: boolean }
  | {
      readonly kind: "set block";
      readonly target: Target;
      readonly filter: Expression | null;
      readonly body: readonly Statement[];
      loads: readonly Load[];
      exports: boolean;
    }
  | { readonly kind: "macro"; readonly macro: MacroBody & { readonly name: string }; exports: boolean }
  /** `call` is null for `{% generation %}`, which prints its body as it is. */
  | { readonly kind: "call block"; readonly call: ExpressionOf<"call"> | null; readonly macro: MacroBody }
  | {
      readonly kind: "filter block";
      readonly filter: Expression;
      readonly body: readonly Statement[];
      loads: readonly Load[];
    }
  | {
      readonly kind: "with";
      readonly targets: readonly Target[];
      readonly values: readonly Expression[];
      readonly body: readonly Statement[];
      loads: readonly Load[];
    }
  | { readonly kind: "break" | "continue" };

export type StatementOf<K extends Statement["kind"]> = Extract<Statement, { kind: K }>;

export interface Program {
  readonly body: readonly Statement[];
  loads: readonly Load[];
}
