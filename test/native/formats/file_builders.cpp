#include "formats/file_builders.h"

#include <random>

namespace lowrank::test {
namespace {

Bytes pattern(size_t n, uint32_t seed) {
  std::mt19937 random(seed);
  Bytes bytes(n);
  for (uint8_t& byte : bytes)
    byte = static_cast<uint8_t>(random() & 0x3f);  // small exponents: no NaN, no infinity
  return bytes;
}

}  // namespace

Bytes small_safetensors() {
  const std::string header = "{\"__metadata__\":{\"format\":\"pt\"}," +
                             safetensors_entry("embed", "F32", "[3,4]", 0, 48) + "," +
                             safetensors_entry("norm", "BF16", "[5]", 48, 58) + "," +
                             safetensors_entry("proj", "F16", "[2,3]", 58, 70) + "," +
                             safetensors_entry("empty", "F32", "[0,7]", 70, 70) + "," +
                             safetensors_entry("scale", "F64", "[]", 70, 78) + "," +
                             safetensors_entry("ids", "I64", "[2]", 78, 94) + "}  ";
  return safetensors_file(header, pattern(94, 1));
}

Bytes small_gguf() {
  GgufBuilder builder;
  builder.add_string("general.architecture", "llama");
  builder.add_scalar<uint32_t>("llama.block_count", 4, 2);
  builder.add_scalar<float>("llama.rope.freq_base", 6, 10000.0f);
  builder.add_scalar<uint8_t>("tokenizer.ggml.add_bos_token", 7, 1);
  builder.add_strings("tokenizer.ggml.tokens", {"<s>", "", "\xe2\x96\x81the", "a"});
  builder.add_array("tokenizer.ggml.token_type", 5, 4, bytes_of<int32_t>({3, 1, 1, -1}));
  builder.add_tensor("token_embd.weight", {32, 3}, 8, pattern(3 * 34, 2));
  builder.add_tensor("blk.0.attn_norm.weight", {5}, 0, pattern(20, 3));
  builder.add_tensor("blk.0.attn_q.weight", {64, 2}, 3, pattern(2 * 2 * 20, 4));
  builder.add_tensor("blk.0.ffn_up.weight", {256, 1}, 14, pattern(210, 5));
  builder.add_tensor("output.weight", {3, 2}, 1, pattern(12, 6));
  return builder.build();
}

}  // namespace lowrank::test
