import type { AdapterLease, AdapterUse, LeasedAdapters } from "../adapters/index.js";
import type { Prompt } from "../generate/index.js";
import type { ModelFacts, NativeEngine, NativeEvent, NativeRequest } from "../native/types.js";
import type { ChatMessage, Tokenizer } from "../tokenizer/index.js";

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
  /** Checks a prompt now; its tokens come later. */
  tokensOf(
    prompt: Prompt,
    name: string,
    options: { addSpecialTokens: boolean; parseSpecialTokens: boolean; signal: AbortSignal | undefined },
  ): Promise<Int32Array>;
  chatTokensOf(messages: readonly ChatMessage[], signal: AbortSignal | undefined): Promise<Int32Array>;
  /** Runs a request to its end; rejects where it has no good one. */
  run(
    request: NativeRequest,
    adapters: LeasedAdapters,
    signal: AbortSignal,
    onEvent: (event: NativeEvent) => void,
  ): Promise<void>;
}
