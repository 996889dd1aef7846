import { ExpressionParser } from "./expression-parser.js";
import { fail, refuse } from "./failure.js";
import { Lexer } from "./lexer.js";
import type { Expression, MacroBody, Program, Signature, Statement, Target } from "./nodes.js";
import { resolveScopes } from "./scopes.js";
import { TokenStream } from "./token-stream.js";

/** Blocks within each other, and loops within each other: Python's own limits for the code that jinja2 makes. */
const MAX_BLOCKS = 90;
const MAX_LOOPS = 20;

/** What jinja2 has and a chat template has no use for. */
const REFUSED = new Set(["block", "extends", "include", "import", "from", "autoescape"]);
const NOT_ASSIGNABLE = new Set(["true", "True", "false", "False", "none", "None"]);

/** The tree of a template. Throws a failure where jinja2 does, for what is refused, and for what is nested too deeply. */
export function parseTemplate(source: string): Program {
  const parser = new TemplateParser(new TokenStream(new Lexer(source).run()));
  const program: Program = { body: parser.body([]), loads: [] };
  resolveScopes(program);
  return program;
}

class TemplateParser extends ExpressionParser {
  #blocks = 0;
  /** Loops around what is read, within the same macro. */
  #loops = 0;

  /** Statements up to `{% end`, which is left for the caller; to the template's end where `ends` is empty. */
  body(ends: readonly string[]): Statement[] {
    const { stream } = this;
    const body: Statement[] = [];
    for (;;) {
      if (stream.is("data")) {
        body.push({ kind: "text", text: stream.next().value });
      } else if (stream.is("variable_begin")) {
        stream.next();
        body.push({ kind: "print", value: this.tuple() });
        stream.expect("variable_end");
      } else if (stream.is("block_begin")) {
        stream.next();
        if (stream.isName(...ends)) return body;
        this.#statement(body);
        stream.expect("block_end");
      } else if (ends.length === 0) {
        return body;
      } else {
        throw stream.unexpected(ends.map((end) => `{% ${end} %}`).join(" or "));
      }
    }
  }

  /** The rest of a tag, the statements behind it, and the word that ends them. */
  #inner(...ends: readonly string[]): { body: Statement[]; end: string } {
    this.stream.skipOperator(":");
    this.stream.expect("block_end");
    if (++this.#blocks > MAX_BLOCKS) throw fail(`more than ${MAX_BLOCKS} blocks within each other`);
    const body = this.body(ends);
    --this.#blocks;
    return { body, end: this.stream.next().value };
  }

