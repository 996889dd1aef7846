import { throwIfAborted } from "../errors/check.js";
import { addon } from "../native/addon.js";
import type { AdapterEntry, ModelFacts, NativeEngine } from "../native/types.js";
import { ggufEntries } from "./gguf-tensors.js";
import { peftEntries } from "./peft-tensors.js";
import { readAdapter, type AdapterSource } from "./source.js";

/** One loaded version of an adapter. Immutable. */
export interface LoadedAdapter {
  /** The native handle. */
  id: number;
  contentHash: string;
  origin: string;
  /** Highest rank of its modules. */
  rank: number;
  /** Module names that it touches, such as "q_proj", sorted. */
  targets: string[];
  /** Numbers in its file that are used. */
  parameters: number;
  /** Memory held. */
  bytes: number;
  dora: boolean;
  /** Activated LoRA: the tokens that wake it; else null. */
  invocationTokens: number[] | null;
}

/** Reads, checks and builds an adapter. Nothing is kept where it throws. */
export async function loadAdapter(
  source: AdapterSource,
  engine: NativeEngine,
  facts: ModelFacts,
  signal: AbortSignal | undefined,
): Promise<LoadedAdapter> {
  throwIfAborted(signal, "The load of the adapter");
  const files = await readAdapter(source);
  throwIfAborted(signal, "The load of the adapter");
  const inspection = await addon().inspectAdapter(files.weights);
  let entries: AdapterEntry[];
  let invocationTokens: number[] | null;
  if (inspection.format === "gguf") {
    ({ entries, invocationTokens } = ggufEntries(inspection, facts));
  } else {
    // Its validator takes as long to come as all the rest of the package.
    const { parsePeftConfig } = await import("./peft-config.js");
    const config = parsePeftConfig(files.config);
    entries = peftEntries(inspection.tensors, config, facts);
    invocationTokens = config.alora_invocation_tokens;
  }
  throwIfAborted(signal, "The load of the adapter");
  const built = await engine.loadAdapter(files.weights, entries);
  const contentHash = await files.contentHash;
  engine.setAdapterContent(built.id, contentHash);
  const used = new Set(entries.map((entry) => entry.tensor));
  const parameters = inspection.tensors
    .filter((tensor) => used.has(tensor.name))
    .reduce((sum, tensor) => sum + tensor.shape.reduce((product, size) => product * size, 1), 0);
  return {
    id: built.id,
    contentHash,
    origin: files.origin,
    rank: built.maxRank,
    targets: [...new Set(entries.map((entry) => entry.module))].sort(),
    parameters,
    bytes: built.bytes,
    dora: entries.some((entry) => entry.role === "lora_magnitude_vector"),
    invocationTokens,
  };
}
