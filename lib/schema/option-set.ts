import { expected } from "../errors/index.js";
import { isComputed, option, type Computed, type JsonSchema, type Option } from "./option.js";

/** The options of a call, by name. The doc comment of each is what editors show for it. */
export type OptionSet = Readonly<Record<string, Option<unknown, unknown, never>>>;

type GivenOf<One> = One extends Option<infer Given, unknown, never> ? Given : never;
type CheckedValueOf<One> = One extends Option<unknown, infer Checked, never> ? Checked : never;
type ContextsOf<One> =
  One extends Option<unknown, unknown, infer Context> ? (context: Context) => void : never;

/** What users write. */
export type OptionsOf<Set extends OptionSet> = { -readonly [Name in keyof Set]?: GivenOf<Set[Name]> };

/** What a check returns: every option, with its default where it was left out. */
export type CheckedOf<Set extends OptionSet> = { -readonly [Name in keyof Set]: CheckedValueOf<Set[Name]> };

/** What the bounds of the set depend on. */
export type ContextOf<Set extends OptionSet> =
  ContextsOf<Set[keyof Set]> extends (context: infer Context) => void ? Context : never;

type ContextArgument<Set extends OptionSet> =
  unknown extends ContextOf<Set> ? [context?: undefined] : [context: ContextOf<Set>];

/** How messages call the options. */
export interface OptionNames {
  /** The object itself. */
  readonly object: string;
  /** In front of the name of each. */
  readonly prefix: string;
}

const PLAIN: OptionNames = { object: "options", prefix: "" };

/** Refuses keys that do not exist, so that a misspelt one is not silently ignored. */
export function checkKnown(name: string, value: unknown, known: readonly string[]): void {
  if (typeof value !== "object" || value === null || Array.isArray(value))
    throw expected("an object", name, value);
  for (const key of Object.keys(value))
    if (!known.includes(key)) throw expected(`one of ${known.join(", ")}`, `a key of ${name}`, key);
}

/** The names of a set's options. */
export const namesOf = <Set extends OptionSet>(set: Set): (keyof Set & string)[] => Object.keys(set);

/** The options in full. Throws ERR_INVALID_ARGUMENT for one that does not exist or has a value that it does not take. */
export function checkOptions<Set extends OptionSet>(
  set: Set,
  given: unknown,
  ...[context]: ContextArgument<Set>
): CheckedOf<Set> {
  return checkNamed(set, PLAIN, given, context);
}

/** As `checkOptions`, under other names. */
export function checkNamed<Set extends OptionSet>(
  set: Set,
  { object, prefix }: OptionNames,
  given: unknown,
  context?: unknown,
): CheckedOf<Set> {
  checkKnown(object, given, namesOf(set));
  const values = given as Record<string, unknown>;
  return Object.fromEntries(
    namesOf(set).map((name) => [name, set[name]!.check(prefix + name, values[name], context as never)]),
  ) as CheckedOf<Set>;
}

/** Those of the checked options that a set has. */
export function pick<Set extends OptionSet>(checked: CheckedOf<Set>, set: Set): CheckedOf<Set> {
  return Object.fromEntries(namesOf(set).map((name) => [name, checked[name]])) as CheckedOf<Set>;
}

/** The default as help and docs say it; undefined where leaving the option out has no meaning of its own. */
export function defaultText({ default: fallback }: Option<unknown, unknown, never>): string | undefined {
  if (fallback === undefined) return undefined;
  if (isComputed(fallback)) return (fallback as Computed<unknown>).says;
  return JSON.stringify(fallback);
}

/** What a schema, or the help of a flag, says in words: the description, the unit, and a default that is no value. */
export function helpText({ description, unit, default: fallback }: Option<unknown, unknown, never>): string {
  const parts = [description];
  if (unit !== undefined) parts.push(`Unit: ${unit}.`);
  if (isComputed(fallback)) parts.push(`Default: ${fallback.says}.`);
  return parts.join(" ");
}

/** The JSON schema of a set: what of its values JSON can say. Bounds that depend on a context are in it where one is given. */
export function toJsonSchema<Set extends OptionSet>(set: Set, context?: ContextOf<Set>): JsonSchema {
  const properties: Record<string, JsonSchema> = {};
  for (const name of namesOf(set)) {
    const { json, default: fallback } = set[name]!;
    const values = json(context as never);
    if (values === null) continue;
    const stated = fallback === undefined || isComputed(fallback) ? {} : { default: fallback };
    properties[name] = { description: helpText(set[name]!), ...values, ...stated };
  }
  const required = namesOf(set).filter((name) => set[name]!.required);
  return {
    type: "object",
    properties,
    ...(required.length > 0 && { required }),
    additionalProperties: false,
  };
}

/** An option that is a set of its own; left out, all its options are. `Given` names what users write. */
export const options = <Set extends OptionSet, Given extends OptionsOf<Set> = OptionsOf<Set>>(
  set: Set,
  facts: { readonly description: string },
) => {
  const check = (value: unknown, name: string, context: ContextOf<Set>): CheckedOf<Set> =>
    checkNamed(set, { object: name, prefix: `${name}.` }, value, context);
  return option<Given, CheckedOf<Set>, ContextOf<Set>, CheckedOf<Set>>({
    ...facts,
    default: { says: "none of them", value: (context) => check({}, "", context) },
    json: (context) => toJsonSchema(set, context),
    check,
  });
};
