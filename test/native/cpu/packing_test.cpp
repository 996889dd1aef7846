#include "cpu/packing.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <limits>
#include <new>
#include <set>
#include <stdexcept>
#include <string>
#include <vector>

#include "backend/lora_values.h"
#include "check.h"
#include "core/float16.h"
#include "ops/op_case.h"

using namespace lowrank;
using namespace lowrank::cpu;
using namespace lowrank::test;

namespace {

constexpr WeightFormat kFormats[] = {WeightFormat::kInt8, WeightFormat::kBFloat16, WeightFormat::kFloat32};
constexpr int32_t kSizes[][2] = {{1, 1}, {16, 64}, {17, 65}, {33, 130}, {5, 3}, {100, 577}, {48, 128}};

RowReader reader_of(const std::vector<float>& weights, int32_t cols) {
  return [&weights, cols](int32_t row_begin, int32_t row_count, float* out) {
    std::memcpy(out, weights.data() + static_cast<size_t>(row_begin) * static_cast<size_t>(cols),
                static_cast<size_t>(row_count) * static_cast<size_t>(cols) * sizeof(float));
  };
}

MatrixSpec spec_of(int32_t rows, int32_t cols, WeightFormat format) {
  return {rows, cols, format, ActivationFormat::kFloat32};
}

const PackedMatrix& packed(const std::unique_ptr<Matrix>& matrix) {
  return static_cast<const PackedMatrix&>(*matrix);
}

size_t elements(int32_t rows, int32_t cols) { return static_cast<size_t>(rows) * static_cast<size_t>(cols); }

}  // namespace

TEST("cpu/packing: unpacking gives the weights back, exactly or within half a step") {
  Random random(1);
  for (const auto& s : kSizes)
    for (const WeightFormat format : kFormats) {
      const int32_t rows = s[0], cols = s[1];
      const std::vector<float> weights = random.floats(elements(rows, cols), -1.0f, 1.0f);
      const auto matrix = pack_matrix(spec_of(rows, cols, format), reader_of(weights, cols), 2);
      CHECK_EQ(matrix->rows, rows);
      CHECK_EQ(matrix->cols, cols);
      std::vector<float> out(weights.size());
      unpack_rows(packed(matrix), 0, rows, out.data());
      for (size_t i = 0; i < weights.size(); ++i) {
        const size_t n = i / static_cast<size_t>(cols);
        double tolerance = format == WeightFormat::kBFloat16 ? std::fabs(weights[i]) / 256 : 0;
        if (format == WeightFormat::kInt8) {
          double absmax = 0;
          for (size_t k = 0; k < static_cast<size_t>(cols); ++k)
            absmax = std::max(absmax, std::fabs(double{weights[n * static_cast<size_t>(cols) + k]}));
          CHECK_NEAR(packed(matrix).scale.as<float>()[n], absmax / 127, absmax * 1e-7);
          tolerance += absmax / 127 * (0.5 + 3e-5);
        }
        expect_near("unpacked, format " + std::to_string(static_cast<int>(format)), i, out[i], weights[i], tolerance);
      }
      // Any run of rows is the same as in the whole.
      if (rows > 3) {
        std::vector<float> some(elements(2, cols));
        unpack_rows(packed(matrix), rows - 3, 2, some.data());
        CHECK(std::equal(some.begin(), some.end(), out.end() - 3 * cols));
      }
    }
}

TEST("cpu/packing: weights that int8 holds come back exactly") {
  Random random(2);
  for (const auto& s : kSizes) {
    const Int8Weights weights = random_int8_weights(random, s[0], s[1]);
    const auto matrix =
        pack_matrix(spec_of(s[0], s[1], WeightFormat::kInt8), reader_of(weights.weights, s[1]), 1);
    std::vector<float> out(weights.weights.size());
    unpack_rows(packed(matrix), 0, s[0], out.data());
    expect_same_bits("int8 weights", out, weights.weights);
  }
}

