import { type CharSet, effort } from "./char-set.js";
import { Memo } from "./memo.js";
import { PatternError } from "./pattern-error.js";
import { holds, isWord, stepBack, width } from "./positions.js";
import { Op, type Program, Span, STRIDE, UNBOUNDED } from "./program.js";

/** Steps that a search may take: so many for each character of the text, and some more. */
const STEPS_PER_CHARACTER = 48;
const EXTRA_STEPS = 50_000;
/** Steps after which the search begins to remember what has failed. */
const PLAIN_STEPS_PER_CHARACTER = 6;
const PLAIN_STEPS = 4_096;
/** Steps between two looks at the budget. */
const CHECK = 1_024;
/** What it costs to work out a page of a set, or a block of a property, in steps; the first blocks are free. */
const PAGE_STEPS = 64;
const BLOCK_STEPS = 20_000;
const FREE_BLOCKS = 3_000;
/** Pages that are free for each character: each may need one of its own in every set. */
const FREE_PAGES = 64;
/** Numbers of the stack, three a choice: 48 MB. */
const MAX_STACK = 12_000_000;

/**
 * One run over a text: any number of matches from left to right, in time proportional to the text's length.
 *
 * Backtracking with Perl's priorities. What comes of an instruction at a place of the text never depends on how the search got there,
 * so that from some number of steps on it is remembered ({@link Memo}), and each is done once.
 */
export class Search {
  /** UTF-16 offsets of the last match. */
  start = -1;
  end = -1;

  readonly #program: Program;
  #text: string;
  #stack = new Int32Array(96);
  #top = 0;
  #steps = 0;
  #pages = effort.pages;
  #blocks = effort.blocks;
  #freeBlocks = FREE_BLOCKS;
  /** Pages that were worked out for this text, and those charged. */
  #used = 0;
  #paid = 0;
  #memo: Memo | null = null;
  #from = 0;
  #whole = false;

  constructor(program: Program, text: string) {
    this.#program = program;
    this.#text = text;
  }

