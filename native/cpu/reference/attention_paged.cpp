#include <algorithm>
#include <cmath>
#include <limits>

#include "core/float16.h"
#include "cpu/reference/ops.h"

namespace lowrank::cpu::reference {
namespace {

constexpr float kNoKey = -std::numeric_limits<float>::infinity();

// The running state of an online softmax: sum_j exp(s_j - largest), and the same sum weighted by V.
struct Softmax {
  float largest = kNoKey;
  float sum = 0.0f;
  float values[kMaxHeadDim];  // [head_dim]

  void clear(int32_t head_dim) {
    largest = kNoKey;
    sum = 0.0f;
    std::fill_n(values, head_dim, 0.0f);
  }
  // Expresses the sums relative to `new_largest`.
  void rescale(float new_largest, int32_t head_dim) {
    const float factor = std::exp(largest - new_largest);
    sum *= factor;
    for (int32_t i = 0; i < head_dim; ++i)
      values[i] *= factor;
    largest = new_largest;
  }
  void merge(const Softmax& other, int32_t head_dim) {
    const float new_largest = std::max(largest, other.largest);
    rescale(new_largest, head_dim);
    const float factor = std::exp(other.largest - new_largest);
    sum += other.sum * factor;
    for (int32_t i = 0; i < head_dim; ++i)
      values[i] += other.values[i] * factor;
  }
};

// One row, one kv head: its keys and values.
struct Keys {
  const AttentionPagedArgs& args;
  const int32_t* block_table;
  int32_t kv_head;

  // Dimension i of the key, or value, at absolute position j.
  float key(int32_t j, int32_t i) const { return load(args.cache.k, args.cache.k_scale, j, i, key_offset); }
  float value(int32_t j, int32_t i) const { return load(args.cache.v, args.cache.v_scale, j, i, value_offset); }

 private:
  template <class Offset>
  float load(const void* from, const float* scales, int32_t j, int32_t i, Offset offset) const {
    const KvLayer& cache = args.cache;
    const int64_t page = block_table[j / kPageTokens];
    const int32_t slot = j % kPageTokens;
    const int64_t at = page * cache.page_elements + int64_t{kv_head} * kPageTokens * args.head_dim +
                       offset(cache.layout, cache.format, args.head_dim, slot, i);
    switch (cache.format) {
      case KvFormat::kInt8:
        return static_cast<float>(static_cast<const int8_t*>(from)[at]) *
               scales[page * cache.page_scales + int64_t{kv_head} * kPageTokens + slot];
      case KvFormat::kBFloat16: return bfloat16_to_float32(static_cast<const uint16_t*>(from)[at]);
      case KvFormat::kFloat32: break;
    }
    return static_cast<const float*>(from)[at];
  }
};

// Adds the keys [j_begin, j_end) of one block of kPageTokens absolute positions to the split's softmax.
void add_block(const Keys& keys, const float* q, int32_t j_begin, int32_t j_end, Softmax& split) {
  const AttentionPagedArgs& args = keys.args;
  float scores[kPageTokens];
  float new_largest = split.largest;
  for (int32_t j = j_begin; j < j_end; ++j) {
    float dot = 0.0f;
    for (int32_t i = 0; i < args.head_dim; ++i)
      dot += q[i] * keys.key(j, i);
    const float score = dot * args.scale;
    scores[j - j_begin] = args.soft_cap == 0.0f ? score : args.soft_cap * std::tanh(score / args.soft_cap);
    new_largest = std::max(new_largest, scores[j - j_begin]);
  }
  split.rescale(new_largest, args.head_dim);
  for (int32_t j = j_begin; j < j_end; ++j) {
    const float weight = std::exp(scores[j - j_begin] - new_largest);
    split.sum += weight;
    for (int32_t i = 0; i < args.head_dim; ++i)
      split.values[i] += weight * keys.value(j, i);
  }
}

void attend(const Keys& keys, const float* q, int32_t position, float* out) {
  const AttentionPagedArgs& args = keys.args;
  const int32_t first = first_key(position, args.window);
  const int32_t end = position + 1;
  Softmax total;
  Softmax split;
  total.clear(args.head_dim);
  for (int32_t j = first; j < end;) {
    const int32_t split_end = std::min(end, (j / kAttentionSplit + 1) * kAttentionSplit);
    split.clear(args.head_dim);
    while (j < split_end) {
      const int32_t block_end = std::min(split_end, (j / kPageTokens + 1) * kPageTokens);
      add_block(keys, q, j, block_end, split);
      j = block_end;
    }
    total.merge(split, args.head_dim);
  }
  for (int32_t i = 0; i < args.head_dim; ++i)
    out[i] = total.values[i] / total.sum;
}

}  // namespace

void attention_paged(const AttentionPagedArgs& args, int part, int parts) {
  const int32_t group = args.heads / args.kv_heads;
  const Range pairs = split(args.rows * args.kv_heads, 1, part, parts);
  for (int32_t pair = pairs.begin; pair < pairs.end; ++pair) {
    const int32_t m = pair / args.kv_heads;
    const int32_t kv_head = pair % args.kv_heads;
    const Keys keys = {args, args.block_tables[m], kv_head};
    for (int32_t h = kv_head * group; h < (kv_head + 1) * group; ++h) {
      const float* q = args.q + static_cast<size_t>(m) * static_cast<size_t>(args.q_stride) +
                       static_cast<size_t>(h) * static_cast<size_t>(args.head_dim);
      float* out = args.out + static_cast<size_t>(m) * static_cast<size_t>(args.out_stride) +
                   static_cast<size_t>(h) * static_cast<size_t>(args.head_dim);
      attend(keys, q, args.positions[m], out);
    }
  }
}

}  // namespace lowrank::cpu::reference
