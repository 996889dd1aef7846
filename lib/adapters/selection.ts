import { checkKnown, checkNumber } from "../errors/check.js";
import { expected } from "../errors/index.js";

/** A scale from one generated token on. */
export interface ScaleStep {
  /** Index of the first generated token that is drawn with it; `score`: of the completion's tokens; `logits`: of positions. 0 … 2^31-1. */
  fromToken: number;
  /** -100 … 100. */
  scale: number;
}

/** An adapter of a request, with the scale it runs at. */
export interface AdapterUse {
  name: string;
  /**
   * Multiplies the adapter's own scaling. -100 … 100, default 1; 0 leaves a plain LoRA without effect. Or 1 to 64 steps by ascending
   * `fromToken`, the first at 0, which also holds for the prompt: `[{ fromToken: 0, scale: 1 }, { fromToken: 20, scale: 0.3 }]`.
   */
  scale?: number | readonly ScaleStep[];
  /** One of its earlier generations, while that can still be had (see `history`). 0 … 2^53-1, default 0: the current one. */
  generation?: number;
}

/** The adapters of a request: one, or several whose products are added. At most 64. */
export type AdapterSelection = string | AdapterUse | readonly (string | AdapterUse)[];

const MAX_ADAPTERS_A_REQUEST = 64;
const MAX_STEPS = 64;

const checkScale = (scale: unknown): number =>
  checkNumber("adapter.scale", scale, { min: -100, max: 100, default: 1 });

function checkSteps(steps: readonly unknown[]): ScaleStep[] {
  if (steps.length === 0 || steps.length > MAX_STEPS)
    throw expected(`1 to ${MAX_STEPS} steps`, "adapter.scale", steps);
  let before = -1;
  return steps.map((step, i) => {
    if (typeof step !== "object" || step === null)
      throw expected("steps { fromToken, scale }", "adapter.scale", step);
    checkKnown("adapter.scale", step, ["fromToken", "scale"]);
    const { fromToken, scale } = step as Partial<ScaleStep>;
    if (scale === undefined) throw expected("a number from -100 to 100", "adapter.scale[].scale", scale);
    const from = checkNumber("adapter.scale[].fromToken", fromToken ?? NaN, {
      min: i === 0 ? 0 : before + 1,
      max: i === 0 ? 0 : 2 ** 31 - 1,
      default: 0,
      integer: true,
    });
    before = from;
    return { fromToken: from, scale: checkScale(scale) };
  });
}

/** A selection in full. Throws ERR_INVALID_ARGUMENT; whether the names are loaded is seen when they are pinned. */
export function checkSelection(selection: AdapterSelection | undefined): Required<AdapterUse>[] {
  if (selection === undefined) return [];
  const list = (Array.isArray(selection) ? selection : [selection]) as readonly (string | AdapterUse)[];
  if (list.length > MAX_ADAPTERS_A_REQUEST)
    throw expected(`at most ${MAX_ADAPTERS_A_REQUEST} adapters`, "adapter", list);
  return list.map((use) => {
    if (typeof use === "string") return { name: use, scale: 1, generation: 0 };
    if (typeof use !== "object" || use === null || typeof use.name !== "string")
      throw expected("a name, { name, scale, generation }, or an array of them", "adapter", use);
    checkKnown("adapter", use, ["name", "scale", "generation"]);
    return {
      name: use.name,
      scale: Array.isArray(use.scale) ? checkSteps(use.scale) : checkScale(use.scale),
      generation: checkNumber("adapter.generation", use.generation, {
        min: 0,
        max: 2 ** 53 - 1,
        default: 0,
        integer: true,
      }),
    };
  });
}
