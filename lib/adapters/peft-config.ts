import { LowrankError, shown } from "../errors/index.js";
import {
  arrayOr,
  boolean,
  choice,
  integer,
  list,
  nullable,
  number,
  record,
  scalarOr,
  text,
  type Reader,
} from "./peft-values.js";

/** What this engine reads of PEFT's adapter_config.json (PEFT 0.21, LoraConfig). */
export interface PeftConfig {
  r: number;
  lora_alpha: number;
  use_rslora: boolean;
  use_dora: boolean;
  target_modules: string | string[] | null;
  exclude_modules: string | string[] | null;
  rank_pattern: Record<string, number>;
  alpha_pattern: Record<string, number>;
  layers_to_transform: number | number[] | null;
  layers_pattern: string | string[] | null;
  bias: "none" | "all" | "lora_only";
  lora_bias: boolean;
  modules_to_save: string[] | null;
  ensure_weight_tying: boolean;
  trainable_token_indices: number[] | Record<string, number[]> | null;
  alora_invocation_tokens: number[] | null;
}

const texts = list(text, 65536);
const rank = integer(1, 8192);
const layer = integer(0, 65536);
const tokens = list(integer(0, 2 ** 31 - 1), 65536, 1);

/** How each key is read, and what stands for a key that is left out: PEFT's own defaults, but of r, on which all hangs. */
const READERS: {
  [Key in keyof PeftConfig]: [reader: Reader<PeftConfig[Key]>, fallback: PeftConfig[Key] | undefined];
} = {
  r: [rank, undefined],
  lora_alpha: [number(0, 1e6), 8],
  use_rslora: [boolean, false],
  use_dora: [boolean, false],
  target_modules: [nullable(scalarOr(text, texts)), null],
  exclude_modules: [nullable(scalarOr(text, texts)), null],
  rank_pattern: [record(rank), {}],
  alpha_pattern: [record(number(0, 1e6)), {}],
  layers_to_transform: [nullable(scalarOr(layer, list(layer, 4096))), null],
  layers_pattern: [nullable(scalarOr(text, texts)), null],
  bias: [choice("none", "all", "lora_only"), "none"],
  lora_bias: [boolean, false],
  modules_to_save: [nullable(list(text, 256)), null],
  ensure_weight_tying: [boolean, false],
  trainable_token_indices: [nullable(arrayOr(tokens, record(tokens))), null],
  alora_invocation_tokens: [nullable(list(integer(0, 2 ** 31 - 1), 4096, 1)), null],
};

/** Ways to start training that leave the base as it is. */
const UNCHANGED_BASE = new Set(["gaussian", "eva", "orthogonal", "mica"]);
/** Those that change it, so that the adapter assumes weights which are not the checkpoint's. */
const CHANGED_BASE = new Set(["pissa", "olora", "corda", "loftq", "lora_ga"]);

/** Keys that PEFT 0.21 knows and that change no result once the adapter is trained, with the reason. */
export const WITHOUT_EFFECT: Readonly<Record<string, string>> = {
  auto_mapping: "the classes of the model that it was trained with",
  base_model_name_or_path: "where the base was; which base fits, the shapes say",
  corda_config: "of init_lora_weights, before the first step of training",
  eva_config: "of init_lora_weights, before the first step of training",
  fan_in_fan_out:
    "how the base stores its weights: PEFT sets it to what the module is, and the pair lies the same way for both",
  inference_mode: "whether the parameters are frozen",
  loftq_config: "of init_lora_weights, before the first step of training",
  lora_dropout: "while training only",
  lora_ga_config: "of init_lora_weights, before the first step of training",
  megatron_config: "how training was spread over devices",
  megatron_core: "the module that megatron_config would be read by",
  peft_version: "what wrote the file",
  qalora_group_size: "of use_qalora, which is refused",
  revision: "of base_model_name_or_path",
  runtime_config: "where PEFT computes; PEFT never writes it",
  task_type:
    "the head of the base: a causal language model here, whatever it says (of an activated adapter it must say so)",
  velora_config: "how activations were kept for the gradient, while training only",
};

/** Kinds of LoRA that are not supported; in PEFT an empty object asks for them, too. */
const VARIANTS = new Set(["arrow_config", "kasa_config", "monteclora_config", "use_bdlora"]);

