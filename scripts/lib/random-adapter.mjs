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

/** [name, shape] of all tensors of rank `rank` on all seven projections, as PEFT names them. */
const shapesOf = (facts, rank) =>
  Array.from({ length: facts.layers }, (_, layer) =>
    MODULES.flatMap((module) => {
      const [rows, cols] = shapeOf(facts, module);
      const block = "qkvo".includes(module[0]) ? "self_attn" : "mlp";
      const prefix = `base_model.model.model.layers.${layer}.${block}.${module}`;
      return [
        [`${prefix}.lora_A.weight`, [rank, cols]],
        [`${prefix}.lora_B.weight`, [rows, rank]],
      ];
    }),
  ).flat();

/** Tensors for `adapters.load`, in bfloat16, with values within +-1/64. */
export function randomTensors(facts, rank, seed = 1) {
  let state = seed >>> 0;
  return Object.fromEntries(
    shapesOf(facts, rank).map(([name, shape]) => {
      const data = new Uint16Array(shape[0] * shape[1]);
      for (let i = 0; i < data.length; i++) {
        state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
        // Sign and mantissa are random, the exponent is that of 2^-7: bfloat16 numbers from 1/128 to 1/64.
        data[i] = ((state >>> 31) << 15) | (120 << 7) | ((state >>> 20) & 0x7f);
      }
      return [name, { data, shape, dtype: "bf16" }];
    }),
  );
}

/** adapter_config.json of such an adapter. */
export const randomConfig = (rank) => ({
  peft_type: "LORA",
  r: rank,
  lora_alpha: rank,
  target_modules: MODULES,
});

/** Writes such an adapter as a PEFT folder. Returns the bytes of the weights file. */
export async function writeRandomAdapter(folder, facts, rank, seed = 1) {
  const header = {};
  let offset = 0;
  const blocks = [];
  for (const [name, { data, shape }] of Object.entries(randomTensors(facts, rank, seed))) {
    header[name] = { dtype: "BF16", shape, data_offsets: [offset, offset + data.byteLength] };
    offset += data.byteLength;
    blocks.push(Buffer.from(data.buffer));
  }
  const text = Buffer.from(JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(text.length));
  const file = Buffer.concat([length, text, ...blocks]);
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, "adapter_model.safetensors"), file);
  await writeFile(join(folder, "adapter_config.json"), JSON.stringify(randomConfig(rank)));
  return file.length;
}
