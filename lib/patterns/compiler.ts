import type { CharSet } from "./char-set.js";
import { PatternError } from "./pattern-error.js";
import { ASSERTIONS, Op, type Program, Span, STRIDE, UNBOUNDED } from "./program.js";
import { firstSet, type Mode, type Node, widthOf } from "./syntax-tree.js";

const MAX_INSTRUCTIONS = 10_000;
/** Nodes visited while compiling: copies of what compiles to nothing count, too. */
const MAX_VISITS = 100_000;

/** Compiles a tree. Throws PatternError where the program would be too large. */
export function compile(node: Node): Program {
  return new Compiler().program(node);
}

type Repeat = Node & { readonly type: "repeat" };
/** Addresses of operands that are yet to be filled in. */
type Exits = number[];

/**
 * A loop whose body has matched nothing must be left. Bodies that can match nothing are therefore compiled so that control falls
 * through where they have not moved, and jumps to an exit where they have ("tracked"): no register is needed, and what comes of an
 * instruction depends on the place in the text alone.
 */
class Compiler {
  readonly #code: number[] = [];
  readonly #sets = new Map<CharSet, number>();
  #states = 0;
  #visits = 0;
  #anchored = false;
  #loops = false;
  /** Going to the left. */
  #back = false;

  program(node: Node): Program {
    this.#emit(node);
    this.#op(Op.End);
    return {
      code: Int32Array.from(this.#code),
      sets: [...this.#sets.keys()],
      states: this.#states,
      first: firstSet(node),
      anchored: this.#anchored,
      loops: this.#loops,
    };
  }

  get #here(): number {
    return this.#code.length;
  }

  #op(op: number, a = 0, b = 0, c = 0, d = 0): number {
    if (this.#code.length >= MAX_INSTRUCTIONS * STRIDE)
      throw new PatternError("unsupported", `repeats that make more than ${MAX_INSTRUCTIONS} instructions`);
    const state = op === Op.Split || op === Op.Span || op === Op.Look || op === Op.Atomic;
    return this.#code.push(op, a, b, c, d, state ? this.#states++ : -1) - STRIDE;
  }

  #set(set: CharSet): number {
    let index = this.#sets.get(set);
    if (index === undefined) this.#sets.set(set, (index = this.#sets.size));
    return index;
  }

