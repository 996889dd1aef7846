import { LowrankError } from "../errors/index.js";
import type { AdapterEntry, ModelFacts, NativeTensor } from "../native/types.js";
import { fusedParts, isTable, modulePaths, type ModulePath } from "./module-path.js";
import type { PeftConfig } from "./peft-config.js";
import { tableEntries, tokenRowEntries, type TableUse } from "./peft-tables.js";
import { savedModules, scalingOf, targetedModules } from "./peft-targets.js";
import { takeApart, type NamedTensor, type TensorRole } from "./tensor-names.js";

const unsupported = (message: string): LowrankError => new LowrankError("ERR_ADAPTER_UNSUPPORTED", message);
const malformed = (message: string): LowrankError => new LowrankError("ERR_ADAPTER_FORMAT", message);

const EMBEDDING_ROLES: ReadonlySet<TensorRole> = new Set(["lora_embedding_A", "lora_embedding_B"]);
const isPart = (role: TensorRole): boolean => role.startsWith("lora_");

/** Whether a module of this kind can have a tensor of this role; `adapted`: it has a low-rank pair, `saved`: modules_to_save names it. */
function isAllowed({ place, role }: NamedTensor, adapted: boolean, saved: boolean): boolean {
  const table = isTable(place.module);
  const projection = !table && !place.module.endsWith("norm");
  switch (role) {
    // PEFT passes over the weight and the bias of a module with a pair, and over those of base_layer in one without.
    case "weight":
      return !projection && !adapted;
    case "modules_to_save.weight":
      return !projection && saved;
    case "original_module.weight":
      return table && saved;
    case "base_layer.weight":
      return table && adapted;
    case "bias":
      return projection && !adapted;
    case "base_layer.bias":
      return projection && adapted;
    case "trainable_tokens_delta":
      return table;
    default:
      return EMBEDDING_ROLES.has(role)
        ? place.module === "embed_tokens"
        : projection || place.module === "lm_head";
  }
}

function checkRole(named: NamedTensor, config: PeftConfig, adapted: boolean, saved: boolean): void {
  const { tensor, place, role } = named;
  if ((role === "bias" || role === "base_layer.bias") && config.bias === "none")
    throw malformed(
      `Expected no bias where adapter_config.json has bias "none", received the tensor "${tensor.name}".`,
    );
  if (role === "lora_magnitude_vector" && !config.use_dora)
    throw malformed(`Expected use_dora true for the tensor "${tensor.name}".`);
  if (role === "lora_B.bias" && !config.lora_bias)
    throw malformed(`Expected lora_bias true for the tensor "${tensor.name}".`);
  if (!isAllowed(named, adapted, saved))
    throw unsupported(
      `Expected the base's own weights for ${place.path}, received the tensor "${tensor.name}".`,
    );
  if (EMBEDDING_ROLES.has(role) && config.use_dora)
    throw unsupported("Expected plain LoRA on embed_tokens, received DoRA.");
  if (config.alora_invocation_tokens === null) return;
  // What an adapter replaces holds at every token in PEFT, before the activation, too.
  if (EMBEDDING_ROLES.has(role) || !(isPart(role) || role === "base_layer.weight"))
    throw unsupported(
      `Expected low-rank pairs on projections alone beside alora_invocation_tokens, received the tensor "${tensor.name}".`,
    );
}

/** Which roles a targeted module must have. */
function requiredRoles(place: ModulePath, config: PeftConfig): TensorRole[] {
  if (place.module === "embed_tokens") return ["lora_embedding_A", "lora_embedding_B"];
  const roles: TensorRole[] = ["lora_A", "lora_B"];
  if (config.use_dora) roles.push("lora_magnitude_vector");
  if (config.lora_bias) roles.push("lora_B.bias");
  return roles;
}

/** One entry, or one for each part of a fused projection. */
function entriesOf(named: NamedTensor, facts: ModelFacts, scaling: number | undefined): AdapterEntry[] {
  const { tensor, place } = named;
  const role = named.role === "base_layer.bias" ? "bias" : named.role;
  const common = {
    tensor: tensor.name,
    role: role as AdapterEntry["role"],
    layer: place.layer,
    ...(scaling === undefined ? {} : { scaling }),
  };
  const parts = fusedParts(place.module);
  if (!parts) return [{ ...common, module: place.module }];
  let rowBegin = 0;
  return parts.map((module) => {
    const rowCount = facts.projections[module]!.outFeatures;
    const rows = role === "lora_A" ? {} : { rowBegin, rowCount };
    rowBegin += rowCount;
    return { ...common, ...rows, module };
  });
}

function checkFusedRows({ tensor, place, role }: NamedTensor, facts: ModelFacts): void {
  const parts = fusedParts(place.module);
  if (!parts || role === "lora_A") return;
  const rows = parts.reduce((sum, part) => sum + facts.projections[part]!.outFeatures, 0);
  if (tensor.shape[0] !== rows)
    throw new LowrankError(
      "ERR_ADAPTER_SHAPE",
      `Expected ${rows} rows for the tensor "${tensor.name}", received [${tensor.shape.join(", ")}].`,
    );
}

type RolesByPath = ReadonlyMap<string, ReadonlyMap<TensorRole, NamedTensor>>;