TEST("cpu/packing: the layout of layout.h, padding included") {
  Random random(3);
  const int32_t rows = 19, cols = 70, padded_cols = 128;
  const Int8Weights weights = random_int8_weights(random, rows, cols);
  for (const WeightFormat format : kFormats) {
    const size_t bytes = format == WeightFormat::kInt8 ? 1 : format == WeightFormat::kBFloat16 ? 2 : 4;
    const auto matrix = pack_matrix(spec_of(rows, cols, format), reader_of(weights.weights, cols), 1);
    const BufferPart& data = packed(matrix).data;
    CHECK_EQ(data.bytes(), elements(32, padded_cols) * bytes);
    for (int32_t n = 0; n < 32; ++n)
      for (int32_t k = 0; k < padded_cols; ++k) {
        const bool inside = n < rows && k < cols;
        const size_t source = inside ? elements(n, cols) + static_cast<size_t>(k) : 0;
        const auto at = [&](int32_t depth) {  // [n / 16][k / depth][n % 16][k % depth]
          return static_cast<size_t>(((n / 16 * (padded_cols / depth) + k / depth) * 16 + n % 16) * depth +
                                     k % depth);
        };
        const float value = inside ? weights.weights[source] : 0.0f;
        if (format == WeightFormat::kInt8)
          CHECK_EQ(int{data.as<uint8_t>()[at(4)]}, (inside ? weights.q[source] : 0) + 128);
        else if (format == WeightFormat::kBFloat16)
          CHECK_EQ(data.as<uint16_t>()[at(2)], float32_to_bfloat16(value));
        else
          CHECK_EQ(data.as<float>()[at(1)], value);
      }
    if (format == WeightFormat::kInt8)
      for (size_t n = 0; n < 32; ++n)
        CHECK_EQ(packed(matrix).scale.as<float>()[n], n < 19 ? weights.scale[n] : 0.0f);
  }
}

TEST("cpu/packing: the factors of an adapter, apart and joined") {
  Random random(4);
  for (const LoraDType dtype : {LoraDType::kBFloat16, LoraDType::kFloat32, LoraDType::kInt8})
    for (const auto& s : kSizes) {
      const int32_t rank = s[0], size = s[1];
      std::vector<float> values = random.floats(elements(rank, size), -1.0f, 1.0f);
      if (dtype == LoraDType::kInt8)
        for (float& value : values) value = std::nearbyint(127.0f * value);
      const auto a = pack_lora_a(values.data(), rank, size, dtype);
      const auto b = pack_lora_b(values.data(), size, rank, dtype);
      CHECK_EQ(a->rank, rank);
      CHECK_EQ(b->rank, rank);
      CHECK_EQ(a->dimension, size);
      CHECK_EQ(b->dimension, size);
      const size_t element_size = dtype == LoraDType::kInt8 ? 1 : dtype == LoraDType::kBFloat16 ? 2 : 4;
      CHECK_EQ(a->bytes, elements(rank, round_up(size, 64)) * element_size);
      const bool halves = dtype == LoraDType::kBFloat16;
      const int32_t b_ranks = halves ? round_up(rank, 2) : rank;
      CHECK_EQ(b->bytes, elements(b_ranks, round_up(size, 16)) * element_size);
      const auto element = [&](const LoraFactor& factor, int32_t index) {
        const BufferPart& data = static_cast<const PackedFactor&>(factor).data;
        if (dtype == LoraDType::kInt8) return static_cast<float>(data.as<int8_t>()[index]);
        return dtype == LoraDType::kBFloat16 ? bfloat16_to_float32(data.as<uint16_t>()[index])
                                             : data.as<float>()[index];
      };
      const auto expected = [&](bool inside, size_t index) {
        if (!inside) return 0.0f;
        return dtype == LoraDType::kBFloat16 ? bfloat16_to_float32(float32_to_bfloat16(values[index]))
                                             : values[index];
      };
      const int32_t stride = round_up(size, 64);
      CHECK_EQ(static_cast<const PackedFactor&>(*a).stride, stride);
      const auto check = [&] {
        for (int32_t r = 0; r < rank; ++r) {
          const int32_t first = r / 4 * 4, width = std::min(4, rank - first);
          const int32_t side = halves ? 32 : 16;
          for (int32_t k = 0; k < stride; ++k)  // [r / 4][k / side][r % 4][k % side]
            CHECK_EQ(element(*a, first * stride + (k / side * width + r % 4) * side + k % side),
                     expected(k < size, elements(r, size) + static_cast<size_t>(k)));
        }
        for (int32_t n = 0; n < round_up(size, 16); ++n)
          for (int32_t r = 0; r < b_ranks; ++r)  // [n / 16][r][n % 16], or [n / 16][r / 2][n % 16][r % 2]
            CHECK_EQ(element(*b, halves ? (n / 16 * b_ranks + r / 2 * 2) * 16 + n % 16 * 2 + r % 2 : (n / 16 * rank + r) * 16 + n % 16),
                     expected(n < size && r < rank, elements(n, rank) + static_cast<size_t>(r)));
      };
      check();
      {
        const auto gone = pack_lora_b(values.data(), size, rank, dtype);
        join_factors({gone.get(), b.get(), a.get()});
      }
      check();
      const auto* a_at = static_cast<const PackedFactor&>(*a).data.as<uint8_t>();
      const auto* b_at = static_cast<const PackedFactor&>(*b).data.as<uint8_t>();
      CHECK_EQ(static_cast<size_t>(a_at - b_at), (b->bytes + 63) / 64 * 64);
      CHECK_EQ(reinterpret_cast<uintptr_t>(a_at) % 64, 0u);
    }
  join_factors({});
}

