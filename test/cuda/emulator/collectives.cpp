// What the lanes of a warp compute together.
#include <algorithm>
#include <cstring>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#include "emulator/block.h"
#include "emulator/ptx.h"
#include "emulator/runtime.h"

namespace lowrank::emulator {

namespace {

using Operands = void* const (&)[32];

template <class Body>
void for_each_lane(uint32_t mask, Body body) {
  for (; mask != 0; mask &= mask - 1) body(static_cast<uint32_t>(__builtin_ctz(mask)));
}

void combine_shuffle(Operands operands, uint32_t mask) {
  uint64_t values[32];
  for_each_lane(mask, [&](uint32_t lane) { values[lane] = static_cast<ShuffleOperand*>(operands[lane])->value; });
  for_each_lane(mask, [&](uint32_t lane) {
    ShuffleOperand& operand = *static_cast<ShuffleOperand*>(operands[lane]);
    if ((mask >> operand.source & 1u) == 0)
      end_launch(cudaErrorLaunchFailure, running_thread().waits_at,
                 "Expected a shuffle from a lane of its mask, received lane %u", operand.source);
    operand.value = values[operand.source];
  });
}

uint32_t& vote_of(Operands operands, uint32_t lane) { return static_cast<VoteOperand*>(operands[lane])->value; }

template <class Combine>
void reduce(Operands operands, uint32_t mask, Combine combine) {
  uint32_t result = vote_of(operands, static_cast<uint32_t>(__builtin_ctz(mask)));
  for_each_lane(mask & (mask - 1), [&](uint32_t lane) { result = combine(result, vote_of(operands, lane)); });
  for_each_lane(mask, [&](uint32_t lane) { vote_of(operands, lane) = result; });
}

void combine_ballot(Operands operands, uint32_t mask) {
  uint32_t result = 0;
  for_each_lane(mask, [&](uint32_t lane) { result |= vote_of(operands, lane) << lane; });
  for_each_lane(mask, [&](uint32_t lane) { vote_of(operands, lane) = result; });
}

void combine_match_any(Operands operands, uint32_t mask) {
  uint32_t values[32];
  for_each_lane(mask, [&](uint32_t lane) { values[lane] = vote_of(operands, lane); });
  for_each_lane(mask, [&](uint32_t lane) {
    uint32_t same = 0;
    for_each_lane(mask, [&](uint32_t other) { same |= static_cast<uint32_t>(values[other] == values[lane]) << other; });
    vote_of(operands, lane) = same;
  });
}

int32_t as_signed(uint32_t value) { return static_cast<int32_t>(value); }
void combine_add(Operands operands, uint32_t mask) {
  reduce(operands, mask, [](uint32_t a, uint32_t b) { return a + b; });
}
void combine_and(Operands operands, uint32_t mask) {
  reduce(operands, mask, [](uint32_t a, uint32_t b) { return a & b; });
}
void combine_or(Operands operands, uint32_t mask) {
  reduce(operands, mask, [](uint32_t a, uint32_t b) { return a | b; });
}
void combine_xor(Operands operands, uint32_t mask) {
  reduce(operands, mask, [](uint32_t a, uint32_t b) { return a ^ b; });
}
void combine_min_signed(Operands operands, uint32_t mask) {
  reduce(operands, mask, [](uint32_t a, uint32_t b) { return as_signed(a) < as_signed(b) ? a : b; });
}
void combine_max_signed(Operands operands, uint32_t mask) {
  reduce(operands, mask, [](uint32_t a, uint32_t b) { return as_signed(a) < as_signed(b) ? b : a; });
}
void combine_min_unsigned(Operands operands, uint32_t mask) {
  reduce(operands, mask, [](uint32_t a, uint32_t b) { return std::min(a, b); });
}
void combine_max_unsigned(Operands operands, uint32_t mask) {
  reduce(operands, mask, [](uint32_t a, uint32_t b) { return std::max(a, b); });
}

// Words of the fragments as matrices of words: a [16 rows][8], b [8 columns][8], each along K; for 8-bit and 16-bit elements
// alike, since a lane's word holds neighbours along K.
template <class Operand>
void gather_fragments(Operands operands, uint32_t (&a)[16][8], uint32_t (&b)[8][8]) {
  for (uint32_t lane = 0; lane < 32; ++lane) {
    const Operand& operand = *static_cast<const Operand*>(operands[lane]);
    const uint32_t group = lane / 4, member = lane % 4;
    for (uint32_t i = 0; i < 4; ++i) a[group + 8 * (i & 1)][member + 4 * (i >> 1)] = operand.a[i];
    for (uint32_t i = 0; i < 2; ++i) b[group][member + 4 * i] = operand.b[i];
  }
}
template <class Operand, class T>
void add_to_d(Operands operands, const T (&sum)[16][8]) {
  for (uint32_t lane = 0; lane < 32; ++lane) {
    const Operand& operand = *static_cast<const Operand*>(operands[lane]);
    const uint32_t group = lane / 4, member = lane % 4;
    for (uint32_t i = 0; i < 4; ++i) operand.d[i] = operand.d[i] + sum[group + 8 * (i >> 1)][2 * member + (i & 1)];
  }
}

template <size_t rows>
void widen(const uint32_t (&words)[rows][8], int16_t (&wide)[rows * 32]) {
  int8_t bytes[rows * 32];
  std::memcpy(bytes, words, sizeof bytes);
  for (size_t i = 0; i < rows * 32; ++i) wide[i] = bytes[i];
}

void combine_mma_s8(Operands operands, uint32_t) {
  alignas(16) uint32_t a[16][8], b[8][8];
  gather_fragments<MmaS8Operand>(operands, a, b);
  // As 16-bit integers: a [16 rows][32], b [8 columns][32].
  alignas(16) int16_t a_wide[16 * 32], b_wide[8 * 32];
  widen(a, a_wide);
  widen(b, b_wide);
  alignas(16) int32_t sum[16][8];
#if defined(__SSE2__)
  alignas(16) uint32_t b_pairs[16][8];  // pairs along K, for each column
  for (int column = 0; column < 8; ++column)
    for (int k = 0; k < 16; ++k) std::memcpy(&b_pairs[k][column], b_wide + column * 32 + 2 * k, 4);
  const __m128i* const b_vectors = reinterpret_cast<const __m128i*>(b_pairs);
  for (int row = 0; row < 16; ++row) {
    __m128i left = _mm_setzero_si128(), right = _mm_setzero_si128();
    for (int k = 0; k < 16; ++k) {
      int pair;
      std::memcpy(&pair, a_wide + row * 32 + 2 * k, sizeof pair);
      const __m128i value = _mm_set1_epi32(pair);
      left = _mm_add_epi32(left, _mm_madd_epi16(value, b_vectors[2 * k]));
      right = _mm_add_epi32(right, _mm_madd_epi16(value, b_vectors[2 * k + 1]));
    }
    _mm_store_si128(reinterpret_cast<__m128i*>(sum[row]), left);
    _mm_store_si128(reinterpret_cast<__m128i*>(sum[row] + 4), right);
  }
#else
  for (int row = 0; row < 16; ++row)
    for (int column = 0; column < 8; ++column) {
      int32_t total = 0;
      for (int k = 0; k < 32; ++k) total += a_wide[row * 32 + k] * b_wide[column * 32 + k];
      sum[row][column] = total;
    }
#endif
  // Wraps, as the device's sum does.
  for (uint32_t lane = 0; lane < 32; ++lane) {
    const MmaS8Operand& operand = *static_cast<const MmaS8Operand*>(operands[lane]);
    const uint32_t group = lane / 4, member = lane % 4;
    for (uint32_t i = 0; i < 4; ++i)
      operand.d[i] = static_cast<int32_t>(static_cast<uint32_t>(operand.d[i]) +
                                          static_cast<uint32_t>(sum[group + 8 * (i >> 1)][2 * member + (i & 1)]));
  }
}

float bfloat16(uint32_t bits) {
  float value;
  bits <<= 16;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

// Products are exact; the sum goes along K, rounded to float32 after each term, and is added to d at the end.
void combine_mma_bf16(Operands operands, uint32_t) {
  uint32_t a[16][8], b[8][8];
  gather_fragments<MmaBf16Operand>(operands, a, b);
  float b_values[16][8];
  for (int column = 0; column < 8; ++column)
    for (int k = 0; k < 16; ++k) b_values[k][column] = bfloat16(b[column][k / 2] >> (16 * (k % 2)) & 0xffffu);
  float sum[16][8] = {};
  for (int row = 0; row < 16; ++row)
    for (int k = 0; k < 16; ++k) {
      const float value = bfloat16(a[row][k / 2] >> (16 * (k % 2)) & 0xffffu);
      for (int column = 0; column < 8; ++column) sum[row][column] += value * b_values[k][column];
    }
  add_to_d<MmaBf16Operand>(operands, sum);
}

// Eight rows are read together, a row of 16 bytes from four of the 32 banks. Rows at one address are one row.
void count_bank_conflicts(Operands operands) {
  for (uint32_t matrix = 0; matrix < 4; ++matrix) {
    uintptr_t rows[8];
    uint32_t rows_at[8] = {};  // by the first of the four banks
    uint32_t turns = 1;
    for (uint32_t i = 0; i < 8; ++i) {
      rows[i] = reinterpret_cast<uintptr_t>(static_cast<const LdmatrixOperand*>(operands[8 * matrix + i])->row) / 16;
      if (std::find(rows, rows + i, rows[i]) == rows + i) turns = std::max(turns, ++rows_at[rows[i] % 8]);
    }
    ++counted.ldmatrix_phases;
    counted.ldmatrix_bank_conflicts += turns - 1;
  }
}

template <bool transposed>
void combine_ldmatrix(Operands operands, uint32_t) {
  count_bank_conflicts(operands);
  for (uint32_t matrix = 0; matrix < 4; ++matrix) {
    uint16_t elements[8][8];
    for (uint32_t row = 0; row < 8; ++row)
      std::memcpy(elements[row], static_cast<const LdmatrixOperand*>(operands[8 * matrix + row])->row, 16);
    for (uint32_t lane = 0; lane < 32; ++lane) {
      const uint32_t group = lane / 4, member = lane % 4;
      const uint32_t low = transposed ? elements[2 * member][group] : elements[group][2 * member];
      const uint32_t high = transposed ? elements[2 * member + 1][group] : elements[group][2 * member + 1];
      static_cast<const LdmatrixOperand*>(operands[lane])->r[matrix] = low | high << 16;
    }
  }
}

}  // namespace

const Collective kSyncWarp{"__syncwarp", nullptr, false, true};
const Collective kShuffle{"a shuffle", combine_shuffle, false, false};
const Collective kBallot{"a ballot", combine_ballot, false, false};
const Collective kMatchAny{"__match_any_sync", combine_match_any, false, false};
const Collective kReduceAdd{"__reduce_add_sync", combine_add, false, false};
const Collective kReduceAnd{"__reduce_and_sync", combine_and, false, false};
const Collective kReduceOr{"__reduce_or_sync", combine_or, false, false};
const Collective kReduceXor{"__reduce_xor_sync", combine_xor, false, false};
const Collective kReduceMinSigned{"__reduce_min_sync", combine_min_signed, false, false};
const Collective kReduceMaxSigned{"__reduce_max_sync", combine_max_signed, false, false};
const Collective kReduceMinUnsigned{"__reduce_min_sync", combine_min_unsigned, false, false};
const Collective kReduceMaxUnsigned{"__reduce_max_sync", combine_max_unsigned, false, false};
const Collective kMmaS8{"mma.m16n8k32.s8", combine_mma_s8, true, false};
const Collective kMmaBf16{"mma.m16n8k16.bf16", combine_mma_bf16, true, false};
const Collective kLdmatrix{"ldmatrix", combine_ldmatrix<false>, true, false};
const Collective kLdmatrixTrans{"ldmatrix.trans", combine_ldmatrix<true>, true, false};

}  // namespace lowrank::emulator