  /** A split whose first way is what comes next, if the next character can begin `node`. Returns the address of the second. */
  #split(node: Node, mode: Mode): number {
    if (mode === "lazy") {
      const at = this.#op(Op.Split, 0, 0, -1);
      this.#code[at + 2] = this.#here;
      return at + 1;
    }
    const first = this.#back ? null : firstSet(node);
    const at = this.#op(Op.Split, 0, 0, first === null ? -1 : this.#set(first));
    this.#code[at + 1] = this.#here;
    return at + 2;
  }

  #jump(exits: Exits): void {
    exits.push(this.#op(Op.Jump) + 1);
  }

  #land(exits: Exits): void {
    for (const exit of exits) this.#code[exit] = this.#here;
  }

  #visit(): void {
    if (++this.#visits > MAX_VISITS)
      throw new PatternError("unsupported", `repeats that make more than ${MAX_VISITS} copies`);
  }

  /** Control falls through at the end. */
  #emit(node: Node): void {
    this.#visit();
    switch (node.type) {
      case "empty":
        return;
      case "char":
        this.#op(this.#back ? Op.CharBack : Op.Char, node.code);
        return;
      case "set":
        this.#op(this.#back ? Op.SetBack : Op.Set, this.#set(node.set));
        return;
      case "concat":
        for (const item of this.#inOrder(node.items)) this.#emit(item);
        return;
      case "alternation": {
        const exits: Exits = [];
        node.items.forEach((item, index) => {
          const last = index === node.items.length - 1;
          const other = last ? -1 : this.#split(item, "greedy");
          this.#emit(item);
          if (last) return;
          this.#jump(exits);
          this.#land([other]);
        });
        return this.#land(exits);
      }
      case "repeat":
        return this.#repeat(node);
      case "look": {
        const at = this.#op(Op.Look, 0, 0, node.negative ? 1 : 0);
        const back = this.#back;
        this.#back = node.behind;
        this.#code[at + 1] = this.#here;
        this.#emit(node.body);
        this.#op(Op.End);
        this.#back = back;
        this.#code[at + 2] = this.#here;
        return;
      }
      case "atomic":
        return this.#atomic(node.body, null);
      case "assertion":
        if (node.kind === "search-start") this.#anchored = true;
        this.#op(Op.Assert, ASSERTIONS.indexOf(node.kind));
        return;
      case "boundary":
        this.#op(Op.Boundary, this.#set(node.words), node.negative ? 1 : 0, node.filled ? 1 : 0);
    }
  }

  #inOrder(items: readonly Node[]): readonly Node[] {
    return this.#back ? [...items].reverse() : items;
  }

  /** @param moved where to go on if the body has matched something; null: behind, as if it has matched nothing */
  #atomic(body: Node, moved: Exits | null): void {
    if (this.#back) {
      // What has one width has one end: nothing could be given back.
      if (widthOf(body).min === widthOf(body).max) return this.#emit(body);
      throw new PatternError("unsupported", "an atomic group or possessive quantifier within a look-behind");
    }
    const at = this.#op(Op.Atomic);
    this.#code[at + 1] = this.#here;
    this.#emit(body);
    this.#op(Op.End);
    this.#code[at + 2] = this.#code[at + 3] = this.#here;
    moved?.push(at + 3);
  }

  #repeat(node: Repeat): void {
    const { body, min, max, mode } = node;
    if (max === 0) return;
    if (body.type === "set" || body.type === "char") return this.#span(node);
    if (mode === "possessive") return this.#atomic({ ...node, mode: "greedy" }, null);
    if (widthOf(body).max === 0) {
      // An assertion holds as often as wanted.
      if (min > 0) return this.#emit(body);
      const other = this.#split(body, mode);
      this.#emit(body);
      return this.#land([other]);
    }
    for (let i = 0; i < min; i++) this.#emit(body);
    if (max === Infinity) return this.#loop(body, mode);
    const others: Exits = [];
    for (let i = min; i < max; i++) {
      others.push(this.#split(body, mode));
      this.#emit(body);
    }
    this.#land(others);
  }

  #span({ body, min, max, mode }: Repeat): void {
    const set = body.type === "set" ? body.set : firstSet(body)!;
    const most = Math.min(max, UNBOUNDED);
    if (this.#back && mode === "possessive" && min !== max)
      throw new PatternError("unsupported", "a possessive quantifier within a look-behind");
    this.#op(Op.Span, this.#set(set), Math.min(min, UNBOUNDED), most, this.#back ? Span.back : Span[mode]);
  }

  /** body*, any number of times. */
  #loop(body: Node, mode: Mode): void {
    this.#loops = true;
    const start = this.#here;
    const other = this.#split(body, mode);
    if (widthOf(body).min > 0) {
      this.#emit(body);
      this.#op(Op.Jump, start);
    } else {
      const exits: Exits = [];
      this.#tracked(body, exits);
      const leave: Exits = [];
      this.#jump(leave);
      for (const exit of exits) this.#code[exit] = start;
      this.#land(leave);
    }
    this.#land([other]);
  }

  /** Control falls through where nothing was matched, else it goes to `moved`. */
  #tracked(node: Node, moved: Exits): void {
    this.#visit();
    const { min, max } = widthOf(node);
    if (max === 0) return this.#emit(node);
    if (min > 0) {
      this.#emit(node);
      return this.#jump(moved);
    }
    switch (node.type) {
      case "concat":
        return this.#trackedConcat(this.#inOrder(node.items), moved);
      case "alternation": {
        const ends: Exits = [];
        node.items.forEach((item, index) => {
          const last = index === node.items.length - 1;
          const other = last ? -1 : this.#split(item, "greedy");
          this.#tracked(item, moved);
          if (last) return;
          this.#jump(ends);
          this.#land([other]);
        });
        return this.#land(ends);
      }
      case "atomic":
        return this.#atomic(node.body, moved);
      case "repeat":
        return this.#trackedRepeat(node, moved);
      default:
        return this.#emit(node);
    }
  }

  #trackedConcat(items: readonly Node[], moved: Exits): void {
    const [first, ...rest] = items;
    if (first === undefined) return;
    // Two chains: while nothing is matched, and since something is. A move leads from the first into the second.
    const steps: Exits[] = [];
    for (const item of items) {
      const exits: Exits = [];
      this.#tracked(item, exits);
      steps.push(exits);
    }
    const still: Exits = [];
    this.#jump(still);
    rest.forEach((item, index) => {
      this.#land(steps[index]!);
      this.#emit(item);
    });
    this.#land(steps.at(-1)!);
    this.#jump(moved);
    this.#land(still);
  }

  #trackedRepeat(node: Repeat, moved: Exits): void {
    const { body, min, max, mode } = node;
    if (mode === "possessive") return this.#atomic({ ...node, mode: "greedy" }, moved);
    if (max > 1 && (min > 0 || max !== Infinity)) {
      // X{2,5} as XX(X(X(X)?)?)?, without the nesting: each copy by itself, the rest optional.
      const copy = (least: number, most: number): Node => ({
        type: "repeat",
        body,
        min: least,
        max: most,
        mode,
      });
      const items: Node[] = [];
      for (let i = 0; i < min; i++) items.push(body);
      if (max === Infinity) items.push(copy(0, Infinity));
      else for (let i = min; i < max; i++) items.push(copy(0, 1));
      if (items.length > 1) return this.#trackedConcat(items, moved);
    }
    const other = this.#split(body, mode);
    if (widthOf(body).min > 0) {
      // The first turn moves.
      this.#emit(body);
      if (max === Infinity) this.#repeat({ type: "repeat", body, min: 0, max, mode });
      this.#jump(moved);
      return this.#land([other]);
    }
    const exits: Exits = [];
    this.#tracked(body, exits);
    const still: Exits = [];
    this.#jump(still);
    this.#land(exits);
    if (max === Infinity) this.#repeat({ type: "repeat", body, min: 0, max, mode });
    this.#jump(moved);
    this.#land(still);
    this.#land([other]);
  }
}
