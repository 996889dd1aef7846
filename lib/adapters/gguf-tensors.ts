import { LowrankError } from "../errors/index.js";
import { decoderNames } from "../native/addon.js";
import type { AdapterEntry, AdapterInspection, ModelFacts, NativeTensor } from "../native/types.js";
import { fusedParts, isTarget } from "./module-path.js";

/** Keys of an adapter's header that are used, and those of a task's name and prompt, which change no result. */
const KNOWN_KEYS = new Set([
  "adapter.type",
  "adapter.lora.alpha",
  "adapter.lora.task_name",
  "adapter.lora.prompt_prefix",
  "adapter.alora.invocation_tokens",
]);

function invocationTokensOf(metadata: Record<string, unknown>): number[] | null {
  const tokens = metadata["adapter.alora.invocation_tokens"];
  if (tokens === undefined) return null;
  if (
    !(tokens instanceof Float64Array) ||
    tokens.length > 4096 ||
    tokens.some((token) => !Number.isInteger(token) || token < 0)
  )
    throw new LowrankError(
      "ERR_ADAPTER_FORMAT",
      "Expected at most 4096 token ids for adapter.alora.invocation_tokens in the GGUF adapter.",
    );
  return tokens.length > 0 ? Array.from(tokens) : null;
}

/** The modules of a tensor's name, several where the model keeps them in one tensor, in the order of its rows. */
function placeOf(name: string, facts: ModelFacts): { modules: readonly string[]; layer: number } | undefined {
  const { projections, fused, outer } = decoderNames();
  const found = /^blk\.(\d{1,4})\.([a-z_]+)$/.exec(name);
  if (!found) {
    const module = outer.find(({ gguf }) => gguf === name);
    return module && isTarget(module.name) ? { modules: [module.name], layer: -1 } : undefined;
  }
  const stored = new Set(Object.values(facts.projections).map(({ storedAs }) => storedAs));
  const module = [...fused, ...projections].find((one) => one.gguf === found[2] && stored.has(one.name));
  return module && { modules: fusedParts(module.name) ?? [module.name], layer: Number(found[1]) };
}

/** A fused B has the rows of all its parts, and no others. */
function checkFusedRows(tensor: NativeTensor, modules: readonly string[], facts: ModelFacts): void {
  if (modules.length === 1) return;
  const rows = modules.reduce((sum, module) => sum + facts.projections[module]!.outFeatures, 0);
  if (tensor.shape[0] !== rows)
    throw new LowrankError(
      "ERR_ADAPTER_SHAPE",
      `Expected ${rows} rows for the adapter's tensor ${tensor.name}, those of ${modules.join(", ")}, received ${tensor.shape[0]}.`,
    );
}

/**
 * What each tensor of a llama.cpp LoRA adapter is. Scaling is alpha / rank, or 1 where alpha is 0 (llama.cpp, llama-adapter.cpp).
 * Rows that are interleaved in the model's file are so in B, too.
 */
export function ggufEntries(
  inspection: AdapterInspection,
  facts: ModelFacts,
): { entries: AdapterEntry[]; invocationTokens: number[] | null } {
  const { metadata, tensors } = inspection;
  const wanted = (key: string, value: string): void => {
    if (metadata[key] !== value)
      throw new LowrankError(
        "ERR_ADAPTER_FORMAT",
        `Expected "${value}" for ${key} in the GGUF adapter, received ${String(metadata[key])}.`,
      );
  };
  wanted("general.type", "adapter");
  wanted("adapter.type", "lora");
  const architecture = facts.ggufArchitecture;
  if (metadata["general.architecture"] !== architecture)
    throw new LowrankError(
      "ERR_ADAPTER_UNSUPPORTED",
      `Expected an adapter for ${architecture}, received one for ${String(metadata["general.architecture"])}.`,
    );
  const alpha = metadata["adapter.lora.alpha"];
  if (typeof alpha !== "number" || !(alpha >= 0 && alpha <= 1e6))
    throw new LowrankError(
      "ERR_ADAPTER_FORMAT",
      "Expected a number from 0 to 1e6 for adapter.lora.alpha in the GGUF adapter.",
    );
  const unknown = Object.keys(metadata).find((key) => key.startsWith("adapter.") && !KNOWN_KEYS.has(key));
  if (unknown !== undefined)
    throw new LowrankError(
      "ERR_ADAPTER_UNSUPPORTED",
      `Expected keys that are known in the GGUF adapter, received ${unknown.slice(0, 200)}. It might change the result.`,
    );
  const halves = new Map<string, number>();
  const entries = tensors.flatMap((tensor): AdapterEntry[] => {
    const found = /^(.+)\.weight\.lora_(a|b)$/.exec(tensor.name);
    const place = found ? placeOf(found[1]!, facts) : undefined;
    if (!found || !place || place.layer >= facts.layers)
      throw new LowrankError(
        "ERR_ADAPTER_UNSUPPORTED",
        `Expected a LoRA tensor of a module of the base model, received "${tensor.name}".`,
      );
    halves.set(found[1]!, (halves.get(found[1]!) ?? 0) + 1);
    const isA = found[2] === "a";
    const embedding = place.modules[0] === "embed_tokens";
    // token_embd's A is stored as a table to gather from: [vocabulary, rank].
    const rank = tensor.shape[isA && !embedding ? 0 : 1] ?? 0;
    if (!isA) checkFusedRows(tensor, place.modules, facts);
    let rowBegin = 0;
    return place.modules.map((module) => {
      const projection = facts.projections[module];
      const rows = isA || place.modules.length === 1 ? {} : { rowBegin, rowCount: projection!.outFeatures };
      rowBegin += projection?.outFeatures ?? 0;
      return {
        tensor: tensor.name,
        module,
        layer: place.layer,
        ...rows,
        role: embedding ? (isA ? "lora_embedding_A" : "lora_embedding_B") : isA ? "lora_A" : "lora_B",
        ...(isA ? { scaling: alpha === 0 ? 1 : alpha / Math.max(1, rank) } : {}),
        ...(isA && embedding ? { transpose: true } : {}),
        ...(projection?.interleavedInGguf && !isA
          ? { unpermuteHeads: projection.outFeatures / facts.headDim }
          : {}),
      };
    });
  });
  for (const [name, count] of halves)
    if (count !== 2)
      throw new LowrankError(
        "ERR_ADAPTER_FORMAT",
        `Expected lora_a and lora_b for ${name}, one of them is missing.`,
      );
  return { entries, invocationTokens: invocationTokensOf(metadata) };
}
