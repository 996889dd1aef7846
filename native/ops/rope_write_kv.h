// Rotary position embedding (arXiv 2104.09864, halves rotated as in GPT-NeoX), and the write of keys and values into
// the paged cache. For each row m at absolute position p and each head of q and k:
//   optional: v = v / sqrt(mean(v^2) + epsilon) * gain                (q_norm, k_norm; the mean over one head, as of Qwen3 and
//                                                                      Gemma 3, or over all heads of q, or of k, as of OLMo 2)
//   v[i]         = v[i] cos(p f[i]) - v[i + D/2] sin(p f[i])
//   v[i + D/2]   = v[i + D/2] cos(p f[i]) + v[i] sin(p f[i]),         i in [0, D/2)
// without the last two lines where cosine is null (layers without positions, arXiv 2305.19466).
// q is rotated in place in qkv; k and v go to the cache, rounded to its dtype. int8: a head's k, or v, at one position is a
// group of quant/int8.h, with its own float32 scale.
#pragma once

#include "ops/types.h"

namespace lowrank {

enum class KvFormat : uint8_t { kBFloat16, kFloat32, kInt8 };

inline constexpr size_t kv_element_bytes(KvFormat format) {
  return format == KvFormat::kInt8 ? 1 : format == KvFormat::kBFloat16 ? 2 : 4;
}

// Positions in one page of the cache. Blocks of the attention's online softmax are of this size, too.
inline constexpr int32_t kPageTokens = 32;

inline constexpr int32_t kMaxHeadDim = 512;

// How the keys and the values of one kv head lie within a page: as the attention of a backend reads them fastest.
//   kRows   K and V [kPageTokens][head_dim]
//   kLanes  K [head_dim / depth][kPageTokens][depth]: a vector holds the same dimensions of neighbouring keys,
//           V [kPageTokens / depth][head_dim][depth]: it holds neighbouring dimensions of the same keys,
//           with kv_depth dimensions, or keys, side by side: as many as fit a dword, but two of int8 where head_dim is no multiple of
//           4. It is even.
enum class KvLayout : uint8_t { kRows, kLanes };

inline constexpr int32_t kv_depth(KvFormat format, int32_t head_dim) {
  return format == KvFormat::kFloat32 ? 1 : format == KvFormat::kInt8 && head_dim % 4 == 0 ? 4 : 2;
}

// Where dimension i of the key, or the value, at position `slot` of a page lies within its kv head's kPageTokens * head_dim elements.
inline constexpr int32_t key_offset(KvLayout layout, KvFormat format, int32_t head_dim, int32_t slot, int32_t i) {
  const int32_t depth = kv_depth(format, head_dim);
  return layout == KvLayout::kRows ? slot * head_dim + i : (i / depth * kPageTokens + slot) * depth + i % depth;
}
inline constexpr int32_t value_offset(KvLayout layout, KvFormat format, int32_t head_dim, int32_t slot, int32_t i) {
  const int32_t depth = kv_depth(format, head_dim);
  return layout == KvLayout::kRows ? slot * head_dim + i : (slot / depth * head_dim + i) * depth + slot % depth;
}

// One layer's cache. Page p of K holds [kv_heads] times what `layout` says from element p * page_elements on, V likewise; other
// layers' pages may lie between. Of int8, the scales of page p are [kv_heads, kPageTokens] from float p * page_scales on.
struct KvLayer {
  void* k;
  void* v;
  int64_t page_elements;
  KvFormat format;
  KvLayout layout;
  float* k_scale = nullptr;  // kInt8 only
  float* v_scale = nullptr;
  int64_t page_scales = 0;
};

// cosine[m, i] = cos(position[m] * frequency[i]) * attention_factor, sine likewise: once a step for each kind of layer.
// The angle is a float32 product, as in transformers.
struct RopeAnglesArgs {
  const int32_t* positions;  // [M]
  int32_t rows;
  const float* frequencies;  // [D/2]
  int32_t half_dim;          // D/2
  float attention_factor;
  float* cosine;             // [M, D/2]
  float* sine;               // [M, D/2]
};

struct RopeWriteKvArgs {
  float* qkv;  // [M, stride]: q [heads, D] | k [kv_heads, D] | v [kv_heads, D]
  int32_t stride;
  int32_t rows;
  int32_t heads;
  int32_t kv_heads;
  int32_t head_dim;     // D, even, at most kMaxHeadDim
  const float* cosine;  // [M, D/2], or null: no rotation
  const float* sine;    // [M, D/2], or null with it
  const float* q_norm;  // [D] gain, or null; [heads, D] where joint_norms
  const float* k_norm;  // [D] gain, or null; [kv_heads, D] where joint_norms
  const float* const* q_norm_rows;  // [M] gain of each row in place of q_norm (adapters that train norms), or null
  const float* const* k_norm_rows;
  float norm_epsilon;
  const int32_t* positions;            // [M]
  const int32_t* const* block_tables;  // [M]: the row's sequence's pages, in order of position
  KvLayer cache;
  bool joint_norms = false;  // q_norm and k_norm take the mean over all heads
};

}  // namespace lowrank
