import { truth } from "./equality.js";
import { Evaluator, lookUp, MISSING, type Frame } from "./evaluator.js";
import { fail, TemplateFailure } from "./failure.js";
import { makeGlobals } from "./globals.js";
import { Loop } from "./loop.js";
import { Macro } from "./macro.js";
import { Meter, NODE, type TemplateLimits } from "./meter.js";
import type {
  Expression,
  ExpressionOf,
  Load,
  MacroBody,
  Program,
  Statement,
  StatementOf,
  Target,
} from "./nodes.js";
import { toStr } from "./printing.js";
import { iterate, toArray } from "./sequences.js";
import { Str, TextBuilder } from "./text.js";
import { typeName } from "./type-names.js";
import { Namespace, Undefined, type Value } from "./values.js";

export interface RenderInput {
  readonly program: Program;
  /** Makes the variables, on the same account. */
  readonly variables: (meter: Meter) => Iterable<readonly [string, Value]>;
  /** What `strftime_now` tells. */
  readonly now: Date;
  readonly limits?: TemplateLimits | undefined;
}

/** Why a list of statements ended. */
type Flow = "end" | "break" | "continue";

/** Renders a template. Throws a TemplateFailure where jinja2 raises, for what is refused, and past a budget. */
export function renderTemplate({ program, variables, now, limits }: RenderInput): Str {
  const meter = new Meter(limits);
  try {
    const renderer = new Renderer(meter, now, new Map(variables(meter)));
    return renderer.render(program);
  } catch (error) {
    // Expressions within macros within macros: the stack ends before the budget does.
    if (error instanceof RangeError)
      throw new TemplateFailure('too many levels for the budget "depth"', "depth");
    throw error;
  }
}

class Renderer extends Evaluator {
  constructor(meter: Meter, now: Date, variables: Map<string, Value>) {
    super(meter, now, new Map());
    for (const [name, value] of makeGlobals(this)) this.variables.set(name, value);
    for (const [name, value] of variables) this.variables.set(name, value);
  }

  render({ body, loads }: Program): Str {
    const out = new TextBuilder(this.meter, this.meter.maxOutput);
    this.#run(body, this.enterFrame(null, loads), out);
    return out.finish();
  }

