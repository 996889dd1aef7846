import { bind } from "./arguments.js";
import { equals } from "./equality.js";
import { fail } from "./failure.js";
import type { Meter } from "./meter.js";
import { lengthOf } from "./sequences.js";
import { Builtin, Callable, Iter, Tuple, Undefined, type Named, type Value } from "./values.js";

/** The variable `loop`. It looks one item ahead only where `last` or `nextitem` is asked for, as jinja2's does. */
export class Loop extends Callable {
  #index0 = -1;
  #length: number | undefined;
  #after: { value: Value } | null | undefined;
  #current: Value | undefined;
  #before: Value | undefined;
  #changed: Tuple | null = null;
  #steps: Iterator<Value>;

  /** @param recurse renders the loop anew over other items; null without `recursive` */
  constructor(
    private readonly meter: Meter,
    private readonly iterable: Value,
    steps: Iterator<Value>,
    private readonly depth0: number,
    private readonly recurse: ((items: Value, depth: number) => Value) | null,
  ) {
    super("loop");
    this.#steps = steps;
  }

  /** The next item, or null at the end. */
  next(): { value: Value } | null {
    const step = this.#peek();
    this.#after = undefined;
    if (step === null) return null;
    ++this.#index0;
    this.#before = this.#current;
    this.#current = step.value;
    return step;
  }

  #peek(): { value: Value } | null {
    if (this.#after !== undefined) return this.#after;
    const step = this.#steps.next();
    return (this.#after = step.done ? null : { value: step.value });
  }

  #lengthOfAll(): number {
    if (this.#length !== undefined) return this.#length;
    const known = this.iterable instanceof Iter ? undefined : lengthOf(this.meter, this.iterable);
    if (known !== undefined) return (this.#length = known);
    const rest: Value[] = [];
    for (let step = this.#steps.next(); !step.done; step = this.#steps.next()) rest.push(step.value);
    this.#steps = rest.values();
    return (this.#length = rest.length + this.#index0 + 1 + (this.#after ? 1 : 0));
  }

  override attribute(name: string): Value | undefined {
    switch (name) {
      case "index":
        return this.#index0 + 1;
      case "index0":
        return this.#index0;
      case "first":
        return this.#index0 === 0;
      case "last":
        return this.#peek() === null;
      case "length":
        return this.#lengthOfAll();
      case "revindex":
        return this.#lengthOfAll() - this.#index0;
      case "revindex0":
        return this.#lengthOfAll() - this.#index0 - 1;
      case "depth":
        return this.depth0 + 1;
      case "depth0":
        return this.depth0;
      case "previtem":
        return this.#index0 === 0 ? new Undefined("there is no previous item") : this.#before!;
      case "nextitem":
        return itemOf(this.#peek());
      case "cycle":
        return new Builtin("cycle", (items, named) => {
          if (named.size > 0) throw fail("cycle() takes no arguments by name");
          if (items.length === 0) throw fail("no items for cycling given");
          return items[this.#index0 % items.length]!;
        });
      case "changed":
        return new Builtin("changed", (items, named) => this.#hasChanged(items, named));
      default:
        return undefined;
    }
  }

  #hasChanged(items: readonly Value[], named: Named): boolean {
    if (named.size > 0) throw fail("changed() takes no arguments by name");
    const now = new Tuple(items);
    if (this.#changed !== null && equals(this.meter, this.#changed, now)) return false;
    this.#changed = now;
    return true;
  }

  call(positional: readonly Value[], named: Named): Value {
    const [items] = bind("loop", ["iterable"], positional, named, { required: 1 });
    if (this.recurse === null)
      throw fail("the loop must have the 'recursive' marker to be called recursively");
    return this.recurse(items!, this.depth0 + 1);
  }

  override print(): string {
    return `<LoopContext ${this.#index0 + 1}/${this.#lengthOfAll()}>`;
  }
}

/** The item; the end gives an undefined value. */
const itemOf = (step: { value: Value } | null): Value =>
  step === null ? new Undefined("there is no next item") : step.value;
