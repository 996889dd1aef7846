import { fail } from "./failure.js";
import type { MacroBody } from "./nodes.js";
import { Str } from "./text.js";
import { Callable, Dict, Tuple, Undefined, type Named, type Value } from "./values.js";

/** A macro, or the body of a call block. Its result is a text. */
export class Macro extends Callable {
  /** @param run renders the body with parameters by name; those that are left out are missing */
  constructor(
    private readonly macro: MacroBody,
    private readonly run: (parameters: ReadonlyMap<string, Value>) => Str,
  ) {
    super(macro.name ?? "macro");
  }

  call(positional: readonly Value[], named: Named): Value {
    const { names, special, name } = this.macro;
    const rest = new Map(named);
    const parameters = new Map<string, Value>();
    names.forEach((parameter, i) => {
      const value = i < positional.length ? positional[i] : rest.get(parameter);
      if (value !== undefined) parameters.set(parameter, value);
      if (i >= positional.length) rest.delete(parameter);
    });
    if (special.caller) {
      const caller = rest.get("caller") ?? null;
      rest.delete("caller");
      parameters.set("caller", caller === null ? new Undefined("No caller defined") : caller);
    }
    if (special.kwargs) {
      const pairs = [...rest].map(([key, value]) => [new Str(key), value] as const);
      parameters.set("kwargs", new Dict(pairs, (key) => (key as Str).text));
    } else if (rest.size > 0) {
      throw fail(`macro '${name}' takes no keyword argument '${[...rest.keys()][0]!.slice(0, 40)}'`);
    }
    if (special.varargs) parameters.set("varargs", new Tuple(positional.slice(names.length)));
    else if (positional.length > names.length)
      throw fail(`macro '${name}' takes not more than ${names.length} argument(s)`);
    return this.run(parameters);
  }

  override attribute(name: string): Value | undefined {
    if (name === "name") return this.macro.name === null ? null : new Str(this.macro.name);
    if (name === "arguments") return new Tuple(this.macro.names.map((one) => new Str(one)));
    return super.attribute(name);
  }

  override print(): string {
    return this.macro.name === null ? "<Macro anonymous>" : `<Macro '${this.macro.name}'>`;
  }
}
