import { fail } from "./failure.js";
import { FILTERS } from "./filters.js";
import type { Arguments, Expression, Load, MacroBody, Program, Statement, Target } from "./nodes.js";
import { TESTS } from "./tests.js";

/**
 * Which scope each name belongs to, as jinja2 finds out before it runs anything. A scope (template, loop body, macro, block) lists the
 * names that it holds and how each begins: found in the variables ("resolve"), as it is in the scope around ("alias"), or without a
 * value ("missing"). A name that only this scope sets begins without one, even where a variable of that name was passed.
 */
class Symbols {
  readonly loads = new Map<string, Load[1] | "parameter">();
  readonly stores = new Set<string>();

  /** @param base the same scope before the branch of an `if` that this stands for: its names count, too */
  constructor(
    readonly parent: Symbols | null,
    readonly base: Symbols | null = null,
  ) {}

  #holds(name: string): boolean {
    return this.loads.has(name) || (this.base !== null && this.base.#holds(name));
  }

  #stored(name: string): boolean {
    return this.stores.has(name) || (this.base !== null && this.base.#stored(name));
  }

  /** Is the name one of this scope or of those around it? */
  has(name: string): boolean {
    return this.#holds(name) || (this.parent?.has(name) ?? false);
  }

  parameter(name: string): void {
    this.stores.add(name);
    this.loads.set(name, "parameter");
  }

  load(name: string): void {
    if (!this.has(name)) this.loads.set(name, "resolve");
  }

