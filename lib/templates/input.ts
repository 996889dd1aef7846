import { LowrankError } from "../errors/index.js";
import { fail } from "./failure.js";
import { OBJECT, type Meter } from "./meter.js";
import { Str } from "./text.js";
import { Dict, Float, List, OuterInt, type Value } from "./values.js";

/** Deepest nesting and most text (UTF-16 units) of what is handed to a template. */
const MAX_DEPTH = 32;
const MAX_INPUT = 1 << 24;

/** A message's content that is a list of parts, such as text and images. A template that prints it as it is takes text only. */
export class Parts extends List {
  constructor(
    items: readonly Value[],
    private readonly index: number,
  ) {
    super(items);
  }

  refusal(): Error {
    return fail(
      `messages[${this.index}].content is a list of parts, and this chat template takes text only: pass a string`,
    );
  }
}

/** JSON values as the values of a template, all text in them from outside. Throws ERR_INVALID_ARGUMENT for what is no JSON. */
export class InputReader {
  #characters = 0;

  constructor(private readonly meter: Meter) {}

  /** `messages`, in which lists of parts are told apart. */
  messages(messages: readonly unknown[]): List {
    this.meter.elements(messages.length);
    return new List(
      messages.map((message, index) => {
        const value = this.read(message, `messages[${index}]`, 1);
        const content = value instanceof Dict ? value.getText("content") : undefined;
        if (!(value instanceof Dict) || !(content instanceof List) || !isParts(value, content)) return value;
        const entries = value.entries.map(
          ([key, item]) => [key, item === content ? new Parts(content.items, index) : item] as const,
        );
        return new Dict(entries, (key) => (key as Str).text);
      }),
    );
  }

  read(value: unknown, name: string, depth = 0): Value {
    if (depth > MAX_DEPTH) throw invalid(`at most ${MAX_DEPTH} levels of nesting`, name, "more");
    this.meter.spend(OBJECT);
    switch (typeof value) {
      case "string":
        return this.#text(value, name);
      case "boolean":
        return value;
      case "number":
        return number(value, name);
      case "undefined":
        return null;
      case "object":
        if (value === null) return null;
        if (Array.isArray(value)) return new List(value.map((item) => this.read(item, name, depth + 1)));
        if (Object.prototype.toString.call(value) !== "[object Object]") break;
        return this.#dict(value, name, depth);
    }
    throw invalid(
      "JSON values",
      name,
      typeof value === "object" ? "an object of another kind" : typeof value,
    );
  }

  #dict(object: object, name: string, depth: number): Dict {
    const entries: [Value, Value][] = [];
    for (const [key, item] of Object.entries(object) as [string, unknown][])
      if (item !== undefined) entries.push([this.#text(key, name), this.read(item, name, depth + 1)]);
    this.meter.elements(4 * entries.length);
    return new Dict(entries, (key) => (key as Str).text);
  }

  #text(text: string, name: string): Str {
    this.#characters += text.length;
    if (this.#characters > MAX_INPUT) throw invalid(`at most ${MAX_INPUT} characters`, name, "more");
    return Str.outside(text);
  }
}

/** Tool results may be any list; anything else is parts where each says its type. */
function isParts(message: Dict, content: List): boolean {
  const role = message.getText("role");
  if (content.items.length === 0 || (role instanceof Str && role.text === "tool")) return false;
  return content.items.every((item) => item instanceof Dict && item.getText("type") instanceof Str);
}

/** JavaScript has one kind of number: whole ones are integers here. */
function number(value: number, name: string): Value {
  if (!Number.isFinite(value)) throw invalid("JSON values", name, String(value));
  if (!Number.isInteger(value)) return new Float(value, true);
  if (Number.isSafeInteger(value)) return new OuterInt(value + 0);
  throw invalid("integers of at most 2^53, which JavaScript has exactly,", name, String(value));
}

export const invalid = (what: string, name: string, received: string): LowrankError =>
  new LowrankError("ERR_INVALID_ARGUMENT", `Expected ${what} for ${name}, received ${received}.`, {
    details: { name },
  });
