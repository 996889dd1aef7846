import { expected } from "../errors/index.js";
import { checkNamed, integer, number, option, toJsonSchema, type OptionsOf } from "../schema/index.js";

const MAX_ADAPTERS_A_REQUEST = 64;
const MAX_STEPS = 64;
const MAX_TOKEN = 2 ** 31 - 1;
const SCALES = { min: -100, max: 100 };

export const STEP = {
  /** Index of the first generated token that is drawn with it; `score`: of the completion's tokens; `logits`: of positions. 0 … 2^31-1. */
  fromToken: integer<unknown, never>({
    description: "Index of the first generated token that is drawn with it.",
    unit: "tokens",
    min: 0,
    max: MAX_TOKEN,
    required: true,
  }),
  /** -100 … 100. */
  scale: number<unknown, never>({
    description: "Multiplies the adapter's own scaling.",
    ...SCALES,
    required: true,
  }),
};

/** A scale from one generated token on. */
export interface ScaleStep extends Required<OptionsOf<typeof STEP>> {}

function checkSteps(steps: readonly unknown[], name: string): ScaleStep[] {
  if (steps.length === 0 || steps.length > MAX_STEPS) throw expected(`1 to ${MAX_STEPS} steps`, name, steps);
  let from = 0;
  return steps.map((given, i) => {
    if (typeof given !== "object" || given === null)
      throw expected("steps { fromToken, scale }", name, given);
    const step = checkNamed(STEP, { object: name, prefix: `${name}[].` }, given);
    const last = i === 0 ? 0 : MAX_TOKEN;
    if (step.fromToken < from || step.fromToken > last)
      throw expected(`an integer from ${from} to ${last}`, `${name}[].fromToken`, step.fromToken);
    from = step.fromToken + 1;
    return step;
  });
}

const SCALE = number({ description: "", ...SCALES, default: 1 });

const USE = {
  /** The adapter's name. */
  name: option<string, string, unknown, never>({
    description: "The adapter's name.",
    required: true,
    json: { type: "string" },
    check: (name) => name as string,
  }),
  /**
   * Multiplies the adapter's own scaling. -100 … 100, default 1; 0 leaves a plain LoRA without effect. Or 1 to 64 steps by ascending
   * `fromToken`, the first at 0, which also holds for the prompt: `[{ fromToken: 0, scale: 1 }, { fromToken: 20, scale: 0.3 }]`.
   */
  scale: option<number | readonly ScaleStep[], number | ScaleStep[], unknown, number>({
    description: "Multiplies the adapter's own scaling; or steps, each from one generated token on.",
    default: 1,
    json: (context) => ({
      anyOf: [
        SCALE.json(undefined),
        { type: "array", minItems: 1, maxItems: MAX_STEPS, items: toJsonSchema(STEP, context) },
      ],
    }),
    check: (scale, name) =>
      Array.isArray(scale) ? checkSteps(scale, name) : SCALE.check(name, scale, undefined),
  }),
  /** One of its earlier generations, while that can still be had (see `history`). 0 … 2^53-1, default 0: the current one. */
  generation: integer({
    description: "One of the adapter's earlier generations; 0 is the current one.",
    min: 0,
    max: Number.MAX_SAFE_INTEGER,
    default: 0,
  }),
};

/** An adapter of a request, with the scale it runs at. */
export interface AdapterUse extends OptionsOf<typeof USE> {
  /** The adapter's name. */
  name: string;
}

/** The adapters of a request: one, or several whose products are added. At most 64. */
export type AdapterSelection = string | AdapterUse | readonly (string | AdapterUse)[];

/** A selection in full. Throws ERR_INVALID_ARGUMENT; whether the names are loaded is seen when they are pinned. */
function checkSelection(selection: unknown, name: string): Required<AdapterUse>[] {
  const list = (Array.isArray(selection) ? selection : [selection]) as readonly (string | AdapterUse)[];
  if (list.length > MAX_ADAPTERS_A_REQUEST)
    throw expected(`at most ${MAX_ADAPTERS_A_REQUEST} adapters`, name, list);
  return list.map((use) => {
    if (typeof use === "string") return { name: use, scale: 1, generation: 0 };
    if (typeof use !== "object" || use === null || typeof use.name !== "string")
      throw expected("a name, { name, scale, generation }, or an array of them", name, use);
    return checkNamed(USE, { object: name, prefix: `${name}.` }, use);
  });
}

function selectionJson() {
  const one = { anyOf: [{ type: "string" }, toJsonSchema(USE)] };
  return { anyOf: [...one.anyOf, { type: "array", maxItems: MAX_ADAPTERS_A_REQUEST, items: one }] };
}

/** The `adapter` of a request. */
export const ADAPTER = option<AdapterSelection, Required<AdapterUse>[], unknown, Required<AdapterUse>[]>({
  description: "Adapters of the request, by name, each with its own scale.",
  default: { says: "none, the base model alone", value: () => [] },
  json: selectionJson,
  check: checkSelection,
});
