import { LowrankError } from "../errors/index.js";
import type { AdapterEntry, ModelFacts, NativeTensor } from "../native/types.js";
import { fusedParts, modulePaths, outFeatures, type ModulePath } from "./module-path.js";
import type { PeftConfig } from "./peft-config.js";
import { scalingOf, targetedModules } from "./peft-targets.js";

type Role = AdapterEntry["role"];

/** A tensor's name, taken apart. */
interface NamedTensor {
  tensor: NativeTensor;
  place: ModulePath;
  role: Role | "base_table";
}

/** What may follow a module's path, longest first. */
const SUFFIXES: readonly (readonly [suffix: string, role: NamedTensor["role"]])[] = [
  [".lora_magnitude_vector.weight", "lora_magnitude_vector"],
  [".lora_magnitude_vector", "lora_magnitude_vector"],
  [".lora_embedding_A", "lora_embedding_A"],
  [".lora_embedding_B", "lora_embedding_B"],
  [".base_layer.weight", "base_table"],
  [".base_layer.bias", "bias"],
  [".lora_A.weight", "lora_A"],
  [".lora_B.weight", "lora_B"],
  [".lora_B.bias", "lora_B.bias"],
  [".weight", "weight"],
  [".bias", "bias"],
];

const unsupported = (message: string): LowrankError => new LowrankError("ERR_ADAPTER_UNSUPPORTED", message);
const malformed = (message: string): LowrankError => new LowrankError("ERR_ADAPTER_FORMAT", message);

function takeApart(tensor: NativeTensor, paths: ReadonlyMap<string, ModulePath>): NamedTensor {
  // Prefixes and parts that PEFT adds or leaves out, depending on how the adapter was saved.
  let name = tensor.name.replace(/^base_model\.model\./, "").replace(/\.default(?=\.|$)/, "");
  name = name
    .replace(/^(?:model\.)?language_model\.(?:model\.)?/, "model.")
    .replace(/\.modules_to_save(?=\.)/, "");
  name = name.replace(/^model\.lm_head\./, "lm_head.");
  for (const [suffix, role] of SUFFIXES) {
    if (!name.endsWith(suffix)) continue;
    const path = name.slice(0, -suffix.length);
    const place = paths.get(path) ?? paths.get(`model.${path}`);
    if (place) return { tensor, place, role };
  }
  throw unsupported(
    `Expected a tensor of LoRA on a module of the base model, received "${tensor.name}". ` +
      "The adapter was made for another architecture, or holds something that is not supported.",
  );
}

function checkRole({ tensor, place, role }: NamedTensor, config: PeftConfig): void {
  const { module } = place;
  const table = module === "lm_head" || module === "embed_tokens";
  const projection = !table && !module.endsWith("norm");
  const embedding = role === "lora_embedding_A" || role === "lora_embedding_B";
  const allowed =
    role === "weight"
      ? !projection
      : role === "base_table"
        ? table
        : role === "bias"
          ? projection
          : embedding
            ? module === "embed_tokens"
            : projection || module === "lm_head";
  if (!allowed)
    throw unsupported(
      `Expected the base's own weights for ${place.path}, received the tensor "${tensor.name}".`,
    );
  if (role === "bias" && config.bias === "none")
    throw malformed(
      `Expected no bias where adapter_config.json has bias "none", received the tensor "${tensor.name}".`,
    );
  if (role === "lora_magnitude_vector" && !config.use_dora)
    throw malformed(`Expected use_dora true for the tensor "${tensor.name}".`);
  if (role === "lora_B.bias" && !config.lora_bias)
    throw malformed(`Expected lora_bias true for the tensor "${tensor.name}".`);
  if (embedding && config.use_dora) throw unsupported("Expected plain LoRA on embed_tokens, received DoRA.");
}

/** Which roles a targeted module must have. */
function requiredRoles(place: ModulePath, config: PeftConfig): Role[] {
  if (place.module === "embed_tokens") return ["lora_embedding_A", "lora_embedding_B"];
  const roles: Role[] = ["lora_A", "lora_B"];
  if (config.use_dora) roles.push("lora_magnitude_vector");
  if (config.lora_bias) roles.push("lora_B.bias");
  return roles;
}

/** One entry, or one for each part of a fused projection. */
function entriesOf(named: NamedTensor, facts: ModelFacts, scaling: number | undefined): AdapterEntry[] {
  const { tensor, place, role } = named;
  if (role === "base_table") return [];
  const common = {
    tensor: tensor.name,
    role,
    layer: place.layer,
    ...(scaling === undefined ? {} : { scaling }),
  };
  const parts = fusedParts(place.module);
  if (!parts) return [{ ...common, module: place.module as AdapterEntry["module"] }];
  let rowBegin = 0;
  return parts.map((module) => {
    const rowCount = outFeatures(facts, module);
    const rows = role === "lora_A" ? {} : { rowBegin, rowCount };
    rowBegin += rowCount;
    return { ...common, ...rows, module };
  });
}

