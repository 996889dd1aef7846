/** A small safetensors model as GGUF, by the names and keys of llama.cpp's converter. Not for "llama", whose rows it would permute. */
import { readFileSync } from "node:fs";
import type { RawTensor } from "./altered-model.js";
import { ggufEntry, readGguf, type GgufContent, type GgufTensor } from "./gguf-file.js";
import { tinyGguf } from "../generate/tiny-models.js";

const GGML_BF16 = 30;
const GGML_F32 = 0;

const NAMES: [RegExp, string][] = [
  [/^model\.embed_tokens\./, "token_embd."],
  [/^model\.norm\./, "output_norm."],
  [/^lm_head\./, "output."],
  [/^model\.layers\.(\d+)\.input_layernorm\./, "blk.$1.attn_norm."],
  [/^model\.layers\.(\d+)\.post_attention_layernorm\./, "blk.$1.ffn_norm."],
  [/^model\.layers\.(\d+)\.self_attn\.o_proj\./, "blk.$1.attn_output."],
  [/^model\.layers\.(\d+)\.self_attn\.([qkv])_proj\./, "blk.$1.attn_$2."],
  [/^model\.layers\.(\d+)\.mlp\.(gate|up|down)_proj\./, "blk.$1.ffn_$2."],
];

function ggufTensor({ dtype, shape, bytes }: RawTensor): GgufTensor {
  if (dtype !== "BF16") throw new Error(`Expected BF16, received ${dtype}.`);
  // Vectors are float32 in such files.
  const isVector = shape.length === 1;
  const data = isVector ? Buffer.alloc(2 * bytes.length) : Buffer.from(bytes);
  if (isVector) for (let i = 0; i < bytes.length; i += 2) data.set(bytes.subarray(i, i + 2), 2 * i + 2);
  const record = Buffer.alloc(8 + 8 * shape.length);
  record.writeUInt32LE(shape.length);
  [...shape].reverse().forEach((size, i) => record.writeBigUInt64LE(BigInt(size), 4 + 8 * i));
  record.writeUInt32LE(isVector ? GGML_F32 : GGML_BF16, 4 + 8 * shape.length);
  return { record, data };
}

/** Of a model of transformers 5 with one RoPE of the type "default". */
export function ggufOf(tensors: Map<string, RawTensor>, config: Record<string, unknown>): GgufContent {
  const architecture = config["model_type"] as string;
  const { keys } = readGguf(readFileSync(tinyGguf("llama-f16.gguf")));
  for (const key of [...keys.keys()])
    if (key.startsWith("llama.") || key.startsWith("tokenizer.")) keys.delete(key);
  const integer = (key: string, value: unknown): unknown =>
    keys.set(`${architecture}.${key}`, ggufEntry("uint32", value as number));
  const real = (key: string, value: unknown): unknown =>
    keys.set(`${architecture}.${key}`, ggufEntry("float32", value as number));
  keys.set("general.architecture", ggufEntry("string", architecture));
  integer("block_count", config["num_hidden_layers"]);
  integer("context_length", config["max_position_embeddings"]);
  integer("embedding_length", config["hidden_size"]);
  integer("feed_forward_length", config["intermediate_size"]);
  integer("attention.head_count", config["num_attention_heads"]);
  integer("attention.head_count_kv", config["num_key_value_heads"]);
  real("attention.layer_norm_rms_epsilon", config["rms_norm_eps"]);
  real("rope.freq_base", (config["rope_parameters"] as { rope_theta: number }).rope_theta);
  const converted = new Map<string, GgufTensor>();
  for (const [name, tensor] of tensors) {
    const [pattern, replacement] = NAMES.find(([candidate]) => candidate.test(name))!;
    converted.set(name.replace(pattern, replacement), ggufTensor(tensor));
  }
  return { keys, tensors: converted };
}
