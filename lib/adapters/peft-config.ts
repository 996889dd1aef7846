import { Ajv, type ErrorObject } from "ajv";
import { LowrankError } from "../errors/index.js";

/** What this engine reads of PEFT's adapter_config.json (PEFT 0.21, LoraConfig). */
export interface PeftConfig {
  peft_type: "LORA";
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
  alora_invocation_tokens: number[] | null;
}

const strings = { type: "array", items: { type: "string", minLength: 1, maxLength: 4096 }, maxItems: 65536 };
const nullable = (...schemas: object[]): object => ({ anyOf: [...schemas, { type: "null" }] });
const pattern = { type: "string", minLength: 1, maxLength: 4096 };
const count = { type: "integer", minimum: 0, maximum: 65536 };

const PROPERTIES = {
  peft_type: { const: "LORA" },
  r: { type: "integer", minimum: 1, maximum: 8192 },
  lora_alpha: { type: "number", exclusiveMinimum: 0, maximum: 1e6, default: 8 },
  use_rslora: { type: "boolean", default: false },
  use_dora: { type: "boolean", default: false },
  target_modules: { ...nullable(pattern, strings), default: null },
  exclude_modules: { ...nullable(pattern, strings), default: null },
  rank_pattern: {
    type: "object",
    additionalProperties: { type: "integer", minimum: 1, maximum: 8192 },
    default: {},
  },
  alpha_pattern: {
    type: "object",
    additionalProperties: { type: "number", minimum: 0, maximum: 1e6 },
    default: {},
  },
  layers_to_transform: { ...nullable(count, { type: "array", items: count, maxItems: 4096 }), default: null },
  layers_pattern: { ...nullable({ type: "string", maxLength: 4096 }, strings), default: null },
  bias: { enum: ["none", "all", "lora_only"], default: "none" },
  lora_bias: { type: "boolean", default: false },
  modules_to_save: { ...nullable(strings), default: null },
  alora_invocation_tokens: {
    ...nullable({ type: "array", items: { type: "integer", minimum: 0 }, minItems: 1, maxItems: 4096 }),
    default: null,
  },
};

const validate = new Ajv({ useDefaults: true, strict: true, allowUnionTypes: true }).compile<PeftConfig>({
  type: "object",
  required: ["peft_type", "r"],
  properties: PROPERTIES,
});

/** Ways to start training that change the base, so that the adapter assumes weights which are not the checkpoint's. */
const CHANGED_BASE = new Set(["pissa", "olora", "corda", "loftq", "lora_ga"]);

/** Settings that matter only while training, or describe the file. */
const WITHOUT_EFFECT = new Set([
  "auto_mapping",
  "base_model_name_or_path",
  "corda_config",
  "ensure_weight_tying",
  "eva_config",
  // Says how the base stores its weights; the low-rank pair lies the same way for both.
  "fan_in_fan_out",
  "inference_mode",
  "init_lora_weights",
  "loftq_config",
  "lora_dropout",
  "lora_ga_config",
  "megatron_config",
  "megatron_core",
  "peft_version",
  "qalora_group_size",
  "revision",
  "runtime_config",
  "task_type",
  "velora_config",
]);

function isDefault(value: unknown): boolean {
  if (value === null || value === undefined || value === false || value === "") return true;
  return typeof value === "object" && Object.keys(value).length === 0;
}

function describe(error: ErrorObject): string {
  const key =
    error.instancePath.slice(1) ||
    (error.params as { missingProperty?: string }).missingProperty ||
    "the file";
  return `${key} ${error.message ?? "is invalid"}`;
}

/**
 * Checks an adapter_config.json. Throws ERR_ADAPTER_FORMAT where it is malformed, ERR_ADAPTER_UNSUPPORTED where it asks for something
 * that this engine would not compute exactly, naming the key.
 */
export function parsePeftConfig(json: unknown): PeftConfig {
  if (typeof json !== "object" || json === null || Array.isArray(json))
    throw new LowrankError("ERR_ADAPTER_FORMAT", "Expected an object in adapter_config.json.");
  const given = json as Record<string, unknown>;
  const unsupported = (what: string): LowrankError => new LowrankError("ERR_ADAPTER_UNSUPPORTED", what);
  if (typeof given["peft_type"] === "string" && given["peft_type"] !== "LORA")
    throw unsupported(
      `Expected LORA for peft_type, received ${given["peft_type"]}. Other adapters than LoRA are not supported.`,
    );
  // A copy with known keys alone: PEFT writes null for what is not set.
  const config: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(given)) {
    if (Object.hasOwn(PROPERTIES, key)) {
      if (value !== null) config[key] = structuredClone(value);
    } else if (!WITHOUT_EFFECT.has(key) && !isDefault(value)) {
      throw unsupported(
        `Expected ${key} not to be set in adapter_config.json: it changes the result and is not supported.`,
      );
    }
  }
  if (!validate(config))
    throw new LowrankError(
      "ERR_ADAPTER_FORMAT",
      `Expected a valid adapter_config.json: ${describe(validate.errors![0]!)}.`,
    );
  const start = given["init_lora_weights"];
  const kind = typeof start === "string" ? start.toLowerCase().replace(/_niter_\d+$/, "") : "";
  if (CHANGED_BASE.has(kind))
    throw unsupported(
      `Expected an adapter on the unchanged base, received init_lora_weights "${start as string}", which assumes a changed one. ` +
        'Convert it when saving: save_pretrained(..., path_initial_model_for_weight_conversion="...").',
    );
  if (config.use_dora && config.lora_bias)
    throw unsupported("Expected lora_bias false beside use_dora, as PEFT itself does.");
  return config;
}