/** The file's tensors by module and role, each allowed at its place. */
function sortTensors(
  tensors: readonly NativeTensor[],
  paths: ReadonlyMap<string, ModulePath>,
  config: PeftConfig,
  saved: ReadonlySet<string>,
  facts: ModelFacts,
): RolesByPath {
  const roles = new Map<string, Map<TensorRole, NamedTensor>>();
  const named = tensors.map((tensor) => takeApart(tensor, paths));
  const adapted = new Set(named.filter(({ role }) => isPart(role)).map(({ place }) => place.path));
  for (const one of named) {
    const { path } = one.place;
    checkRole(one, config, adapted.has(path), saved.has(path));
    checkFusedRows(one, facts);
    const at = roles.get(path) ?? new Map<TensorRole, NamedTensor>();
    if (at.has(one.role))
      throw malformed(`Expected one tensor for ${one.role} of ${path}, "${one.tensor.name}" is the second.`);
    roles.set(path, at.set(one.role, one));
  }
  return roles;
}

const TABLES: readonly string[] = ["model.embed_tokens", "lm_head"];

function checkComplete(
  roles: RolesByPath,
  paths: ReadonlyMap<string, ModulePath>,
  config: PeftConfig,
  saved: ReadonlySet<string>,
  facts: ModelFacts,
): void {
  const isAdapted = (path: string): boolean => [...(roles.get(path)?.keys() ?? [])].some(isPart);
  // "3 q_proj" of what a fused projection of the file stands for.
  const fused = new Set(
    [...roles.keys()].flatMap((path) => {
      const { module, layer } = paths.get(path)!;
      return (fusedParts(module) ?? []).map((part) => `${layer} ${part}`);
    }),
  );
  const targeted = targetedModules(config, paths);
  for (const path of targeted) {
    const { module, layer } = paths.get(path)!;
    // A list may name a fused projection's parts or the fused one: the file decides which exists.
    if (!roles.has(path) && (fusedParts(module) || fused.has(`${layer} ${module}`))) continue;
    if (!isAdapted(path))
      throw malformed(
        `Expected lora_A and lora_B for ${path}, which target_modules names; the file has neither.`,
      );
  }
  // Tied embeddings that were adapted together: one of the two pairs is not named as a target.
  const tied = config.ensure_weight_tying && facts.tiedEmbeddings ? TABLES : [];
  const tablesTargeted = tied.some((path) => targeted.has(path));
  for (const [path, at] of roles) {
    if (!isAdapted(path)) continue;
    const place = paths.get(path)!;
    if (!targeted.has(path) && !(tablesTargeted && tied.includes(path)))
      throw malformed(`Expected ${path} among target_modules, since the file has LoRA tensors for it.`);
    for (const role of requiredRoles(place, config))
      if (!at.has(role))
        throw malformed(
          `Expected the tensor ${role} of ${path}, it is missing: the adapter is not complete.`,
        );
  }
  for (const path of saved)
    if (!roles.get(path)?.has("weight") && !roles.get(path)?.has("modules_to_save.weight"))
      throw malformed(
        `Expected the weights of ${path}, which modules_to_save names; the file does not hold them.`,
      );
}

/**
 * What each tensor of a PEFT adapter is. Every tensor is used, compared or refused by name, and every module that the configuration
 * targets must be complete: an adapter is never loaded in part.
 */
export function peftEntries(
  tensors: readonly NativeTensor[],
  config: PeftConfig,
  facts: ModelFacts,
): AdapterEntry[] {
  const paths = modulePaths(facts);
  const saved = savedModules(config, paths);
  const roles = sortTensors(tensors, paths, config, saved, facts);
  checkComplete(roles, paths, config, saved, facts);
  const useOf = (path: string, module: TableUse["module"]): TableUse => {
    const at = roles.get(path) ?? new Map<TensorRole, NamedTensor>();
    return { module, tensors: at, adapted: [...at.keys()].some(isPart), saved: saved.has(path) };
  };
  const embedding = useOf("model.embed_tokens", "embed_tokens");
  const head = useOf("lm_head", "lm_head");
  const entries = [
    ...tableEntries(embedding, head, config, facts),
    ...tokenRowEntries(embedding, head, config, facts),
  ];
  const scalings = scalingOf(
    config,
    [...roles].filter(([, at]) => [...at.keys()].some(isPart)).map(([path]) => path),
  );
  for (const at of roles.values())
    for (const one of at.values()) {
      if (isTable(one.place.module) && !isPart(one.role)) continue; // above
      if (one.role === "modules_to_save.weight" && at.has("weight"))
        throw malformed(
          `Expected one tensor for the weights of ${one.place.path}, "${one.tensor.name}" is the second.`,
        );
      const role = one.role === "modules_to_save.weight" ? "weight" : one.role;
      if (role !== "lora_A" && role !== "lora_embedding_A") {
        entries.push(...entriesOf({ ...one, role }, facts, undefined));
        continue;
      }
      const { rank, scaling } = scalings.get(one.place.path)!;
      if (one.tensor.shape[0] !== rank)
        throw new LowrankError(
          "ERR_ADAPTER_SHAPE",
          `Expected rank ${rank} for the tensor "${one.tensor.name}", as adapter_config.json says, received ${one.tensor.shape[0]}.`,
        );
      entries.push(...entriesOf(one, facts, scaling));
    }
  return entries;
}
