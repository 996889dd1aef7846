import { addon } from "../native/addon.js";
import type { AdapterInspection } from "../native/types.js";
import { readAdapter } from "./source.js";

/** What an adapter's files say, before a base model is asked whether it fits. */
export interface AdapterDescription extends AdapterInspection {
  origin: string;
  /** adapter_config.json as it is; null for GGUF, whose `metadata` has it. */
  config: unknown;
  /** Size of the weights' file. */
  bytes: number;
}

/** Reads a PEFT folder, a `.safetensors` file or a `.gguf` file. Throws ERR_ADAPTER_NOT_FOUND, ERR_ADAPTER_FORMAT, ERR_IO. */
export async function inspectAdapter(path: string): Promise<AdapterDescription> {
  const { origin, config, weights } = await readAdapter(path);
  return { origin, config, bytes: weights.length, ...(await addon().inspectAdapter(weights)) };
}
