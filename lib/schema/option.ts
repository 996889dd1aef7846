import { expected } from "../errors/index.js";

/** A JSON schema (draft 7 and later). */
export type JsonSchema = Readonly<Record<string, unknown>>;

/** A default that is found out where the option is used: what the docs say of it, and what stands for it until then. */
export interface Computed<Value, Context = unknown> {
  readonly says: string;
  readonly value: Value | ((context: Context) => Value);
}

declare const given: unique symbol;

/**
 * One option, declared once: what it means, its default, what it takes and what that becomes. `Given` is what users write, `Checked` what
 * the code gets, `Context` what bounds depend on (a vocabulary, the length of a prompt).
 */
export interface Option<Given, Checked = Given, Context = unknown> {
  /** For the type alone. */
  readonly [given]?: Given;
  /** One sentence, as for a flag of a command line. */
  readonly description: string;
  /** What numbers count. */
  readonly unit: string | undefined;
  /** What leaving it out means; undefined where that means nothing, as of a signal. */
  readonly default: unknown;
  /** May not be left out; the type of its default is `never`. */
  readonly required: boolean;
  /** Values that JSON can say; null where it can say none. Without a context, bounds that need one are left out. */
  readonly json: (context: Context | undefined) => JsonSchema | null;
  /** Throws ERR_INVALID_ARGUMENT; the default for undefined. */
  readonly check: (name: string, value: unknown, context: Context) => Checked;
}

export interface OptionFacts<Default> {
  readonly description: string;
  readonly unit?: string;
  readonly default?: Default;
  readonly required?: true;
}

export const isComputed = (value: unknown): value is Computed<unknown, never> =>
  typeof value === "object" && value !== null && "says" in value;

type At<Value, Context> = Value | ((context: Context) => Value);
const at = <Value, Context>(value: At<Value, Context>, context: Context): Value =>
  typeof value === "function" ? (value as (context: Context) => Value)(context) : value;

/** An option of any kind. `check` is given no undefined, unless the option is required. */
export function option<Given, Checked = Given, Context = unknown, Default = undefined>(
  facts: OptionFacts<Default | Computed<Default, Context>> & {
    readonly json: Option<Given, Checked, Context>["json"] | JsonSchema | null;
    readonly check: (value: unknown, name: string, context: Context) => Checked;
  },
): Option<Given, Checked | Default, Context> {
  const { description, unit, json, check, required = false } = facts;
  const fallback = facts.default as At<Default, Context> | Computed<Default, Context>;
  return {
    description,
    unit,
    default: fallback,
    required,
    json: typeof json === "function" ? json : () => json,
    check: (name, value, context) =>
      value !== undefined || required
        ? check(value, name, context)
        : isComputed(fallback)
          ? at(fallback.value as At<Default, Context>, context)
          : (fallback as Default),
  };
}

interface NumberFacts<Default, Context> extends OptionFacts<Default | Computed<Default, Context>> {
  readonly min: At<number, Context>;
  readonly max: At<number, Context>;
  /** The minimum itself is refused. */
  readonly aboveMin?: true;
}

function numeric<Context, Default>(
  facts: NumberFacts<Default, Context>,
  kind: "number" | "integer",
): Option<number, number | Default, Context> {
  const { min, max, aboveMin } = facts;
  const bounds = (context: Context): [min: number, max: number] => [at(min, context), at(max, context)];
  const known = <Key extends string>(
    key: Key,
    bound: At<number, Context>,
    context: Context | undefined,
  ): object =>
    typeof bound === "number" ? { [key]: bound } : context === undefined ? {} : { [key]: bound(context) };
  return option<number, number, Context, Default>({
    ...facts,
    json: (context) => ({
      type: kind,
      ...known(aboveMin ? "exclusiveMinimum" : "minimum", min, context),
      ...known("maximum", max, context),
    }),
    check: (value, name, context) => {
      const [least, most] = bounds(context);
      if (
        typeof value === "number" &&
        (aboveMin ? value > least : value >= least) &&
        value <= most &&
        (kind === "number" || Number.isInteger(value))
      )
        return value;
      const what = kind === "integer" ? "an integer" : "a number";
      throw expected(
        aboveMin ? `${what} above ${least}, up to ${most}` : `${what} from ${least} to ${most}`,
        name,
        value,
      );
    },
  });
}

export const number = <Context = unknown, Default = undefined>(facts: NumberFacts<Default, Context>) =>
  numeric(facts, "number");

export const integer = <Context = unknown, Default = undefined>(facts: NumberFacts<Default, Context>) =>
  numeric(facts, "integer");

export const boolean = <Default = undefined>(facts: OptionFacts<Default | Computed<Default>>) =>
  option<boolean, boolean, unknown, Default>({
    ...facts,
    json: { type: "boolean" },
    check: (value, name) => {
      if (typeof value !== "boolean") throw expected("true or false", name, value);
      return value;
    },
  });

export const choice = <const Choice extends string, Default = undefined>(
  choices: readonly Choice[],
  facts: OptionFacts<Default | Computed<Default>>,
) =>
  option<Choice, Choice, unknown, Default>({
    ...facts,
    json: { enum: choices },
    check: (value, name) => {
      if (!choices.includes(value as Choice))
        throw expected(choices.map((one) => `"${one}"`).join(" or "), name, value);
      return value as Choice;
    },
  });

interface TextFacts<Default> extends OptionFacts<Default | Computed<Default>> {
  /** UTF-16 units. */
  readonly minLength?: 1;
  readonly maxLength: number;
}

/** A string. Of one with characters beyond U+FFFF, a JSON schema counts code points and so takes a little more. */
export const text = <Default = undefined>(facts: TextFacts<Default>) =>
  option<string, string, unknown, Default>({
    ...facts,
    json: { type: "string", minLength: facts.minLength ?? 0, maxLength: facts.maxLength },
    check: (value, name) => {
      const { minLength = 0, maxLength } = facts;
      if (typeof value === "string" && value.length >= minLength && value.length <= maxLength) return value;
      const length = minLength === 0 ? `at most ${maxLength}` : `${minLength} to ${maxLength}`;
      throw expected(`a string of ${length} characters`, name, value);
    },
  });

/** A function of the caller. */
export const callback = <Function_ extends (...args: never[]) => unknown>(facts: OptionFacts<undefined>) =>
  option<Function_, Function_>({
    ...facts,
    json: null,
    check: (value, name) => {
      if (typeof value !== "function") throw expected("a function", name, value);
      return value as Function_;
    },
  });

export const signal = (facts: OptionFacts<undefined>) =>
  option<AbortSignal, AbortSignal>({
    ...facts,
    json: null,
    check: (value, name) => {
      if (!(value instanceof AbortSignal)) throw expected("an AbortSignal", name, value);
      return value;
    },
  });