  /** The statements of something that is a function of its own in Python: no loop around it can be left from within. */
  #separate(end: string): Statement[] {
    const loops = this.#loops;
    this.#loops = 0;
    const { body } = this.#inner(end);
    this.#loops = loops;
    return body;
  }

  #statement(out: Statement[]): void {
    const { value: tag, line } = this.stream.expect("name");
    switch (tag) {
      case "if":
        return void out.push(this.#if());
      case "for":
        return void out.push(this.#for());
      case "set":
        return void out.push(this.#set());
      case "macro":
        return void out.push(this.#macro());
      case "call":
        return void out.push(this.#call());
      case "filter":
        return void out.push(this.#filterBlock());
      case "with":
        return void out.push(this.#with());
      case "generation":
        return void out.push({
          kind: "call block",
          call: null,
          macro: this.#macroBody(null, NONE, "endgeneration"),
        });
      case "print":
        while (!this.stream.is("block_end")) {
          if (out.at(-1)?.kind === "print" && this.stream.isOperator(",")) this.stream.next();
          out.push({ kind: "print", value: this.expression() });
          if (!this.stream.is("block_end") && !this.stream.isOperator(","))
            throw this.stream.unexpected('","');
        }
        return;
      case "break":
      case "continue":
        if (this.#loops === 0) throw fail(`line ${line}: {% ${tag} %} outside of a loop`);
        return void out.push({ kind: tag });
      default:
        if (REFUSED.has(tag)) throw refuse(`{% ${tag} %}`);
        throw fail(`line ${line}: unknown tag "${tag.slice(0, 40)}"`);
    }
  }

  #if(): Statement {
    const branches: [Expression, Statement[]][] = [];
    for (;;) {
      const test = this.tuple({ conditions: false });
      const { body, end } = this.#inner("elif", "else", "endif");
      branches.push([test, body]);
      if (end === "elif") continue;
      return { kind: "if", branches, otherwise: end === "else" ? this.#inner("endif").body : [] };
    }
  }

  #for(): Statement {
    const target = this.#targets(false);
    if (namesOf(target).includes("loop")) throw fail('"loop" cannot be the variable of a loop');
    this.stream.expect("name", "in");
    const iterable = this.tuple({ conditions: false });
    const test = this.stream.skipName("if") ? this.expression() : null;
    const recursive = this.stream.skipName("recursive");
    const loops = this.#loops;
    this.#loops = recursive ? 1 : loops + 1;
    if (this.#loops > MAX_LOOPS) throw fail(`more than ${MAX_LOOPS} loops within each other`);
    const { body, end } = this.#inner("endfor", "else");
    this.#loops = recursive ? 0 : loops;
    const otherwise = end === "else" ? this.#inner("endfor").body : [];
    this.#loops = loops;
    const loads = { loads: [], testLoads: [], otherwiseLoads: [] };
    return { kind: "for", target, iterable, test, recursive, body, otherwise, ...loads };
  }

  #set(): Statement {
    const target = this.#targets(true);
    if (this.stream.skipOperator("=")) return { kind: "set", target, value: this.tuple(), exports: false };
    const filter = this.filter(null);
    const { body } = this.#inner("endset");
    return { kind: "set block", target, filter, body, loads: [], exports: false };
  }

  #macro(): Statement {
    const name = this.#assignable();
    const signature = this.#signature();
    return {
      kind: "macro",
      macro: { ...this.#macroBody(name, signature, "endmacro"), name },
      exports: false,
    };
  }

  #call(): Statement {
    const signature = this.stream.isOperator("(") ? this.#signature() : NONE;
    const call = this.expression();
    if (call.kind !== "call") throw this.stream.unexpected("a call");
    return {
      kind: "call block",
      call: call,
      macro: this.#macroBody(null, signature, "endcall"),
    };
  }

  #macroBody(name: string | null, signature: Signature, end: string): MacroBody {
    const special = { caller: false, kwargs: false, varargs: false };
    return { name, ...signature, body: this.#separate(end), loads: [], special };
  }

  #signature(): Signature {
    const names: string[] = [];
    const defaults: Expression[] = [];
    this.stream.expect("operator", "(");
    while (!this.stream.isOperator(")")) {
      if (names.length > 0) this.stream.expect("operator", ",");
      const name = this.#assignable();
      if (name === "caller") throw refuse('a parameter named "caller"');
      if (names.includes(name)) throw fail(`the parameter "${name}" stands twice`);
      names.push(name);
      if (this.stream.skipOperator("=")) defaults.push(this.expression());
      else if (defaults.length > 0) throw fail("a parameter without a default behind one that has it");
    }
    this.stream.expect("operator", ")");
    return { names, defaults };
  }

  #filterBlock(): Statement {
    const filter = this.filter(null, true)!;
    return { kind: "filter block", filter, body: this.#inner("endfilter").body, loads: [] };
  }

  #with(): Statement {
    const targets: Target[] = [];
    const values: Expression[] = [];
    while (!this.stream.is("block_end")) {
      if (targets.length > 0) this.stream.expect("operator", ",");
      targets.push({ kind: "name", name: this.#assignable() });
      this.stream.expect("operator", "=");
      values.push(this.expression());
    }
    return { kind: "with", targets, values, body: this.#inner("endwith").body, loads: [] };
  }

  #assignable(): string {
    const { value } = this.stream.expect("name");
    if (NOT_ASSIGNABLE.has(value)) throw fail(`cannot assign to ${value}`);
    if (value === "self" || value === "super") throw refuse(`"${value}"`);
    return value;
  }

  /** `a`, `a, b`, `(a, b), c`; with `fields`, also `namespace.field`. Only a bracket may follow a comma at the end. */
  #targets(fields: boolean): Target {
    const items = [this.#target(fields)];
    let isTuple = false;
    while (this.stream.skipOperator(",")) {
      isTuple = true;
      if (this.stream.isOperator(")")) break;
      items.push(this.#target(fields));
    }
    return isTuple ? { kind: "tuple", items } : items[0]!;
  }

  #target(fields: boolean): Target {
    if (this.stream.skipOperator("(")) {
      if (++this.#blocks > MAX_BLOCKS) throw fail(`more than ${MAX_BLOCKS} brackets within each other`);
      const inner = this.#targets(false);
      --this.#blocks;
      this.stream.expect("operator", ")");
      return inner;
    }
    const name = this.#assignable();
    if (!fields || !this.stream.skipOperator(".")) return { kind: "name", name };
    return { kind: "field", object: name, field: this.stream.expect("name").value };
  }
}

const NONE: Signature = { names: [], defaults: [] };

export const namesOf = (target: Target): string[] =>
  target.kind === "name" ? [target.name] : target.kind === "tuple" ? target.items.flatMap(namesOf) : [];
