import type { AdapterLease, AdapterUse, LeasedAdapters } from "../adapters/index.js";
import type { Prompts } from "../client/index.js";
import type { ModelFacts, NativeEngine, NativeEvent, NativeRequest } from "../native/types.js";
import type { Tokenizer } from "../tokenizer/index.js";

/** How a comparison reaches the model; `lib/model` provides it. */
export interface CompareSource {
  name: string;
  facts: ModelFacts;
  tokenizer: Tokenizer | null;
  engine: Pick<NativeEngine, "openComparison" | "compareLogits" | "closeComparison">;
  /** The versions that a selection means now. */
  lease(selection: readonly Required<AdapterUse>[]): AdapterLease;
  /** The current one of a name. */
  generationOf(name: string): number;
  /** Checks prompts and tokenises them. */
  prompts: Prompts;
  /** Runs a request to its end; rejects where it has no good one. */
  run(
    request: NativeRequest,
    adapters: LeasedAdapters,
    signal: AbortSignal,
    onEvent: (event: NativeEvent) => void,
  ): Promise<void>;
}