/** Whether a key that is not read is not set, either. */
function isUnset(key: string, value: unknown): boolean {
  if (value === null || value === undefined) return true;
  if (VARIANTS.has(key)) return false;
  if (key === "target_parameters") return Array.isArray(value) && value.length === 0;
  if (value === false || value === "") return true;
  return typeof value === "object" && Object.keys(value).length === 0;
}

const unsupported = (message: string): LowrankError => new LowrankError("ERR_ADAPTER_UNSUPPORTED", message);

/** Throws unless the adapter was trained on the base as it lies in its checkpoint. */
function checkStart(start: unknown): void {
  if (start === undefined || start === null || typeof start === "boolean") return;
  const kind = typeof start === "string" ? start.toLowerCase().replace(/_niter_\d+$/, "") : "";
  if (UNCHANGED_BASE.has(kind)) return;
  if (CHANGED_BASE.has(kind))
    throw unsupported(
      `Expected an adapter on the unchanged base, received init_lora_weights "${start as string}", which assumes a changed one. ` +
        'Convert it when saving: save_pretrained(..., path_initial_model_for_weight_conversion="...").',
    );
  throw unsupported(
    `Expected a way to start training that is known for init_lora_weights, received ${JSON.stringify(start).slice(0, 100)}.`,
  );
}

/** Combinations that PEFT refuses to make, too. */
function checkCombinations(config: PeftConfig): void {
  if (config.use_dora && config.lora_bias)
    throw unsupported("Expected lora_bias false beside use_dora, as PEFT itself does.");
  if (config.use_dora && config.alora_invocation_tokens)
    throw unsupported("Expected use_dora false beside alora_invocation_tokens, as PEFT itself does.");
  const layers = config.layers_to_transform;
  const patterns = [config.layers_pattern ?? []].flat();
  if (typeof config.target_modules === "string" && (layers !== null || patterns.length > 0))
    throw unsupported("Expected a list for target_modules beside layers_to_transform, as PEFT itself does.");
  if (patterns.length > 0 && layers === null)
    throw unsupported("Expected layers_to_transform beside layers_pattern, as PEFT itself does.");
  // The layers of every supported model lie there; PEFT reads the index after it.
  if (patterns.length > 0 && !patterns.includes("layers"))
    throw unsupported(`Expected "layers" for layers_pattern, received ${JSON.stringify(patterns[0])}.`);
}

/**
 * Checks an adapter_config.json. Throws ERR_ADAPTER_FORMAT where it is malformed, ERR_ADAPTER_UNSUPPORTED where it asks for something
 * that this engine would not compute exactly, naming the key.
 */
export function parsePeftConfig(json: unknown): PeftConfig {
  if (typeof json !== "object" || json === null || Array.isArray(json))
    throw new LowrankError("ERR_ADAPTER_FORMAT", "Expected an object in adapter_config.json.");
  const given = json as Record<string, unknown>;
  const type = given["peft_type"];
  if (typeof type !== "string")
    throw new LowrankError("ERR_ADAPTER_FORMAT", 'Expected "LORA" for peft_type in adapter_config.json.');
  if (type !== "LORA")
    throw unsupported(
      `Expected LORA for peft_type, received ${type.slice(0, 100)}. Other adapters than LoRA are not supported.`,
    );
  for (const [key, value] of Object.entries(given))
    if (
      key !== "peft_type" &&
      key !== "init_lora_weights" &&
      !Object.hasOwn(READERS, key) &&
      !Object.hasOwn(WITHOUT_EFFECT, key) &&
      !isUnset(key, value)
    )
      throw unsupported(
        `Expected ${key.slice(0, 100)} not to be set in adapter_config.json: it changes the result and is not supported.`,
      );
  const read = <Key extends keyof PeftConfig>(key: Key): PeftConfig[Key] => {
    const [reader, fallback] = READERS[key];
    return Object.hasOwn(given, key) || fallback === undefined ? reader(given[key], key) : fallback;
  };
  const config = Object.fromEntries(
    Object.keys(READERS).map((key) => [key, read(key as keyof PeftConfig)]),
  ) as unknown as PeftConfig;
  checkStart(given["init_lora_weights"]);
  // PEFT looks for the invocation in models of this task alone.
  if (config.alora_invocation_tokens && given["task_type"] !== "CAUSAL_LM")
    throw unsupported(
      `Expected "CAUSAL_LM" for task_type beside alora_invocation_tokens, received ${shown(given["task_type"])}.`,
    );
  checkCombinations(config);
  return config;
}