TEST("cpu/packing: threads change nothing; the checksum sees every change") {
  Random random(5);
  const int32_t rows = 1500, cols = 201;
  std::vector<float> weights = random.floats(elements(rows, cols), -1.0f, 1.0f);
  std::set<uint64_t> checksums;
  for (const WeightFormat format : kFormats) {
    const auto matrix = pack_matrix(spec_of(rows, cols, format), reader_of(weights, cols), 1);
    const uint64_t checksum_of_one = checksum(packed(matrix));
    checksums.insert(checksum_of_one);
    for (const int threads : {0, 2, 3, 4, 1000}) {
      const auto again = pack_matrix(spec_of(rows, cols, format), reader_of(weights, cols), threads);
      CHECK_EQ(checksum(packed(again)), checksum_of_one);
    }
    Random places(6);
    for (int i = 0; i < 50; ++i) {  // one bit of the weights
      const size_t byte = places.bits() % packed(matrix).data.bytes();
      packed(matrix).data.as<uint8_t>()[byte] ^= static_cast<uint8_t>(1u << (i % 8));
      CHECK(checksum(packed(matrix)) != checksum_of_one);
      packed(matrix).data.as<uint8_t>()[byte] ^= static_cast<uint8_t>(1u << (i % 8));
    }
    if (format == WeightFormat::kInt8) {
      packed(matrix).scale.as<uint8_t>()[1499 * 4] ^= 1;
      CHECK(checksum(packed(matrix)) != checksum_of_one);
      packed(matrix).scale.as<uint8_t>()[1499 * 4] ^= 1;
    }
    CHECK_EQ(checksum(packed(matrix)), checksum_of_one);
  }
  weights[0] += 1.0f;
  const auto changed = pack_matrix(spec_of(rows, cols, WeightFormat::kFloat32), reader_of(weights, cols), 1);
  checksums.insert(checksum(packed(changed)));
  CHECK_EQ(checksums.size(), size_t{4});
}

TEST("cpu/packing: reads every row once, in blocks of bounded size") {
  const int32_t rows = 3001, cols = 700;
  std::vector<std::atomic<int>> reads(rows);
  std::atomic<int32_t> largest{0};
  const RowReader read = [&](int32_t row_begin, int32_t row_count, float* out) {
    CHECK(row_begin % kTileRows == 0);
    for (int32_t row = row_begin; row < row_begin + row_count; ++row)
      ++reads[static_cast<size_t>(row)];
    int32_t seen = largest;
    while (row_count > seen && !largest.compare_exchange_weak(seen, row_count)) {
    }
    std::fill_n(out, elements(row_count, cols), 0.5f);
  };
  pack_matrix(spec_of(rows, cols, WeightFormat::kInt8), read, 3);
  for (const std::atomic<int>& count : reads)
    CHECK_EQ(count.load(), 1);
  CHECK(elements(largest, cols) * sizeof(float) <= (size_t{1} << 20));
}

TEST("cpu/packing: zero and tiny rows") {
  const std::vector<float> weights = {0.0f, -0.0f, 1e-35f, -1e-40f, 1e30f, -1e30f};
  const auto matrix = pack_matrix(spec_of(3, 2, WeightFormat::kInt8), reader_of(weights, 2), 1);
  std::vector<float> out(6);
  unpack_rows(packed(matrix), 0, 3, out.data());
  for (size_t i = 0; i < 4; ++i)
    CHECK_EQ(out[i], 0.0f);
  CHECK_NEAR(out[4], 1e30f, 1e24);
  CHECK_NEAR(out[5], -1e30f, 1e24);
}

