// The rotation and the cache write of ops/rope_write_kv.h, 16 lanes at a time. q and k are rotated where they
// lie; k and v are then rounded into the row's slot of its page.
#pragma once

#include <cstring>

#include "cpu/simd/sum_of_squares.h"
#include "ops/rope_write_kv.h"
#include "quant/int8.h"

namespace lowrank::cpu {

static LOWRANK_INLINE int lanes_left(int32_t left, int lanes) { return left < lanes ? left : lanes; }

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

// element: where the head's slot begins in the cache; scales, scale: where its scale lies, of int8 (else scales is null).
template <class S>
LOWRANK_INLINE void write_head(const KvLayer& layer, void* cache, float* scales, size_t element, size_t scale,
                               const float* head, int32_t head_dim) {
  if (layer.format == KvFormat::kInt8) {
    scales[scale] = quantize_head<S>(head, head_dim, static_cast<int8_t*>(cache) + element);
    return;
  }
  for (int32_t i = 0; i < head_dim; i += S::kLanes) {
    const int count = lanes_left(head_dim - i, S::kLanes);
    const auto lanes = S::load_first(head + i, count);
    const size_t at = element + static_cast<size_t>(i);
    if (layer.format == KvFormat::kBFloat16)
      S::store_bfloat16_first(static_cast<uint16_t*>(cache) + at, lanes, count);
    else
      S::store_first(static_cast<float*>(cache) + at, lanes, count);
  }
}

template <class S>
void rotate_and_write(const RopeWriteKvArgs& args, int part, int parts) {
  const int32_t dim = args.head_dim;
  const int32_t half = dim / 2;
  const Range rows = split(args.rows, 1, part, parts);
  for (int32_t m = rows.begin; m < rows.end; ++m) {
    const auto row = static_cast<size_t>(m);
    const float* cosine = args.cosine + row * static_cast<size_t>(half);
    const float* sine = args.sine + row * static_cast<size_t>(half);
    const float* q_norm =
        args.q_norm_rows != nullptr && args.q_norm_rows[m] != nullptr ? args.q_norm_rows[m] : args.q_norm;
    const float* k_norm =
        args.k_norm_rows != nullptr && args.k_norm_rows[m] != nullptr ? args.k_norm_rows[m] : args.k_norm;
    const int32_t position = args.positions[m];
    const int32_t page = args.block_tables[m][position / kPageTokens];
    size_t element = static_cast<size_t>(page) * static_cast<size_t>(args.cache.page_elements) +
                     static_cast<size_t>(position % kPageTokens) * static_cast<size_t>(dim);
    size_t scale = static_cast<size_t>(page) * static_cast<size_t>(args.cache.page_scales) +
                   static_cast<size_t>(position % kPageTokens);
    float* head = args.qkv + row * static_cast<size_t>(args.stride);
    for (int32_t h = 0; h < args.heads; ++h, head += dim) {
      if (q_norm != nullptr) norm_head<S>(head, dim, q_norm, args.norm_epsilon);
      rotate_head<S>(head, half, cosine, sine);
    }
    float* value = head + static_cast<size_t>(args.kv_heads) * static_cast<size_t>(dim);
    for (int32_t h = 0; h < args.kv_heads; ++h, head += dim, value += dim) {
      if (k_norm != nullptr) norm_head<S>(head, dim, k_norm, args.norm_epsilon);
      rotate_head<S>(head, half, cosine, sine);
      write_head<S>(args.cache, args.cache.k, args.cache.k_scale, element, scale, head, dim);
      write_head<S>(args.cache, args.cache.v, args.cache.v_scale, element, scale, value, dim);
      scale += kPageTokens;
      element += static_cast<size_t>(kPageTokens) * static_cast<size_t>(dim);
    }
  }
}

}  // namespace lowrank::cpu