  /** Finds the first match at or behind `from`. Throws PatternError where the budget is spent. */
  next(from: number): boolean {
    const { first } = this.#program;
    const text = this.#text;
    this.#begin(from);
    for (let at = from; at <= text.length;) {
      if (first !== null) {
        while (at < text.length && !contains(first, text, at)) at += width(text, at);
        if (at >= text.length) return false;
      }
      if (this.#matchAt(at)) return true;
      at += at < text.length ? width(text, at) : 1;
    }
    return false;
  }

  /**
   * Matches at `at` alone.
   * @param whole up to the end of the text; on one search it must not change
   */
  match(at: number, whole = false): boolean {
    const { first } = this.#program;
    if (first !== null && !(at < this.#text.length && contains(first, this.#text, at))) return false;
    this.#whole = whole;
    this.#begin(at);
    return this.#matchAt(at);
  }

  /** Begins a run over another text. */
  restart(text: string): void {
    this.#text = text;
    this.#steps = 0;
    this.#used = 0;
    this.#paid = 0;
    this.#memo = null;
  }

  /** Steps taken so far in this run. */
  get steps(): number {
    return this.#steps;
  }

  #begin(from: number): void {
    this.#from = from;
    // \G ties what has failed to where the search began.
    if (this.#memo !== null && (this.#program.anchored || this.#memo.isBehind(from)))
      this.#memo = new Memo(this.#program, this.#text, from);
  }

  #matchAt(at: number): boolean {
    this.#top = 0;
    const end = this.#run(0, at);
    if (end < 0) return false;
    this.start = at;
    this.end = end;
    return true;
  }

  /** Charges steps, turns the memory on, ends what takes too long. */
  #charge(steps: number): void {
    this.#steps += steps;
    if (effort.pages !== this.#pages) this.#chargeSets();
    const { length } = this.#text;
    if (this.#memo === null && this.#steps > PLAIN_STEPS + PLAIN_STEPS_PER_CHARACTER * length)
      this.#memo = new Memo(this.#program, this.#text, this.#from);
    if (this.#steps > EXTRA_STEPS + STEPS_PER_CHARACTER * length) throw overBudget();
  }

  #chargeSets(): void {
    const blocks = effort.blocks - this.#blocks;
    const free = Math.min(blocks, this.#freeBlocks);
    this.#freeBlocks -= free;
    this.#used += effort.pages - this.#pages;
    const paid = Math.max(0, this.#used - FREE_PAGES * this.#text.length - this.#paid);
    this.#paid += paid;
    this.#steps += PAGE_STEPS * paid + BLOCK_STEPS * (blocks - free);
    this.#pages = effort.pages;
    this.#blocks = effort.blocks;
  }

  #grow(): void {
    if (this.#stack.length >= MAX_STACK) throw overBudget();
    const larger = new Int32Array(this.#stack.length * 2);
    larger.set(this.#stack);
    this.#stack = larger;
  }

  /** Runs from an instruction to End. Returns the place reached, or -1. Goes deeper for look-arounds and atomic groups only. */
  #run(address: number, start: number): number {
    const { code, sets } = this.#program;
    const text = this.#text;
    const { length } = text;
    const base = this.#top;
    let memo = this.#memo;
    let mark = memo === null ? 0 : memo.marks;
    let stack = this.#stack;
    let pc = address;
    let at = start;
    let steps = 0;
    for (;;) {
      if (++steps >= CHECK) {
        this.#charge(steps);
        steps = 0;
        if (memo === null && this.#memo !== null) {
          memo = this.#memo;
          mark = memo.marks;
        }
      }
      let failed = false;
      switch (code[pc]) {
        case Op.Char: {
          const wanted = code[pc + 1]!;
          if (at >= length) failed = true;
          else if (text.charCodeAt(at) === wanted) ++at;
          else if (wanted > 0xffff && text.codePointAt(at) === wanted) at += 2;
          else failed = true;
          pc += STRIDE;
          break;
        }
        case Op.Set: {
          if (at < length && contains(sets[code[pc + 1]!]!, text, at)) at += width(text, at);
          else failed = true;
          pc += STRIDE;
          break;
        }
        case Op.CharBack:
        case Op.SetBack: {
          if (at === 0) failed = true;
          else {
            at = stepBack(text, at);
            const point = text.codePointAt(at)!;
            failed = code[pc] === Op.CharBack ? point !== code[pc + 1] : !sets[code[pc + 1]!]!.has(point);
          }
          pc += STRIDE;
          break;
        }
        case Op.Split: {
          if (memo !== null) {
            const known = memo.look(code[pc + 5]!, at);
            if (known > 0) return this.#settle(base, mark, known - 1);
            if (known < 0) {
              failed = true;
              break;
            }
            memo.mark(code[pc + 5]!, at, this.#top);
            steps += 3;
          }
          const guard = code[pc + 3]!;
          if (guard >= 0 && !(at < length && contains(sets[guard]!, text, at))) {
            pc = code[pc + 2]!;
            break;
          }
          if (this.#top + 3 > stack.length) {
            this.#grow();
            stack = this.#stack;
          }
          stack[this.#top] = code[pc + 2]!;
          stack[this.#top + 1] = at;
          stack[this.#top + 2] = -1;
          this.#top += 3;
          pc = code[pc + 1]!;
          break;
        }
        case Op.Jump:
          pc = code[pc + 1]!;
          break;
        case Op.Span: {
          const state = code[pc + 5]!;
          if (memo !== null) {
            const known = memo.look(state, at);
            if (known > 0) return this.#settle(base, mark, known - 1);
            if (known < 0) {
              failed = true;
              break;
            }
            memo.mark(state, at, this.#top);
            steps += 3;
          }
          const set = sets[code[pc + 1]!]!;
          const least = code[pc + 2]!;
          const most = code[pc + 3]!;
          const mode = code[pc + 4]!;
          let near = at; // behind the least
          let far = at;
          if (mode === Span.back) {
            let count = 0;
            if (least === 0) near = far;
            while (count < most && far > 0) {
              const before = stepBack(text, far);
              if (!set.has(text.codePointAt(before)!)) break;
              far = before;
              if (++count === least) near = far;
            }
            if (count < least) failed = true;
            steps += at - far;
          } else {
            const kept = memo !== null && most === UNBOUNDED && least <= 1 ? memo.runEnd(state, at) : -1;
            if (kept >= 0) {
              far = kept;
              if (least === 1) near = at + width(text, at);
            } else {
              let count = 0;
              let known = 0;
              const { pages } = set;
              const joint = memo !== null && most === UNBOUNDED && least <= 1 ? memo.runStart(state) : -1;
              while (count < most && far < length) {
                if (far === joint) {
                  // The rest of the run is known.
                  known = memo!.runEnd(state, far) - far;
                  far += known;
                  break;
                }
                const unit = text.charCodeAt(far);
                if ((unit & 0xf800) !== 0xd800) {
                  if ((pages[unit >> 8] ?? set.page(unit >> 8))[unit & 0xff] === 0) break;
                  ++far;
                } else {
                  const point = text.codePointAt(far)!;
                  if (!set.has(point)) break;
                  far += point > 0xffff ? 2 : 1;
                }
                if (++count === least) near = far;
              }
              if (count < least) failed = true;
              steps += (far - known - at) >> 2;
              if (memo !== null && most === UNBOUNDED && least <= 1) memo.keepRun(state, at, far);
            }
          }
          if (failed) break;
          if (mode === Span.possessive || near === far) {
            at = far;
            pc += STRIDE;
            break;
          }
          // Greedy: from far to near. Lazy, and to the left: the other way round.
          const limit = mode === Span.greedy ? near : far;
          at = mode === Span.greedy ? far : near;
          if (memo !== null) {
            at = memo.skip(state, at, limit, text);
            if (at < 0) {
              failed = true;
              break;
            }
          }
          if (at !== limit) {
            if (this.#top + 3 > stack.length) {
              this.#grow();
              stack = this.#stack;
            }
            stack[this.#top] = pc;
            stack[this.#top + 1] = at;
            stack[this.#top + 2] = limit;
            this.#top += 3;
          }
          pc += STRIDE;
          break;
        }
        case Op.Look: {
          const body = this.#run(pc + STRIDE, at);
          stack = this.#stack;
          memo = this.#memo;
          failed = body < 0 !== (code[pc + 3] === 1);
          pc = code[pc + 2]!;
          break;
        }
        case Op.Atomic: {
          const end = this.#run(pc + STRIDE, at);
          stack = this.#stack;
          memo = this.#memo;
          if (end < 0) failed = true;
          else {
            pc = end === at ? code[pc + 2]! : code[pc + 3]!;
            at = end;
          }
          break;
        }
        case Op.Assert:
          failed = !holds(code[pc + 1]!, text, at, this.#from);
          pc += STRIDE;
          break;
        case Op.Boundary: {
          const words = sets[code[pc + 1]!]!;
          const is = isWord(words, text, at) !== (at > 0 && isWord(words, text, stepBack(text, at)));
          failed = is === (code[pc + 2] === 1) || (length === 0 && code[pc + 3] === 1);
          pc += STRIDE;
          break;
        }
        default: // End
          if (this.#whole && pc === this.#program.code.length - STRIDE && at < length) {
            failed = true;
            break;
          }
          this.#charge(steps);
          return this.#settle(base, mark, at);
      }
      if (!failed) continue;
      // Back to the last choice.
      for (;;) {
        if (this.#top === base) {
          this.#memo?.failed(mark, -1);
          this.#charge(steps);
          return -1;
        }
        this.#top -= 3;
        const top = this.#top;
        pc = stack[top]!;
        at = stack[top + 1]!;
        if (memo !== null) memo.failed(mark, top);
        const limit = stack[top + 2]!;
        if (limit < 0) break;
        // A span: one character less, or more.
        const state = code[pc + 5]!;
        if (memo !== null) memo.tried(state, at, text);
        at = limit < at ? stepBack(text, at) : at + width(text, at);
        if (memo !== null) {
          at = memo.skip(state, at, limit, text);
          if (at < 0) continue;
        }
        if (at !== limit) {
          stack[top + 1] = at;
          this.#top += 3;
        }
        pc += STRIDE;
        break;
      }
    }
  }

  #settle(base: number, mark: number, end: number): number {
    this.#top = base;
    this.#memo?.succeeded(mark, end);
    return end;
  }
}

/** Is the character at `at`, which is before the end, a member? */
function contains(set: CharSet, text: string, at: number): boolean {
  const unit = text.charCodeAt(at);
  if ((unit & 0xf800) === 0xd800) return set.has(text.codePointAt(at)!);
  return (set.pages[unit >> 8] ?? set.page(unit >> 8))[unit & 0xff] === 1;
}

const overBudget = (): PatternError =>
  new PatternError("budget", `more than ${STEPS_PER_CHARACTER} steps for each character of the text`);