  store(name: string): void {
    this.stores.add(name);
    if (!this.#holds(name)) this.loads.set(name, this.parent?.has(name) ? "alias" : "missing");
  }

  branch(): Symbols {
    return new Symbols(this.parent, this);
  }

  /** After an `if`: what only some branches set may be what it was before. */
  merge(branches: readonly Symbols[]): void {
    const stores = new Set(
      branches.flatMap((branch) => [...branch.stores].filter((name) => !this.#stored(name))),
    );
    for (const branch of branches) {
      for (const [name, how] of branch.loads) this.loads.set(name, how);
      for (const name of branch.stores) this.stores.add(name);
    }
    for (const name of stores) this.loads.set(name, this.parent?.has(name) ? "alias" : "resolve");
  }

  list(): Load[] {
    return [...this.loads].filter((load): load is [string, Load[1]] => load[1] !== "parameter");
  }
}

export function resolveScopes(program: Program): void {
  const symbols = new Symbols(null);
  for (const statement of program.body) visit(statement, symbols);
  program.loads = symbols.list();
  enterAll(program.body, symbols, { exports: true, soft: false });
}

/** Names that a statement loads and stores in the scope that it stands in; scopes within are left out. */
function visit(statement: Statement, symbols: Symbols): void {
  switch (statement.kind) {
    case "print":
      return loadAll(statement.value, symbols);
    case "if": {
      const [[test, body], ...rest] = statement.branches as [
        [Expression, Statement[]],
        ...typeof statement.branches,
      ];
      loadAll(test, symbols);
      const branch = (statements: readonly Statement[]): Symbols => {
        const copy = symbols.branch();
        for (const inner of statements) visit(inner, copy);
        return copy;
      };
      const others = rest.map((other): Statement => ({ kind: "if", branches: [other], otherwise: [] }));
      symbols.merge([branch(body), branch(others), branch(statement.otherwise)]);
      return;
    }
    case "for":
      return loadAll(statement.iterable, symbols);
    case "set":
      loadAll(statement.value, symbols);
      return storeAll(statement.target, symbols);
    case "set block":
      return storeAll(statement.target, symbols);
    case "macro":
      return symbols.store(statement.macro.name);
    case "call block":
      if (statement.call !== null) loadAll(statement.call, symbols);
      return;
    case "filter block":
      return loadAll(statement.filter, symbols);
    case "with":
      for (const value of statement.values) loadAll(value, symbols);
  }
}

function loadAll(expression: Expression, symbols: Symbols): void {
  eachName(expression, (name) => symbols.load(name));
}

function storeAll(target: Target, symbols: Symbols): void {
  if (target.kind === "name") symbols.store(target.name);
  else if (target.kind === "field") symbols.load(target.object);
  else for (const item of target.items) storeAll(item, symbols);
}

function parameters(target: Target, symbols: Symbols): void {
  if (target.kind === "name") symbols.parameter(target.name);
  else if (target.kind === "tuple") for (const item of target.items) parameters(item, symbols);
}

/** `exports`: what is set here is seen by macros and later loops. `soft`: under an `if`, where unknown filters only count when used. */
interface Place {
  readonly exports: boolean;
  readonly soft: boolean;
}

const INNER: Place = { exports: false, soft: false };

/** Goes through the scopes within a list of statements. */
function enterAll(statements: readonly Statement[], symbols: Symbols, place: Place): void {
  for (const statement of statements) enter(statement, symbols, place);
}

function inner(
  statements: readonly Statement[],
  around: Symbols,
  prepare?: (symbols: Symbols) => void,
): Load[] {
  const symbols = new Symbols(around);
  prepare?.(symbols);
  for (const statement of statements) visit(statement, symbols);
  enterAll(statements, symbols, INNER);
  return symbols.list();
}

function enter(statement: Statement, symbols: Symbols, place: Place): void {
  switch (statement.kind) {
    case "print":
      return check(statement.value, place.soft);
    case "if":
      for (const [test, body] of statement.branches) {
        check(test, true);
        enterAll(body, symbols, { ...place, soft: true });
      }
      return enterAll(statement.otherwise, symbols, { ...place, soft: true });
    case "for": {
      const { target, test, body, otherwise } = statement;
      check(statement.iterable, place.soft);
      statement.loads = inner(body, symbols, (own) => {
        own.parameter("loop");
        parameters(target, own);
      });
      statement.otherwiseLoads = inner(otherwise, symbols);
      if (test === null) return;
      check(test, false);
      statement.testLoads = inner([], symbols, (own) => {
        parameters(target, own);
        loadAll(test, own);
      });
      return;
    }
    case "set":
      statement.exports = place.exports;
      return check(statement.value, place.soft);
    case "set block":
      statement.exports = place.exports;
      if (statement.filter !== null) check(statement.filter, false);
      statement.loads = inner(statement.body, symbols);
      return;
    case "macro":
      statement.exports = place.exports;
      return enterMacro(statement.macro, symbols);
    case "call block":
      if (statement.call !== null) check(statement.call, place.soft);
      return enterMacro(statement.macro, symbols);
    case "filter block":
      check(statement.filter, false);
      statement.loads = inner(statement.body, symbols, (own) => loadAll(statement.filter, own));
      return;
    case "with":
      for (const value of statement.values) check(value, place.soft);
      statement.loads = inner(statement.body, symbols, (own) => {
        for (const target of statement.targets) parameters(target, own);
      });
  }
}

function enterMacro(macro: MacroBody, symbols: Symbols): void {
  const used = new Set<string>();
  findSpecial(macro.body, new Set(["caller", "kwargs", "varargs"]), used);
  for (const name of ["caller", "kwargs", "varargs"] as const)
    macro.special[name] = used.has(name) && !macro.names.includes(name);
  for (const value of macro.defaults) check(value, false);
  macro.loads = inner(macro.body, symbols, (own) => {
    for (const name of macro.names) own.parameter(name);
    for (const name of ["caller", "kwargs", "varargs"] as const) if (macro.special[name]) own.parameter(name);
    for (const value of macro.defaults) loadAll(value, own);
  });
}

/** Special names that a macro's body loads before it stores them; bodies within count, too. */
function findSpecial(statements: readonly Statement[], open: Set<string>, used: Set<string>): void {
  const load = (expression: Expression | null): void => {
    if (expression !== null) eachName(expression, (name) => open.has(name) && used.add(name));
  };
  const store = (target: Target): void => {
    if (target.kind === "name") open.delete(target.name);
    else if (target.kind === "tuple") target.items.forEach(store);
  };
  for (const statement of statements) {
    switch (statement.kind) {
      case "print":
        load(statement.value);
        break;
      case "if":
        for (const [test, body] of statement.branches) {
          load(test);
          findSpecial(body, open, used);
        }
        findSpecial(statement.otherwise, open, used);
        break;
      case "for":
        store(statement.target);
        load(statement.iterable);
        findSpecial(statement.body, open, used);
        findSpecial(statement.otherwise, open, used);
        load(statement.test);
        break;
      case "set":
        store(statement.target);
        load(statement.value);
        break;
      case "set block":
        store(statement.target);
        load(statement.filter);
        findSpecial(statement.body, open, used);
        break;
      case "macro":
      case "call block":
        if (statement.kind === "call block") load(statement.call);
        for (const name of statement.macro.names) open.delete(name);
        statement.macro.defaults.forEach(load);
        findSpecial(statement.macro.body, open, used);
        break;
      case "filter block":
        findSpecial(statement.body, open, used);
        load(statement.filter);
        break;
      case "with":
        statement.targets.forEach(store);
        statement.values.forEach(load);
        findSpecial(statement.body, open, used);
    }
  }
}

/** Throws for a filter or test that jinja2 does not know, unless it may turn out not to be used. */
function check(expression: Expression, soft: boolean): void {
  const lenient = soft || expression.kind === "condition";
  if (!lenient && expression.kind === "filter" && !FILTERS.has(expression.name))
    throw fail(`no filter named "${expression.name}"`);
  if (!lenient && expression.kind === "test" && !TESTS.has(expression.name))
    throw fail(`no test named "${expression.name}"`);
  for (const child of childrenOf(expression)) check(child, lenient);
}

function eachName(expression: Expression, use: (name: string) => void): void {
  if (expression.kind === "name") use(expression.name);
  for (const child of childrenOf(expression)) eachName(child, use);
}

const ofArguments = ({ positional, named, list, dict }: Arguments): (Expression | null)[] => [
  ...positional,
  ...named.map(([, value]) => value),
  list,
  dict,
];

function childrenOf(expression: Expression): Expression[] {
  const list = ((): (Expression | null)[] => {
    switch (expression.kind) {
      case "constant":
      case "name":
        return [];
      case "list":
      case "tuple":
        return [...expression.items];
      case "dict":
        return expression.pairs.flat();
      case "negative":
      case "positive":
      case "not":
        return [expression.operand];
      case "binary":
      case "and":
      case "or":
        return [expression.left, expression.right];
      case "compare":
        return [expression.first, ...expression.rest.map(([, operand]) => operand)];
      case "concat":
        return [...expression.parts];
      case "condition":
        return [expression.test, expression.then, expression.otherwise];
      case "attribute":
        return [expression.object];
      case "item":
        return [expression.object, expression.key];
      case "slice":
        return [expression.object, ...expression.bounds];
      case "call":
        return [expression.callee, ...ofArguments(expression.args)];
      case "filter":
      case "test":
        return [expression.operand, ...ofArguments(expression.args)];
    }
  })();
  return list.filter((child) => child !== null);
}
