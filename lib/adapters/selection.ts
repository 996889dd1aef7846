import { checkKnown, checkNumber } from "../errors/check.js";
import { expected } from "../errors/index.js";

/** An adapter of a request, with the scale it runs at. */
export interface AdapterUse {
  name: string;
  /** Multiplies the adapter's own scaling. -100 … 100, default 1; 0 leaves a plain LoRA without effect. */
  scale?: number;
  /** One of its earlier generations, while that can still be had (see `history`). 0 … 2^53-1, default 0: the current one. */
  generation?: number;
}

/** The adapters of a request: one, or several whose products are added. At most 64. */
export type AdapterSelection = string | AdapterUse | readonly (string | AdapterUse)[];

const MAX_ADAPTERS_A_REQUEST = 64;

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
      scale: checkNumber("adapter.scale", use.scale, { min: -100, max: 100, default: 1 }),
      generation: checkNumber("adapter.generation", use.generation, {
        min: 0,
        max: 2 ** 53 - 1,
        default: 0,
        integer: true,
      }),
    };
  });
}
