import { throwIfAborted } from "../errors/check.js";
import { addon } from "../native/addon.js";
import type {
  AdapterEntry,
  AdapterInspection,
  AdapterPrecision,
  ModelFacts,
  NativeEngine,
} from "../native/types.js";
import { ggufEntries } from "./gguf-tensors.js";
import { parsePeftConfig } from "./peft-config.js";
import { peftEntries } from "./peft-tensors.js";
import type { AdapterFiles } from "./source.js";

/** What an adapter's A and B are kept in: "float32" in the reference modes. */
export type KeptPrecision = AdapterPrecision | "float32";

/** What an adapter is, wherever it lies. Immutable. */
export interface AdapterContent {
  contentHash: string;
  origin: string;
  /** Highest rank of its modules. */
  rank: number;
  /** Module names that it touches, such as "q_proj", sorted. */
  targets: string[];
  /** Numbers in its file that are used. */
  parameters: number;
  /** Memory that it takes. */
  bytes: number;
  dora: boolean;
  /** Activated LoRA: the tokens that start it; else null. */
  invocationTokens: number[] | null;
  precision: KeptPrecision;
}

/** An adapter in the engine. */
export interface BuiltAdapter {
  /** The native handle. */
  id: number;
  content: AdapterContent;
}

function entriesOf(
  inspection: AdapterInspection,
  config: unknown,
  facts: ModelFacts,
): { entries: AdapterEntry[]; invocationTokens: number[] | null } {
  if (inspection.format === "gguf") return ggufEntries(inspection, facts);
  const checked = parsePeftConfig(config);
  return {
    entries: peftEntries(inspection.tensors, checked, facts),
    invocationTokens: checked.alora_invocation_tokens,
  };
}

/** Checks an adapter's files and builds it in the engine. Nothing is kept where it throws. */
export async function buildAdapter(
  files: AdapterFiles,
  engine: NativeEngine,
  facts: ModelFacts,
  precision: KeptPrecision,
  signal: AbortSignal | undefined,
): Promise<BuiltAdapter> {
  const contentHash = await files.contentHash;
  const inspection = await addon().inspectAdapter(files.weights);
  const { entries, invocationTokens } = entriesOf(inspection, files.config, facts);
  throwIfAborted(signal, "The load of the adapter");
  const built = await engine.loadAdapter(files.weights, entries, precision === "int8", contentHash);
  // The base's own tables are compared: what they bring is the base's, as a rule.
  const own = entries.filter(({ role }) => role !== "base_layer.weight" && role !== "copy");
  const used = new Set(own.map((entry) => entry.tensor));
  const parameters = inspection.tensors
    .filter((tensor) => used.has(tensor.name))
    .reduce((sum, tensor) => sum + tensor.shape.reduce((product, size) => product * size, 1), 0);
  const content: AdapterContent = {
    contentHash,
    origin: files.origin,
    rank: built.maxRank,
    targets: [...new Set(own.map((entry) => entry.module))].sort(),
    parameters,
    bytes: built.bytes,
    dora: entries.some((entry) => entry.role === "lora_magnitude_vector"),
    invocationTokens,
    precision,
  };
  return { id: built.id, content };
}