function checkFusedRows({ tensor, place, role }: NamedTensor, facts: ModelFacts): void {
  const parts = fusedParts(place.module);
  if (!parts || role === "lora_A") return;
  const rows = parts.reduce((sum, part) => sum + outFeatures(facts, part), 0);
  if (tensor.shape[0] !== rows)
    throw new LowrankError(
      "ERR_ADAPTER_SHAPE",
      `Expected ${rows} rows for the tensor "${tensor.name}", received [${tensor.shape.join(", ")}].`,
    );
}

/**
 * What each tensor of a PEFT adapter is. Every tensor is used or refused by name, and every module that the configuration targets must
 * be complete: an adapter is never loaded in part.
 */
export function peftEntries(
  tensors: readonly NativeTensor[],
  config: PeftConfig,
  facts: ModelFacts,
): AdapterEntry[] {
  const paths = modulePaths(facts);
  const named = tensors.map((tensor) => takeApart(tensor, paths));
  const roles = new Map<string, Map<string, NamedTensor>>();
  for (const one of named) {
    checkRole(one, config);
    checkFusedRows(one, facts);
    const at = roles.get(one.place.path) ?? new Map<string, NamedTensor>();
    if (at.has(one.role))
      throw malformed(
        `Expected one tensor for ${one.role} of ${one.place.path}, "${one.tensor.name}" is the second.`,
      );
    roles.set(one.place.path, at.set(one.role, one));
  }
  const targeted = targetedModules(config, paths);
  const adapted = [...roles]
    .filter(([, at]) => [...at.keys()].some((role) => role.startsWith("lora_")))
    .map(([path]) => path);
  for (const path of targeted) {
    // A list may name a fused projection's parts or the fused one: the file decides which exists.
    const part = [...paths.values()].some((other) => other.path === path && fusedParts(other.module));
    if (!roles.has(path) && (part || coveredByFused(path, paths, roles))) continue;
    if (!adapted.includes(path))
      throw malformed(
        `Expected lora_A and lora_B for ${path}, which target_modules names; the file has neither.`,
      );
  }
  for (const path of adapted) {
    const place = paths.get(path)!;
    // Tied embeddings that were adapted together (PEFT's ensure_weight_tying): the head's pair is not named as a target.
    if (!targeted.has(path) && place.module !== "lm_head" && place.module !== "embed_tokens")
      throw malformed(`Expected ${path} among target_modules, since the file has LoRA tensors for it.`);
    for (const role of requiredRoles(place, config))
      if (!roles.get(path)!.has(role))
        throw malformed(
          `Expected the tensor ${role} of ${path}, it is missing: the adapter is not complete.`,
        );
  }
  for (const path of savedModules(config, paths))
    if (!roles.get(path)?.has("weight"))
      throw malformed(
        `Expected the weights of ${path}, which modules_to_save names; the file does not hold them.`,
      );
  const scalings = scalingOf(config, adapted);
  return named.flatMap((one) => {
    const first = one.role === "lora_A" || one.role === "lora_embedding_A";
    const found = scalings.get(one.place.path);
    if (first) {
      const rank = one.tensor.shape[0];
      if (rank !== found!.rank)
        throw new LowrankError(
          "ERR_ADAPTER_SHAPE",
          `Expected rank ${found!.rank} for the tensor "${one.tensor.name}", as adapter_config.json says, received ${rank}.`,
        );
    }
    return entriesOf(one, facts, first ? found!.scaling : undefined);
  });
}

/** PEFT's rule for modules_to_save: the end of a path. Names that the base does not have save nothing. */
function savedModules(config: PeftConfig, paths: ReadonlyMap<string, ModulePath>): string[] {
  const ends = config.modules_to_save ?? [];
  return [...paths.values()]
    .filter(({ module, path }) => !fusedParts(module) && ends.some((end) => path.endsWith(end)))
    .map(({ path }) => path);
}

function coveredByFused(
  path: string,
  paths: ReadonlyMap<string, ModulePath>,
  roles: ReadonlyMap<string, unknown>,
): boolean {
  const { module, layer } = paths.get(path)!;
  return [...paths.values()].some(
    (other) =>
      other.layer === layer &&
      roles.has(other.path) &&
      fusedParts(other.module)?.some((part) => part === module),
  );
}
