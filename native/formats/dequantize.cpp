// GGML's block formats. A block holds consecutive elements of one row; d and m are float16, little-endian.
// Sources: the format descriptions in ggml-common.h and gguf-py's quants.py; the code is our own.
//
//   Q8_0  32 elements, 34 bytes:   d | int8 q[32]                      x[i] = d * q[i]
//   Q4_0  32 elements, 18 bytes:   d | nibbles[16]                     x[i] = d * (q[i] - 8)
//   Q4_1  32 elements, 20 bytes:   d | m | nibbles[16]                 x[i] = d * q[i] + m
//   Q5_0  32 elements, 22 bytes:   d | high[4] | nibbles[16]           x[i] = d * (q[i] - 16)
//   Q5_1  32 elements, 24 bytes:   d | m | high[4] | nibbles[16]       x[i] = d * q[i] + m
//         Byte j of the nibbles holds elements j (low half) and j + 16 (high half). Bit i of `high`, read as
//         a little-endian number, is bit 4 of q[i].
//
//   Q4_K  256 elements, 144 bytes: d | m | scales[12] | nibbles[128]
//   Q5_K  256 elements, 176 bytes: d | m | scales[12] | high[32] | nibbles[128]
//         Eight groups of 32, x = (d * scale[g]) * q - (m * min[g]). Groups 2p and 2p + 1 share nibble bytes
//         32p .. 32p + 31: the low halves are group 2p, the high halves group 2p + 1. Bit g of high[j] is
//         bit 4 of element j of group g. The 6-bit scale and min of group g, from s = scales:
//           g < 4:  scale = s[g] & 63
//                   min   = s[g + 4] & 63
//           g >= 4: scale = (s[g + 4] & 15) | (s[g - 4] >> 6) << 4
//                   min   = (s[g + 4] >> 4) | (s[g] >> 6) << 4
//
//   Q6_K  256 elements, 210 bytes: low[128] | high[64] | int8 scales[16] | d
//         Two halves of 128 elements, each with low[64] and high[32] of its own. Within a half, element
//         32k + j (k = 0 .. 3) takes its low four bits from low[j + 32 (k % 2)], the lower nibble for k < 2
//         and the upper otherwise, and its top two bits from bits 2k and 2k + 1 of high[j].
//         x[i] = (d * scales[i / 16]) * (q[i] - 32).
#include "formats/dequantize.h"

#include <array>
#include <cstddef>
#include <cstring>

#include "core/float16.h"