  /** What a body prints, as a text of its own. */
  #buffer(body: readonly Statement[], frame: Frame): { text: Str; flow: Flow } {
    const out = new TextBuilder(this.meter, this.meter.maxOutput);
    const flow = this.#run(body, frame, out);
    return { text: out.finish(), flow };
  }

  #run(body: readonly Statement[], frame: Frame, out: TextBuilder): Flow {
    this.meter.enter();
    let flow: Flow = "end";
    for (const statement of body) {
      flow = this.#statement(statement, frame, out);
      if (flow !== "end") break;
    }
    this.meter.leave();
    return flow;
  }

  #print(text: Str, out: TextBuilder): void {
    if (out.length + text.text.length > this.meter.maxOutput)
      throw new TemplateFailure(
        `more than ${this.meter.maxOutput} characters of text, which is the budget "output"`,
        "output",
      );
    out.add(text);
  }

  #statement(statement: Statement, frame: Frame, out: TextBuilder): Flow {
    this.meter.spend(NODE);
    switch (statement.kind) {
      case "text":
        this.#print(new Str(statement.text), out);
        return "end";
      case "print":
        this.#print(toStr(this.meter, this.evaluate(statement.value, frame)), out);
        return "end";
      case "if": {
        for (const [test, body] of statement.branches)
          if (truth(this.evaluate(test, frame))) return this.#run(body, frame, out);
        return this.#run(statement.otherwise, frame, out);
      }
      case "for":
        return this.#for(statement, frame, out);
      case "set":
        this.#assign(statement.target, this.evaluate(statement.value, frame), frame, statement.exports);
        return "end";
      case "break":
      case "continue":
        return statement.kind;
      default:
        return this.#block(statement, frame, out);
    }
  }

  #block(
    statement: StatementOf<"set block" | "macro" | "call block" | "filter block" | "with">,
    frame: Frame,
    out: TextBuilder,
  ): Flow {
    switch (statement.kind) {
      case "set block": {
        const inner = this.enterFrame(frame, statement.loads);
        const { text, flow } = this.#buffer(statement.body, inner);
        if (flow !== "end") return flow;
        const value = statement.filter === null ? text : this.#filtered(statement.filter, text, inner);
        this.#assign(statement.target, value, frame, statement.exports);
        return "end";
      }
      case "macro":
        this.#setName(statement.macro.name, this.#macro(statement.macro, frame), frame, statement.exports);
        return "end";
      case "call block": {
        const caller = this.#macro(statement.macro, frame);
        const result =
          statement.call === null
            ? caller.call([], new Map())
            : this.call(this.evaluate(statement.call.callee, frame), statement.call.args, frame, [
                "caller",
                caller,
              ]);
        this.#print(toStr(this.meter, result), out);
        return "end";
      }
      case "filter block": {
        const inner = this.enterFrame(frame, statement.loads);
        const { text, flow } = this.#buffer(statement.body, inner);
        if (flow !== "end") return flow;
        this.#print(toStr(this.meter, this.#filtered(statement.filter, text, inner)), out);
        return "end";
      }
      case "with": {
        const values = statement.values.map((value) => this.evaluate(value, frame));
        const inner = this.enterFrame(frame, statement.loads);
        statement.targets.forEach((target, i) => this.#assign(target, values[i]!, inner, false));
        return this.#run(statement.body, inner, out);
      }
    }
  }

  /** A chain of filters whose innermost one takes the text of a block. */
  #filtered(filter: Expression, text: Value, frame: Frame): Value {
    const node = filter as ExpressionOf<"filter">;
    this.meter.spend(NODE);
    return this.filter(node, node.operand === null ? text : this.#filtered(node.operand, text, frame), frame);
  }

  #setName(name: string, value: Value, frame: Frame, exports: boolean): void {
    frame.names.set(name, value);
    if (exports) this.variables.set(name, value);
  }

  #assign(target: Target, value: Value, frame: Frame, exports: boolean): void {
    if (target.kind === "name") return this.#setName(target.name, value, frame, exports);
    if (target.kind === "field") {
      const object = lookUp(frame, target.object);
      if (!(object instanceof Namespace)) throw fail("cannot assign attribute on non-namespace object");
      this.meter.elements(4);
      object.fields.set(target.field, value);
      return;
    }
    const values = toArray(this.meter, value);
    if (values.length !== target.items.length)
      throw fail(
        `expected ${target.items.length} values to unpack from ${typeName(value)}, got ${values.length}`,
      );
    target.items.forEach((item, i) => this.#assign(item, values[i]!, frame, exports));
  }

  #macro(macro: MacroBody, around: Frame): Macro {
    return new Macro(macro, (parameters) => {
      const frame = this.enterFrame(around, macro.loads);
      for (const name of macro.names) frame.names.set(name, MISSING);
      for (const [name, value] of parameters) frame.names.set(name, value);
      const firstDefault = macro.names.length - macro.defaults.length;
      macro.names.forEach((name, i) => {
        if (parameters.has(name)) return;
        const value =
          i < firstDefault
            ? new Undefined(`parameter '${name}' was not provided`)
            : this.evaluate(macro.defaults[i - firstDefault]!, frame);
        frame.names.set(name, value);
      });
      return this.#buffer(macro.body, frame).text;
    });
  }

  #for(statement: StatementOf<"for">, frame: Frame, out: TextBuilder): Flow {
    const items = this.evaluate(statement.iterable, frame);
    if (!statement.recursive) return this.#loop(statement, items, frame, out, 0, null);
    const recurse = (again: Value, depth: number): Str => {
      const inner = new TextBuilder(this.meter, this.meter.maxOutput);
      this.#loop(statement, again, frame, inner, depth, recurse);
      return inner.finish();
    };
    this.#print(recurse(items, 0), out);
    return "end";
  }

  #loop(
    statement: StatementOf<"for">,
    items: Value,
    frame: Frame,
    out: TextBuilder,
    depth: number,
    recurse: ((items: Value, depth: number) => Value) | null,
  ): Flow {
    const { target, test, body, loads } = statement;
    const all = iterate(this.meter, items);
    const steps = test === null ? all : this.#tested(all, target, test, statement.testLoads, frame);
    // Behind a test nobody knows the length before the end.
    const loop = new Loop(this.meter, test === null ? items : null, steps, depth, recurse);
    let nothing = true;
    for (let step = loop.next(); step !== null; step = loop.next()) {
      this.meter.spend(NODE);
      const inner = this.enterFrame(frame, loads);
      inner.names.set("loop", loop);
      this.#assign(target, step.value, inner, false);
      const flow = this.#run(body, inner, out);
      if (flow === "break") break;
      // Python's code notes that there was an iteration at its end, which `continue` leaves out.
      if (flow === "end") nothing = false;
    }
    if (!nothing || statement.otherwise.length === 0) return "end";
    return this.#run(statement.otherwise, this.enterFrame(frame, statement.otherwiseLoads), out);
  }

  *#tested(
    items: Iterable<Value>,
    target: Target,
    test: Expression,
    loads: readonly Load[],
    frame: Frame,
  ): Generator<Value> {
    for (const item of items) {
      const inner = this.enterFrame(frame, loads);
      this.#assign(target, item, inner, false);
      if (truth(this.evaluate(test, inner))) yield item;
    }
  }
}
