#include <cmath>

#include "core/float16.h"
#include "cpu/reference/ops.h"
#include "quant/int8.h"

namespace lowrank::cpu::reference {
namespace {

// The gain of row m: its own where it has one.
const float* gain_of_row(const float* gain, const float* const* gain_rows, int32_t m) {
  return gain_rows != nullptr && gain_rows[m] != nullptr ? gain_rows[m] : gain;
}

// v [count] = v / sqrt(mean(v^2) + epsilon) * gain
void norm(float* v, int32_t count, const float* gain, float epsilon) {
  const float mean = sum_of_squares(v, count) / static_cast<float>(count);
  const float factor = 1.0f / std::sqrt(mean + epsilon);
  for (int32_t i = 0; i < count; ++i)
    v[i] = v[i] * factor * gain[i];
}

// Neighbouring heads, each by itself or all together.
void norm_heads(const RopeWriteKvArgs& args, float* head, int32_t heads, const float* gain) {
  if (gain == nullptr) return;
  if (args.joint_norms) return norm(head, heads * args.head_dim, gain, args.norm_epsilon);
  for (int32_t h = 0; h < heads; ++h)
    norm(head + h * args.head_dim, args.head_dim, gain, args.norm_epsilon);
}

void rotate_head(float* head, int32_t half_dim, const float* cosine, const float* sine) {
  for (int32_t i = 0; i < half_dim; ++i) {
    const float low = head[i];
    const float high = head[i + half_dim];
    head[i] = low * cosine[i] - high * sine[i];
    head[i + half_dim] = high * cosine[i] + low * sine[i];
  }
}

// Offset: key_offset or value_offset.
template <class Offset>
void write_head(const RopeWriteKvArgs& args, void* cache, float* scales, int32_t m, int32_t kv_head, const float* head, Offset offset) {
  const KvLayer& layer = args.cache;
  const int32_t position = args.positions[m];
  const int64_t page = args.block_tables[m][position / kPageTokens];
  const int32_t slot = position % kPageTokens;
  const int64_t begin = page * layer.page_elements + int64_t{kv_head} * kPageTokens * args.head_dim;
  int8_t quantized[kMaxHeadDim];
  if (layer.format == KvFormat::kInt8)
    scales[page * layer.page_scales + int64_t{kv_head} * kPageTokens + slot] = quantize_group_int8(head, args.head_dim, quantized);
  for (int32_t i = 0; i < args.head_dim; ++i) {
    const int64_t at = begin + offset(layer.layout, layer.format, args.head_dim, slot, i);
    switch (layer.format) {
      case KvFormat::kInt8: static_cast<int8_t*>(cache)[at] = quantized[i]; break;
      case KvFormat::kBFloat16: static_cast<uint16_t*>(cache)[at] = float32_to_bfloat16(head[i]); break;
      case KvFormat::kFloat32: static_cast<float*>(cache)[at] = head[i]; break;
    }
  }
}

}  // namespace

void rope_angles(const RopeAnglesArgs& args, int part, int parts) {
  const Range rows = split(args.rows, 1, part, parts);
  for (int32_t m = rows.begin; m < rows.end; ++m) {
    const size_t begin = static_cast<size_t>(m) * static_cast<size_t>(args.half_dim);
    for (int32_t i = 0; i < args.half_dim; ++i) {
      const float angle = static_cast<float>(args.positions[m]) * args.frequencies[i];
      args.cosine[begin + static_cast<size_t>(i)] = std::cos(angle) * args.attention_factor;
      args.sine[begin + static_cast<size_t>(i)] = std::sin(angle) * args.attention_factor;
    }
  }
}

void rope_write_kv(const RopeWriteKvArgs& args, int part, int parts) {
  const int32_t head_dim = args.head_dim;
  const int32_t half_dim = head_dim / 2;
  const Range rows = split(args.rows, 1, part, parts);
  for (int32_t m = rows.begin; m < rows.end; ++m) {
    float* head = args.qkv + static_cast<size_t>(m) * static_cast<size_t>(args.stride);
    norm_heads(args, head, args.heads, gain_of_row(args.q_norm, args.q_norm_rows, m));
    norm_heads(args, head + args.heads * head_dim, args.kv_heads, gain_of_row(args.k_norm, args.k_norm_rows, m));
    if (args.cosine != nullptr) {
      const size_t angles = static_cast<size_t>(m) * static_cast<size_t>(half_dim);
      for (int32_t h = 0; h < args.heads + args.kv_heads; ++h)
        rotate_head(head + h * head_dim, half_dim, args.cosine + angles, args.sine + angles);
    }
    head += args.heads * head_dim;
    for (int32_t h = 0; h < args.kv_heads; ++h, head += head_dim)
      write_head(args, args.cache.k, args.cache.k_scale, m, h, head, key_offset);
    for (int32_t h = 0; h < args.kv_heads; ++h, head += head_dim)
      write_head(args, args.cache.v, args.cache.v_scale, m, h, head, value_offset);
  }
}

}  // namespace lowrank::cpu::reference
