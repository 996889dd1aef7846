import { LowrankError } from "../errors/index.js";
import type { AdapterEntry, NativeTensor } from "../native/types.js";
import type { ModulePath } from "./module-path.js";

/** What a tensor of a PEFT adapter is, by the end of its name. */
export type TensorRole =
  | Exclude<AdapterEntry["role"], "token_rows" | "copy">
  | "base_layer.bias"
  | "original_module.weight"
  | "modules_to_save.weight"
  | "trainable_tokens_delta";

/** A tensor's name, taken apart. */
export interface NamedTensor {
  tensor: NativeTensor;
  place: ModulePath;
  role: TensorRole;
}

/** What may follow a module's path, longest first. */
const SUFFIXES: readonly (readonly [suffix: string, role: TensorRole])[] = [
  [".token_adapter.trainable_tokens_delta", "trainable_tokens_delta"],
  [".lora_magnitude_vector.weight", "lora_magnitude_vector"],
  [".lora_magnitude_vector", "lora_magnitude_vector"],
  [".original_module.weight", "original_module.weight"],
  [".modules_to_save.weight", "modules_to_save.weight"],
  [".lora_embedding_A", "lora_embedding_A"],
  [".lora_embedding_B", "lora_embedding_B"],
  [".base_layer.weight", "base_layer.weight"],
  [".base_layer.bias", "base_layer.bias"],
  [".lora_A.weight", "lora_A"],
  [".lora_B.weight", "lora_B"],
  [".lora_B.bias", "lora_B.bias"],
  [".weight", "weight"],
  [".bias", "bias"],
];

/** Throws ERR_ADAPTER_UNSUPPORTED, which names the tensor, for one that belongs to no module of the base. */
export function takeApart(tensor: NativeTensor, paths: ReadonlyMap<string, ModulePath>): NamedTensor {
  // Prefixes and parts that PEFT adds or leaves out, depending on how the adapter was saved.
  let name = tensor.name.replace(/^base_model\.model\./, "").replace(/\.default(?=\.|$)/, "");
  name = name.replace(/^(?:model\.)?language_model\.(?:model\.)?/, "model.");
  name = name.replace(/^model\.lm_head\./, "lm_head.");
  for (const [suffix, role] of SUFFIXES) {
    if (!name.endsWith(suffix)) continue;
    const path = name.slice(0, -suffix.length);
    const place = paths.get(path) ?? paths.get(`model.${path}`);
    if (place) return { tensor, place, role };
  }
  throw new LowrankError(
    "ERR_ADAPTER_UNSUPPORTED",
    `Expected a tensor of LoRA on a module of the base model, received "${tensor.name.slice(0, 300)}". ` +
      "The adapter was made for another architecture, or holds something that is not supported.",
  );
}
