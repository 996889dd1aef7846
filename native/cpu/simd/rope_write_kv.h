// The rotation and the cache write of ops/rope_write_kv.h, 16 lanes at a time. q and k are rotated where they
// lie; k and v are then rounded and dealt out to the row's places in its page, which lies as KvLayout::kLanes says.
#pragma once

#include <cstring>

#include "cpu/simd/prefetch.h"
#include "cpu/simd/sum_of_squares.h"
#include "ops/rope_write_kv.h"
#include "quant/int8.h"

namespace lowrank::cpu {

// Of more, most follow each other in a page.
inline constexpr int32_t kFewRows = 32;

static LOWRANK_INLINE int lanes_left(int32_t left, int lanes) { return left < lanes ? left : lanes; }

// One head, or several neighbouring ones together.
template <class S>
LOWRANK_INLINE void norm_head(float* head, int32_t head_dim, const float* gain, float epsilon) {
  const auto inverse = S::set1(inverse_rms<S>(head, head_dim, epsilon));
  for (int32_t i = 0; i < head_dim; i += S::kLanes) {
    const int count = lanes_left(head_dim - i, S::kLanes);
    S::store_first(head + i,
                   S::mul(S::mul(S::load_first(head + i, count), inverse), S::load_first(gain + i, count)),
                   count);
  }
}

template <class S>
LOWRANK_INLINE void rotate_head(float* head, int32_t half_dim, const float* cosine, const float* sine) {
  for (int32_t i = 0; i < half_dim; i += S::kLanes) {
    const int count = lanes_left(half_dim - i, S::kLanes);
    const auto low = S::load_first(head + i, count);
    const auto high = S::load_first(head + half_dim + i, count);
    const auto c = S::load_first(cosine + i, count);
    const auto s = S::load_first(sine + i, count);
    S::store_first(head + i, S::neg_fma(high, s, S::mul(low, c)), count);
    S::store_first(head + half_dim + i, S::fma(low, s, S::mul(high, c)), count);
  }
}

// As quantize_group_int8 has it.
template <class S>
LOWRANK_INLINE float quantize_head(const float* head, int32_t head_dim, int8_t* out) {
  auto largest = S::int_zero();
  for (int32_t i = 0; i < head_dim; i += S::kLanes) {
    const auto lanes = S::load_first(head + i, lanes_left(head_dim - i, S::kLanes));
    largest = S::int_max(largest, S::int_and(S::bits(lanes), S::int_set1(0x7fffffff)));
  }
  const Int8Scale scale = int8_scale(static_cast<uint32_t>(S::int_reduce_max(largest)));
  for (int32_t i = 0; i < head_dim; i += S::kLanes) {
    const int count = lanes_left(head_dim - i, S::kLanes);
    // Infinity and NaN have the factor 0, and must not become anything else by it.
    const auto q = scale.inverse == 0.0f
                       ? S::int_zero()
                       : S::round_even(S::mul(S::load_first(head + i, count), S::set1(scale.inverse)));
    int8_t lanes[S::kLanes];
    S::store_int8(lanes, q);
    std::memcpy(out + i, lanes, static_cast<size_t>(count));
  }
  return scale.scale;
}

// A head's numbers as the cache holds them, one behind the other. int8: `scale` gets theirs.
template <class S>
LOWRANK_INLINE void round_head(KvFormat format, const float* head, int32_t head_dim, uint8_t* out, float* scale) {
  if (format == KvFormat::kInt8) {
    *scale = quantize_head<S>(head, head_dim, reinterpret_cast<int8_t*>(out));
    return;
  }
  for (int32_t i = 0; i < head_dim; i += S::kLanes) {
    const int count = lanes_left(head_dim - i, S::kLanes);
    const auto lanes = S::load_first(head + i, count);
    if (format == KvFormat::kBFloat16)
      S::store_bfloat16_first(reinterpret_cast<uint16_t*>(out) + i, lanes, count);
    else
      S::store_first(reinterpret_cast<float*>(out) + i, lanes, count);
  }
}

// Places `count` elements of `Bytes`, `stride` of them apart.
template <size_t Bytes>
LOWRANK_INLINE void deal_out(const uint8_t* from, uint8_t* to, int32_t count, int32_t stride) {
  for (int32_t i = 0; i < count; ++i, from += Bytes, to += static_cast<size_t>(stride) * Bytes) std::memcpy(to, from, Bytes);
}

// k, v [head_dim] of one position into the kv head that begins at element `at` of the layer; `scale_at` is its slot's scale.
template <class S>
LOWRANK_INLINE void write_heads(const KvLayer& layer, size_t at, size_t scale_at, int32_t slot, int32_t head_dim, const float* k,
                                const float* v) {
  alignas(64) uint8_t rounded[kMaxHeadDim * sizeof(float)];
  const bool int8 = layer.format == KvFormat::kInt8;
  const int32_t depth = kv_depth(layer.format, head_dim);
  const auto place = [&](void* cache, int32_t offset) {
    return static_cast<uint8_t*>(cache) + (at + static_cast<size_t>(offset)) * kv_element_bytes(layer.format);
  };
  uint8_t* const k_to = place(layer.k, key_offset(KvLayout::kLanes, layer.format, head_dim, slot, 0));
  uint8_t* const v_to = place(layer.v, value_offset(KvLayout::kLanes, layer.format, head_dim, slot, 0));
  round_head<S>(layer.format, k, head_dim, rounded, int8 ? layer.k_scale + scale_at : nullptr);
  switch (layer.format) {
    case KvFormat::kInt8:
      if (depth == 4)
        deal_out<4>(rounded, k_to, head_dim / 4, kPageTokens);
      else
        deal_out<2>(rounded, k_to, head_dim / 2, kPageTokens);
      break;
    case KvFormat::kBFloat16: deal_out<4>(rounded, k_to, head_dim / 2, kPageTokens); break;
    case KvFormat::kFloat32: deal_out<4>(rounded, k_to, head_dim, kPageTokens); break;
  }
  if (layer.format == KvFormat::kBFloat16) {
    auto* halves = reinterpret_cast<uint16_t*>(v_to);
    for (int32_t i = 0; i < head_dim; i += S::kLanes) {
      const int count = lanes_left(head_dim - i, S::kLanes);
      S::store_bfloat16_second(halves + 2 * i, S::load_first(v + i, count), count);
    }
    return;
  }
  round_head<S>(layer.format, v, head_dim, rounded, int8 ? layer.v_scale + scale_at : nullptr);
  if (int8)
    deal_out<1>(rounded, v_to, head_dim, depth);
  else
    std::memcpy(v_to, rounded, static_cast<size_t>(head_dim) * sizeof(float));
}

// Asks for the lines of the kv head that a decode's key is dealt out to, one for each of its dwords: the cores would wait for
// one after the other.
static LOWRANK_INLINE void ask_for_key(const KvLayer& layer, size_t at, int32_t slot, int32_t head_dim) {
  const size_t element = kv_element_bytes(layer.format);
  const size_t dword_bytes = static_cast<size_t>(kv_depth(layer.format, head_dim)) * element;
  const size_t row_bytes = kPageTokens * dword_bytes;
  const auto* line = static_cast<const uint8_t*>(layer.k) + at * element + static_cast<size_t>(slot) * dword_bytes;
  const size_t bytes = static_cast<size_t>(head_dim) * kPageTokens * element;
  for (size_t byte = 0; byte < bytes; byte += row_bytes < 64 ? 64 : row_bytes) prefetch_output(line + byte);
}

template <class S>
void rotate_and_write(const RopeWriteKvArgs& args, int part, int parts) {
  const int32_t dim = args.head_dim;
  const int32_t half = dim / 2;
  const Range rows = split(args.rows, 1, part, parts);
  for (int32_t m = rows.begin; m < rows.end; ++m) {
    const auto row = static_cast<size_t>(m);
    const bool rotates = args.cosine != nullptr;
    const float* cosine = rotates ? args.cosine + row * static_cast<size_t>(half) : nullptr;
    const float* sine = rotates ? args.sine + row * static_cast<size_t>(half) : nullptr;
    const float* q_norm =
        args.q_norm_rows != nullptr && args.q_norm_rows[m] != nullptr ? args.q_norm_rows[m] : args.q_norm;
    const float* k_norm =
        args.k_norm_rows != nullptr && args.k_norm_rows[m] != nullptr ? args.k_norm_rows[m] : args.k_norm;
    const int32_t position = args.positions[m];
    const int32_t page = args.block_tables[m][position / kPageTokens];
    const int32_t slot = position % kPageTokens;
    size_t element = static_cast<size_t>(page) * static_cast<size_t>(args.cache.page_elements);
    size_t scale = static_cast<size_t>(page) * static_cast<size_t>(args.cache.page_scales) + static_cast<size_t>(slot);
    float* head = args.qkv + row * static_cast<size_t>(args.stride);
    if (args.rows <= kFewRows)
      for (int32_t h = 0; h < args.kv_heads; ++h)
        ask_for_key(args.cache, element + static_cast<size_t>(h) * kPageTokens * static_cast<size_t>(dim), slot, dim);
    if (args.joint_norms) {
      if (q_norm != nullptr) norm_head<S>(head, args.heads * dim, q_norm, args.norm_epsilon);
      if (k_norm != nullptr) norm_head<S>(head + args.heads * dim, args.kv_heads * dim, k_norm, args.norm_epsilon);
      q_norm = k_norm = nullptr;
    }
    for (int32_t h = 0; h < args.heads; ++h, head += dim) {
      if (q_norm != nullptr) norm_head<S>(head, dim, q_norm, args.norm_epsilon);
      if (rotates) rotate_head<S>(head, half, cosine, sine);
    }
    float* value = head + static_cast<size_t>(args.kv_heads) * static_cast<size_t>(dim);
    for (int32_t h = 0; h < args.kv_heads; ++h, head += dim, value += dim) {
      if (k_norm != nullptr) norm_head<S>(head, dim, k_norm, args.norm_epsilon);
      if (rotates) rotate_head<S>(head, half, cosine, sine);
      write_heads<S>(args.cache, element, scale, slot, dim, head, value);
      scale += kPageTokens;
      element += static_cast<size_t>(kPageTokens) * static_cast<size_t>(dim);
    }
  }
}

}  // namespace lowrank::cpu
