import { LowrankError } from "../errors/index.js";
import type { AdapterEntry, ModelFacts } from "../native/types.js";
import type { PeftConfig } from "./peft-config.js";
import type { NamedTensor, TensorRole } from "./tensor-names.js";

/** What the adapter does to lm_head or embed_tokens. */
export interface TableUse {
  module: "embed_tokens" | "lm_head";
  /** Its tensors in the file. */
  tensors: ReadonlyMap<TensorRole, NamedTensor>;
  /** It has a low-rank pair. */
  adapted: boolean;
  /** modules_to_save names it. */
  saved: boolean;
}

/** What PEFT loads into the base's own parameter, which both uses of a tied table share. */
function baseTable({ tensors, adapted, saved }: TableUse): NamedTensor | undefined {
  if (saved) return tensors.get("original_module.weight");
  return tensors.get(adapted ? "base_layer.weight" : "weight");
}

/**
 * What becomes of the tables in a file. PEFT loads the base's table, where a file has it, back into the base: so it stands under every
 * low-rank pair on it and, where tables are tied, for both uses; a module of modules_to_save has a table of its own beside it.
 */
export function tableEntries(
  embedding: TableUse,
  head: TableUse,
  config: PeftConfig,
  facts: ModelFacts,
): AdapterEntry[] {
  const entries: AdapterEntry[] = [];
  const copy = (of: NamedTensor, { tensor }: NamedTensor): void => {
    const { module } = of.place;
    entries.push({
      tensor: tensor.name,
      role: "copy",
      module,
      layer: -1,
      copyOf: of.tensor.name,
    });
  };
  for (const use of [embedding, head]) {
    if (!use.saved) continue;
    // With save_embedding_layers the saved table is there twice.
    const twin = use.tensors.get("modules_to_save.weight");
    const weight = use.tensors.get("weight") ?? twin;
    if (!weight) continue;
    entries.push({ tensor: weight.tensor.name, role: "weight", module: use.module, layer: -1 });
    if (twin && twin !== weight) copy(weight, twin);
  }
  const headTable = head.tensors.get("weight");
  const embeddingTable = embedding.tensors.get("weight");
  if (config.ensure_weight_tying && facts.tiedEmbeddings) {
    const saves = embedding.saved || head.saved;
    if (embedding.adapted !== head.adapted || (saves && !(headTable && embeddingTable)))
      throw new LowrankError(
        "ERR_ADAPTER_UNSUPPORTED",
        "Expected the same change of embed_tokens and lm_head in the file beside ensure_weight_tying, received one without the other.",
      );
    if (saves) copy(headTable!, embeddingTable!);
  }
  for (const uses of facts.tiedEmbeddings ? [[embedding, head]] : [[embedding], [head]]) {
    const tables = uses.map(baseTable).filter((table) => table !== undefined);
    // Of two that PEFT loads into one parameter, the last one stays.
    const table = tables.pop();
    if (!table) continue;
    for (const other of tables) copy(table, other);
    for (const { module } of uses.filter(({ saved }) => !saved))
      entries.push({
        tensor: table.tensor.name,
        role: "base_layer.weight",
        module,
        layer: -1,
        // The base's table holds from the first token on, whenever the adapter is activated.
        ...(config.alora_invocation_tokens ? { mustHoldBase: true } : {}),
      });
  }
  return entries;
}

/** Rows of the embedding table that were trained; those of a tied head are the same ones. */
export function tokenRowEntries(
  embedding: TableUse,
  head: TableUse,
  config: PeftConfig,
  facts: ModelFacts,
): AdapterEntry[] {
  const asked = config.trainable_token_indices;
  const delta = embedding.tensors.get("trainable_tokens_delta");
  const others = head.tensors.get("trainable_tokens_delta");
  if (asked === null && !delta && !others) return [];
  const keys = asked === null || Array.isArray(asked) ? [] : Object.keys(asked);
  const tokens = Array.isArray(asked) ? asked : asked?.["embed_tokens"];
  if (others || keys.some((key) => key !== "embed_tokens"))
    throw new LowrankError(
      "ERR_ADAPTER_UNSUPPORTED",
      "Expected trained rows of embed_tokens alone for trainable_token_indices, received " +
        `${others ? `the tensor "${others.tensor.name}"` : keys.map((key) => JSON.stringify(key)).join(", ")}.`,
    );
  if (!tokens || !delta)
    throw new LowrankError(
      "ERR_ADAPTER_FORMAT",
      tokens
        ? "Expected the tensor trainable_tokens_delta of embed_tokens, as trainable_token_indices says, it is missing."
        : `Expected trainable_token_indices for the tensor "${delta?.tensor.name ?? ""}".`,
    );
  const busy = [embedding, ...(facts.tiedEmbeddings ? [head] : [])].find(
    ({ adapted, saved }) => adapted || saved,
  );
  if (busy)
    throw new LowrankError(
      "ERR_ADAPTER_UNSUPPORTED",
      `Expected no other change of ${busy.module} beside trainable_token_indices, received "${delta.tensor.name}" and one.`,
    );
  return (facts.tiedEmbeddings ? [embedding, head] : [embedding]).map(({ module }) => ({
    tensor: delta.tensor.name,
    role: "token_rows",
    module,
    layer: -1,
    tokenRows: Int32Array.from(tokens),
  }));
}