TEST("cpu/packing: refuses what is not finite") {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
  for (const WeightFormat format : kFormats)
    for (const float fault : {kNaN, kInfinity, -kInfinity})
      for (const size_t at : {size_t{0}, size_t{64}, size_t{20 * 65 - 1}}) {
        std::vector<float> weights(20 * 65, 1.0f);
        weights[at] = fault;
        CHECK_THROWS_CODE(pack_matrix(spec_of(20, 65, format), reader_of(weights, 65), 2),
                          ErrorCode::kModelFormat);
      }
  const std::vector<float> largest(64, std::numeric_limits<float>::max());
  const RowReader read = reader_of(largest, 64);
  CHECK_THROWS_CODE(pack_matrix(spec_of(1, 64, WeightFormat::kBFloat16), read, 1), ErrorCode::kModelFormat);
  CHECK(pack_matrix(spec_of(1, 64, WeightFormat::kFloat32), read, 1) != nullptr);
  for (const float fault : {kNaN, kInfinity}) {
    const float values[] = {1.0f, 2.0f, fault, 3.0f};
    for (const LoraDType dtype : {LoraDType::kBFloat16, LoraDType::kFloat32}) {
      CHECK_THROWS_CODE(pack_lora_a(values, 2, 2, dtype), ErrorCode::kAdapterFormat);
      CHECK_THROWS_CODE(pack_lora_b(values, 2, 2, dtype), ErrorCode::kAdapterFormat);
    }
  }
  for (const float fault : {kNaN, kInfinity, 128.0f, -128.0f, 0.5f}) {
    const float values[] = {1.0f, 2.0f, fault, 3.0f};
    CHECK_THROWS_CODE(pack_lora_a(values, 2, 2, LoraDType::kInt8), ErrorCode::kInvalidArgument);
    CHECK_THROWS_CODE(pack_lora_b(values, 2, 2, LoraDType::kInt8), ErrorCode::kInvalidArgument);
  }
  CHECK_THROWS_CODE(pack_lora_a(largest.data(), 1, 64, LoraDType::kBFloat16), ErrorCode::kAdapterFormat);
}

TEST("cpu/packing: refuses shapes and options outside the bounds, before it allocates or reads") {
  const RowReader unread = [](int32_t, int32_t, float*) { CHECK(!"read"); };
  constexpr int32_t kLargest = std::numeric_limits<int32_t>::max();
  for (const auto& shape : {std::pair{0, 1},
                            {1, 0},
                            {-1, 4},
                            {4, -1},
                            {kLargest, 1},
                            {1, kMaxMatrixCols + 1},
                            {kMaxMatrixRows + 1, 1},
                            {kLargest, kLargest}})
    CHECK_THROWS_CODE(pack_matrix(spec_of(shape.first, shape.second, WeightFormat::kInt8), unread, 1),
                      ErrorCode::kInvalidArgument);
  for (const WeightFormat format : {WeightFormat::kBFloat16, WeightFormat::kFloat32})
    CHECK_THROWS_CODE(pack_matrix({4, 4, format, ActivationFormat::kInt8}, unread, 1),
                      ErrorCode::kInvalidArgument);
  const float value = 1.0f;
  for (const auto& shape : {std::pair{0, 1}, {1, 0}, {kMaxLoraRank + 1, 1}, {1, kLargest}}) {
    CHECK_THROWS_CODE(pack_lora_a(&value, shape.first, shape.second, LoraDType::kFloat32),
                      ErrorCode::kInvalidArgument);
    CHECK_THROWS_CODE(pack_lora_b(&value, shape.second, shape.first, LoraDType::kFloat32),
                      ErrorCode::kInvalidArgument);
  }
  const std::vector<float> weights(6, 1.0f);
  const auto matrix = pack_matrix(spec_of(3, 2, WeightFormat::kInt8), reader_of(weights, 2), 1);
  float out[6];
  for (const auto& rows : {std::pair{-1, 1}, {0, 4}, {3, 1}, {1, -1}, {2, kLargest}, {kLargest, 1}})
    CHECK_THROWS_CODE(unpack_rows(packed(matrix), rows.first, rows.second, out), ErrorCode::kInvalidArgument);
}

TEST("cpu/packing: an exception of the reader reaches the caller, from any thread") {
  for (const int threads : {1, 2, 4})
    for (const int32_t failing_row : {0, 2000, 4999}) {
      const RowReader read = [&](int32_t row_begin, int32_t row_count, float* out) {
        if (failing_row >= row_begin && failing_row < row_begin + row_count)
          throw Error(ErrorCode::kIo, "the disk went away");
        std::fill_n(out, elements(row_count, 600), 1.0f);
      };
      CHECK_THROWS_CODE(pack_matrix(spec_of(5000, 600, WeightFormat::kInt8), read, threads), ErrorCode::kIo);
    }
  bool caught = false;
  try {
    pack_matrix(
        spec_of(64, 8, WeightFormat::kInt8), [](int32_t, int32_t, float*) { throw std::bad_alloc(); }, 2);
  } catch (const std::bad_alloc&) {
    caught = true;
  }
  CHECK(caught);
}
