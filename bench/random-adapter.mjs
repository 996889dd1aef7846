// A LoRA adapter of random numbers in the shapes of a model, as a PEFT folder: for figures that do not depend on the values.
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";

const MODULES = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"];

/** [out, in] of one projection. */
function shapeOf({ hiddenSize, intermediateSize, heads, kvHeads, headDim }, module) {
  return {
    q_proj: [heads * headDim, hiddenSize],
    k_proj: [kvHeads * headDim, hiddenSize],
    v_proj: [kvHeads * headDim, hiddenSize],
    o_proj: [hiddenSize, heads * headDim],
    gate_proj: [intermediateSize, hiddenSize],
    up_proj: [intermediateSize, hiddenSize],
    down_proj: [hiddenSize, intermediateSize],
  }[module];
}

/** Writes rank `rank` on all seven projections in bfloat16, with values within +-1/64. Returns the bytes of the weights file. */
export async function writeRandomAdapter(folder, facts, rank, seed = 1) {
  const header = {};
  let offset = 0;
  for (let layer = 0; layer < facts.layers; layer++)
    for (const module of MODULES) {
      const [rows, cols] = shapeOf(facts, module);
      const block = module.endsWith("_proj") && "qkvo".includes(module[0]) ? "self_attn" : "mlp";
      const prefix = `base_model.model.model.layers.${layer}.${block}.${module}`;
      for (const [half, shape] of [
        ["lora_A", [rank, cols]],
        ["lora_B", [rows, rank]],
      ]) {
        const bytes = shape[0] * shape[1] * 2;
        header[`${prefix}.${half}.weight`] = { dtype: "BF16", shape, data_offsets: [offset, offset + bytes] };
        offset += bytes;
      }
    }
  const text = Buffer.from(JSON.stringify(header));
  const file = Buffer.alloc(8 + text.length + offset);
  file.writeBigUInt64LE(BigInt(text.length));
  text.copy(file, 8);
  let state = seed >>> 0;
  for (let at = 8 + text.length; at < file.length; at += 2) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    // Sign and mantissa are random, the exponent is that of 2^-7: bfloat16 numbers from 1/128 to 1/64.
    file.writeUInt16LE(((state >>> 31) << 15) | (120 << 7) | ((state >>> 20) & 0x7f), at);
  }
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, "adapter_model.safetensors"), file);
  const config = { peft_type: "LORA", r: rank, lora_alpha: rank, target_modules: MODULES };
  await writeFile(join(folder, "adapter_config.json"), JSON.stringify(config));
  return file.length;
}