namespace lowrank {
namespace {

// All loops below have constant trip counts and pointers that do not alias, so that compilers vectorise them
// for whatever instruction set there is.

uint16_t load_u16(const uint8_t* bytes) {
  uint16_t value;
  std::memcpy(&value, bytes, sizeof value);
  return value;
}

float load_float16(const uint8_t* bytes) { return float16_to_float32(load_u16(bytes)); }

// Byte b -> eight bytes, 16 where the bit is set: the fifth bit of eight consecutive elements.
constexpr std::array<std::array<uint8_t, 8>, 256> make_fifth_bits() {
  std::array<std::array<uint8_t, 8>, 256> table{};
  for (size_t byte = 0; byte < 256; ++byte) {
    for (size_t bit = 0; bit < 8; ++bit) table[byte][bit] = static_cast<uint8_t>(((byte >> bit) & 1) << 4);
  }
  return table;
}
constexpr std::array<std::array<uint8_t, 8>, 256> kFifthBits = make_fifth_bits();

void decode_f32(const uint8_t* bytes, int64_t elements, float* out) {
  std::memcpy(out, bytes, static_cast<size_t>(elements) * sizeof(float));
}

void decode_f16(const uint8_t* __restrict bytes, int64_t elements, float* __restrict out) {
  for (int64_t i = 0; i < elements; ++i) out[i] = float16_to_float32(load_u16(bytes + 2 * i));
}

void decode_bf16(const uint8_t* __restrict bytes, int64_t elements, float* __restrict out) {
  for (int64_t i = 0; i < elements; ++i) out[i] = bfloat16_to_float32(load_u16(bytes + 2 * i));
}

void decode_f64(const uint8_t* __restrict bytes, int64_t elements, float* __restrict out) {
  for (int64_t i = 0; i < elements; ++i) {
    double value;
    std::memcpy(&value, bytes + 8 * i, sizeof value);
    out[i] = static_cast<float>(value);
  }
}

void decode_q8_0(const uint8_t* __restrict block, float* __restrict out) {
  const float d = load_float16(block);
  const auto* q = reinterpret_cast<const int8_t*>(block + 2);
  for (int i = 0; i < 32; ++i) out[i] = d * static_cast<float>(q[i]);
}

// Q4_0 and Q4_1: x = d * (q + offset) + m.
void decode_nibbles(const uint8_t* __restrict nibbles, float d, int offset, float m, float* __restrict out) {
  for (int j = 0; j < 16; ++j) out[j] = d * static_cast<float>((nibbles[j] & 15) + offset) + m;
  for (int j = 0; j < 16; ++j) out[j + 16] = d * static_cast<float>((nibbles[j] >> 4) + offset) + m;
}

// Q5_0 and Q5_1: x = d * (q + offset) + m.
void decode_nibbles_and_bits(const uint8_t* __restrict high, const uint8_t* __restrict nibbles, float d,
                             int offset, float m, float* __restrict out) {
  uint8_t fifth[32];
  for (size_t i = 0; i < 4; ++i) std::memcpy(fifth + 8 * i, kFifthBits[high[i]].data(), 8);
  for (int j = 0; j < 16; ++j) out[j] = d * static_cast<float>(((nibbles[j] & 15) | fifth[j]) + offset) + m;
  for (int j = 0; j < 16; ++j)
    out[j + 16] = d * static_cast<float>(((nibbles[j] >> 4) | fifth[j + 16]) + offset) + m;
}

void decode_q4_0(const uint8_t* block, float* out) {
  decode_nibbles(block + 2, load_float16(block), -8, 0.0f, out);
}
void decode_q4_1(const uint8_t* block, float* out) {
  decode_nibbles(block + 4, load_float16(block), 0, load_float16(block + 2), out);
}
void decode_q5_0(const uint8_t* block, float* out) {
  decode_nibbles_and_bits(block + 2, block + 6, load_float16(block), -16, 0.0f, out);
}
void decode_q5_1(const uint8_t* block, float* out) {
  decode_nibbles_and_bits(block + 4, block + 8, load_float16(block), 0, load_float16(block + 2), out);
}

struct GroupScale {
  float scale;
  float min;
};

// Scale and min of group `g` of a Q4_K or Q5_K block that begins with d, m and the 12 bytes of packed scales.
GroupScale k_group_scale(const uint8_t* block, int g) {
  const uint8_t* s = block + 4;
  const int scale = g < 4 ? s[g] & 63 : (s[g + 4] & 15) | ((s[g - 4] >> 6) << 4);
  const int min = g < 4 ? s[g + 4] & 63 : (s[g + 4] >> 4) | ((s[g] >> 6) << 4);
  return {load_float16(block) * static_cast<float>(scale), load_float16(block + 2) * static_cast<float>(min)};
}

void decode_q4_k(const uint8_t* __restrict block, float* __restrict out) {
  for (int pair = 0; pair < 4; ++pair) {
    const uint8_t* nibbles = block + 16 + 32 * pair;
    const GroupScale low = k_group_scale(block, 2 * pair);
    const GroupScale high = k_group_scale(block, 2 * pair + 1);
    float* x = out + 64 * pair;
    for (int j = 0; j < 32; ++j) x[j] = low.scale * static_cast<float>(nibbles[j] & 15) - low.min;
    for (int j = 0; j < 32; ++j) x[j + 32] = high.scale * static_cast<float>(nibbles[j] >> 4) - high.min;
  }
}

void decode_q5_k(const uint8_t* __restrict block, float* __restrict out) {
  const uint8_t* fifth = block + 16;
  for (int pair = 0; pair < 4; ++pair) {
    const uint8_t* nibbles = block + 48 + 32 * pair;
    const GroupScale low = k_group_scale(block, 2 * pair);
    const GroupScale high = k_group_scale(block, 2 * pair + 1);
    float* x = out + 64 * pair;
    for (int j = 0; j < 32; ++j) {
      const int q = (nibbles[j] & 15) | (((fifth[j] >> (2 * pair)) & 1) << 4);
      x[j] = low.scale * static_cast<float>(q) - low.min;
    }
    for (int j = 0; j < 32; ++j) {
      const int q = (nibbles[j] >> 4) | (((fifth[j] >> (2 * pair + 1)) & 1) << 4);
      x[j + 32] = high.scale * static_cast<float>(q) - high.min;
    }
  }
}

void decode_q6_k(const uint8_t* __restrict block, float* __restrict out) {
  const auto* scales = reinterpret_cast<const int8_t*>(block + 192);
  const float d = load_float16(block + 208);
  for (int half = 0; half < 2; ++half) {
    const uint8_t* low = block + 64 * half;
    const uint8_t* high = block + 128 + 32 * half;
    for (int k = 0; k < 4; ++k) {
      for (int part = 0; part < 2; ++part) {  // 16 elements with one scale
        const float scale = d * static_cast<float>(scales[8 * half + 2 * k + part]);
        const uint8_t* low_part = low + 32 * (k % 2) + 16 * part;
        const uint8_t* high_part = high + 16 * part;
        float* x = out + 128 * half + 32 * k + 16 * part;
        for (int j = 0; j < 16; ++j) {
          const int q = ((low_part[j] >> (4 * (k / 2))) & 15) | (((high_part[j] >> (2 * k)) & 3) << 4);
          x[j] = scale * static_cast<float>(q - 32);
        }
      }
    }
  }
}

template <void (*decode)(const uint8_t*, float*)>
void decode_blocks(DType dtype, const uint8_t* blocks, int64_t elements, float* out) {
  const DTypeFacts& facts = dtype_facts(dtype);
  const int64_t count = elements / facts.block_elements;
  for (int64_t i = 0; i < count; ++i) decode(blocks + i * facts.block_bytes, out + i * facts.block_elements);
}

}  // namespace

void dequantize(DType dtype, const uint8_t* blocks, int64_t elements, float* out) {
  if (elements <= 0) return;
  switch (dtype) {
    case DType::kF32: return decode_f32(blocks, elements, out);
    case DType::kF16: return decode_f16(blocks, elements, out);
    case DType::kBF16: return decode_bf16(blocks, elements, out);
    case DType::kF64: return decode_f64(blocks, elements, out);
    case DType::kQ8_0: return decode_blocks<decode_q8_0>(dtype, blocks, elements, out);
    case DType::kQ4_0: return decode_blocks<decode_q4_0>(dtype, blocks, elements, out);
    case DType::kQ4_1: return decode_blocks<decode_q4_1>(dtype, blocks, elements, out);
    case DType::kQ5_0: return decode_blocks<decode_q5_0>(dtype, blocks, elements, out);
    case DType::kQ5_1: return decode_blocks<decode_q5_1>(dtype, blocks, elements, out);
    case DType::kQ4_K: return decode_blocks<decode_q4_k>(dtype, blocks, elements, out);
    case DType::kQ5_K: return decode_blocks<decode_q5_k>(dtype, blocks, elements, out);
    case DType::kQ6_K: return decode_blocks<decode_q6_k>(dtype, blocks, elements, out);
    case DType::kI8:
    case DType::kI16:
    case DType::kI32:
    case DType::kI64:
    case DType::kU8:
    case DType::kU16:
    case DType::kU32:
    case DType::kU64:
    case DType::kBool:
    case DType::kF8_E4M3:
    case DType::kF8_E5M2: return;  // not readable
  }
}

}  // namespace lowrank
