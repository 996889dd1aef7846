// Packing of int8 matrices whose input is transformed: outlier columns apart, smoothing, rotation.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>
#include <set>
#include <string>
#include <vector>

#include "check.h"
#include "core/float16.h"
#include "cpu/packing.h"
#include "ops/transform_case.h"

using namespace lowrank;
using namespace lowrank::cpu;
using namespace lowrank::test;

namespace {

constexpr int32_t kSizes[][2] = {{1, 1}, {16, 64}, {17, 65}, {33, 130}, {5, 3}, {100, 577}, {3, 4161}};

size_t size(int32_t value) { return static_cast<size_t>(value); }

std::unique_ptr<Matrix> pack(const MatrixSpec& spec, const std::vector<float>& weights, int threads = 1) {
  const auto read = [&](int32_t row_begin, int32_t row_count, float* out) {
    std::copy_n(weights.begin() + static_cast<std::ptrdiff_t>(row_begin) * spec.cols,
                static_cast<std::ptrdiff_t>(row_count) * spec.cols, out);
  };
  return pack_matrix(spec, read, threads);
}

const PackedMatrix& packed(const std::unique_ptr<Matrix>& matrix) { return static_cast<const PackedMatrix&>(*matrix); }

float bfloat16(float value) { return bfloat16_to_float32(float32_to_bfloat16(value)); }

std::string text_of(const TransformKind& kind, const int32_t (&shape)[2]) {
  return std::to_string(shape[0]) + " x " + std::to_string(shape[1]) + kind.text();
}

}  // namespace

TEST("cpu/packing: a matrix holds the transformed weights within half a step, padding included") {
  Random random(1);
  const auto check = [&](const auto& s, const TransformKind& kind, int32_t group) {
    TestTransform transform = make_transform(random, s[1], kind);
    transform.group = group;
    const std::vector<float> weights = random.floats(size(s[0]) * size(s[1]), -1.0f, 1.0f);
    const auto matrix = pack(transform.spec(s[0]), weights, 2);
    for (int32_t n = 0; n < s[0]; ++n) {
      const std::vector<double> expected = transform.weights(weights.data() + size(n) * size(s[1]));
      double scale = 0;
      for (size_t k = 0; k < expected.size(); ++k) {
        if (k % size(group) == 0) {
          double absmax = 0;
          for (size_t i = k; i < std::min(k + size(group), expected.size()); ++i)
            absmax = std::max(absmax, std::fabs(expected[i]));
          scale = scale_of(packed(matrix), n, static_cast<int32_t>(k));
          CHECK_EQ(bfloat16(static_cast<float>(scale)), static_cast<float>(scale));
          CHECK(scale >= absmax / 127 * (1 - 1e-4));  // rounded up, but for the errors of a float transform
          CHECK(scale <= absmax / 127 * (1 + 1.0 / 128 + 1e-4));
        }
        const size_t at = tile_offset(kTileDepth, n % kTileRows, static_cast<int32_t>(k));
        const int32_t q = tile_of_row<uint8_t>(packed(matrix), n)[at] - 128;
        expect_near(text_of(kind, s) + " row " + std::to_string(n), k, q * scale, expected[k], scale * 0.501);
        if (k >= size(s[1]) && !kind.rotated) CHECK_EQ(q, 0);
      }
    }
    // Rows that pad the last tile.
    for (int32_t n = s[0]; n < packed(matrix).padded_rows(); ++n)
      for (int32_t k = 0; k < packed(matrix).padded_cols(); ++k)
        CHECK_EQ(int{tile_of_row<uint8_t>(packed(matrix), n)[tile_offset(kTileDepth, n % kTileRows, k)]}, 128);
  };
  for (const auto& s : kSizes)
    for (const TransformKind& kind : transform_kinds())
      for (const int32_t group : {64, 128, 256}) check(s, kind, group);
}

TEST("cpu/packing: unpacking a transformed matrix gives the logical weights back") {
  Random random(2);
  for (const auto& s : kSizes)
    for (const TransformKind& kind : transform_kinds()) {
      const TestTransform transform = make_transform(random, s[1], kind);
      const std::vector<float> weights = random.floats(size(s[0]) * size(s[1]), -1.0f, 1.0f);
      const auto matrix = pack(transform.spec(s[0]), weights);
      std::vector<float> out(weights.size());
      unpack_rows(packed(matrix), 0, s[0], out.data());
      for (size_t i = 0; i < weights.size(); ++i) {
        const auto k = static_cast<int32_t>(i % size(s[1]));
        if (std::binary_search(transform.outliers.begin(), transform.outliers.end(), k)) {
          CHECK_EQ(out[i], bfloat16(weights[i]));
          continue;
        }
        // Half a step in each of the 64 of a block turns into at most |.|_2 <= 4 steps in one of them.
        const double factor = kind.smoothed ? double{transform.smoothing[size(k)]} : 1.0;
        const double steps = kind.rotated ? 4.01 : 0.501;
        const double scale = scale_of(packed(matrix), static_cast<int32_t>(i / size(s[1])), k);
        expect_near(text_of(kind, s), i, out[i], weights[i], factor * steps * scale);
      }
      if (s[0] > 3) {
        std::vector<float> some(2 * size(s[1]));
        unpack_rows(packed(matrix), s[0] - 3, 2, some.data());
        CHECK(std::equal(some.begin(), some.end(), out.end() - 3 * s[1]));
      }
    }
}

TEST("cpu/packing: what a transformed matrix shows of its transform, and the bytes it counts") {
  Random random(3);
  const std::vector<float> weights = random.floats(20 * 130, -1.0f, 1.0f);
  for (const TransformKind& kind : transform_kinds()) {
    const TestTransform transform = make_transform(random, 130, kind);
    const auto matrix = pack(transform.spec(20), weights);
    const InputTransform& input = matrix->input;
    CHECK_EQ(input.rotated, kind.rotated);
    CHECK_EQ(input.outlier_count, static_cast<int32_t>(transform.outliers.size()));
    for (int32_t j = 0; j < input.outlier_count; ++j)
      CHECK_EQ(input.outliers[j], transform.outliers[size(j)]);
    CHECK_EQ(input.smoothing != nullptr, kind.smoothed);
    for (int32_t k = 0; kind.smoothed && k < 192; ++k)
      CHECK_EQ(input.smoothing[k], k < 130 ? transform.smoothing[size(k)] : 0.0f);
    CHECK_EQ(matrix->outlier_columns != nullptr, kind.outliers);
    size_t bytes = 32 * 192 + 2 * 32 * 2;  // two scale groups
    if (kind.smoothed) bytes += 192 * 4;
    if (kind.outliers) {
      CHECK_EQ(matrix->outlier_columns->rank, input.outlier_count);
      CHECK_EQ(matrix->outlier_columns->dimension, 20);
      bytes += size(round_up(input.outlier_count, 2)) * 32 * 2;
      const auto& columns = static_cast<const PackedFactor&>(*matrix->outlier_columns);
      for (int32_t n = 0; n < 32; ++n)
        for (int32_t j = 0; j < columns.rank; ++j) {
          const uint16_t held = columns.data.as<uint16_t>()[factor_b_offset(columns, n, j)];
          const float weight = n < 20 ? weights[size(n) * 130 + size(transform.outliers[size(j)])] : 0.0f;
          CHECK_EQ(held, float32_to_bfloat16(weight));
        }
    }
    CHECK_EQ(matrix->bytes, bytes);
  }
}

TEST("cpu/packing: the checksum tells every part of the transform, and not the threads") {
  Random random(4);
  const int32_t rows = 700, cols = 150;
  std::vector<float> weights = random.floats(size(rows) * size(cols), -1.0f, 1.0f);
  const TestTransform transform = make_transform(random, cols, {true, true, true});
  const MatrixSpec spec = transform.spec(rows);
  const auto matrix = pack(spec, weights);
  const uint64_t expected = checksum(packed(matrix));
  for (const int threads : {2, 4})
    CHECK_EQ(checksum(packed(pack(spec, weights, threads))), expected);

  std::set<uint64_t> checksums = {expected};
  const auto differs = [&](const MatrixSpec& other) {
    CHECK(checksums.insert(checksum(packed(pack(other, weights)))).second);
  };
  MatrixSpec other = spec;
  other.scheme.rotated = false;
  differs(other);
  other.set_transform(true, spec.outliers, {});
  differs(other);
  other.set_transform(true, {}, spec.smoothing);
  differs(other);
  for (const int32_t group : {64, 256}) {
    other = spec;
    other.scheme.group = group;
    differs(other);
  }
  other = spec;
  other.outliers.back() -= 1;
  differs(other);
  other = spec;  // the factor of an outlier channel changes no weight
  other.smoothing[0] *= 2;
  CHECK_EQ(other.outliers[0], 0);
  differs(other);
  weights[0] = 5.0f;  // of an outlier channel
  differs(spec);

  // Zeros are the same with any transform, but a matrix of them is not.
  const std::vector<float> zeros(weights.size(), 0.0f);
  const uint64_t of_zeros = checksum(packed(pack(spec, zeros)));
  other = spec;
  other.scheme.rotated = false;
  CHECK(checksum(packed(pack(other, zeros))) != of_zeros);
  other = spec;
  other.outliers.back() -= 1;
  CHECK(checksum(packed(pack(other, zeros))) != of_zeros);

  // Bits of what lies beside the weights.
  const auto flip = [&](uint8_t* byte) {
    *byte ^= 1;
    CHECK(checksum(packed(matrix)) != expected);
    *byte ^= 1;
  };
  const auto& columns = static_cast<const PackedFactor&>(*matrix->outlier_columns).data;
  for (size_t i = 0; i < columns.bytes(); i += 97)
    flip(columns.as<uint8_t>() + i);
  flip(columns.as<uint8_t>() + columns.bytes() - 1);
  for (size_t i = 0; i < packed(matrix).smoothing.bytes(); i += 13)
    flip(packed(matrix).smoothing.as<uint8_t>() + i);
  CHECK_EQ(checksum(packed(matrix)), expected);
}

TEST("cpu/packing: refuses a transform that is none, before it reads") {
  const RowReader unread = [](int32_t, int32_t, float*) { CHECK(!"read"); };
  constexpr int32_t kLargest = std::numeric_limits<int32_t>::max();
  const auto refused = [&](const MatrixSpec& spec) {
    CHECK_THROWS_CODE(pack_matrix(spec, unread, 1), ErrorCode::kInvalidArgument);
  };
  const MatrixSpec sound = {4, 100, WeightFormat::kInt8, ActivationFormat::kInt8};
  MatrixSpec spec = sound;
  for (const std::vector<int32_t>& outliers : std::vector<std::vector<int32_t>>{
           {-1}, {100}, {kLargest}, {3, 2}, {3, 3}, {0, 99, 100}, {5, -1}, {kLargest, kLargest}}) {
    spec.set_transform(false, outliers, {});
    refused(spec);
  }
  std::vector<int32_t> many(kMaxOutliers + 1);
  std::iota(many.begin(), many.end(), 0);
  spec.set_transform(false, many, {});
  refused(spec);
  for (const size_t count : {size_t{1}, size_t{99}, size_t{101}, size_t{128}}) {
    spec = sound;
    spec.set_transform(false, {}, std::vector<float>(count, 1.0f));
    refused(spec);
  }
  for (const float bad : {0.0f, -0.0f, -1.0f, std::numeric_limits<float>::infinity(),
                          std::numeric_limits<float>::quiet_NaN()})
    for (const size_t at : {size_t{0}, size_t{99}}) {
      spec = sound;
      spec.set_transform(false, {}, std::vector<float>(100, 1.0f));
      spec.smoothing[at] = bad;
      refused(spec);
    }
  for (const WeightFormat format : {WeightFormat::kInt8, WeightFormat::kBFloat16, WeightFormat::kFloat32}) {
    const MatrixSpec float_input = {4, 100, format, ActivationFormat::kFloat32};
    spec = float_input;
    spec.set_transform(true, {}, {});
    refused(spec);
    spec.set_transform(false, {1}, {});
    refused(spec);
    spec.set_transform(false, {}, std::vector<float>(100, 1.0f));
    refused(spec);
  }
  // What the scheme says and the transform does not have, or the other way round.
  spec = sound;
  spec.scheme.outliers = 1;
  refused(spec);
  spec = sound;
  spec.scheme.smoothed = true;
  refused(spec);
  spec = sound;
  spec.outliers = {1};
  refused(spec);
  spec = sound;
  spec.smoothing.assign(100, 1.0f);
  refused(spec);
  for (const int32_t group : {0, -64, 1, 32, 63, 65, 96, 192, 512, kLargest}) {
    spec = sound;
    spec.scheme.group = group;
    refused(spec);
  }
}

TEST("cpu/packing: refuses weights that the transform takes out of float32's range") {
  constexpr float kLargest = std::numeric_limits<float>::max();
  const std::vector<float> weights(64, kLargest);
  MatrixSpec spec = {1, 64, WeightFormat::kInt8, ActivationFormat::kInt8};
  CHECK(pack(spec, weights) != nullptr);
  spec.set_transform(false, {}, std::vector<float>(64, 0.5f));
  CHECK_THROWS_CODE(pack(spec, weights), ErrorCode::kModelFormat);
  spec.set_transform(true, {}, {});
  CHECK_THROWS_CODE(pack(spec, weights), ErrorCode::kModelFormat);
  spec.set_transform(false, {63}, {});
  CHECK_THROWS_CODE(pack(spec, weights), ErrorCode::kModelFormat);  // bfloat16 rounds it to infinity
  for (const float fault : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()})
    for (const size_t at : {size_t{0}, size_t{63}}) {
      std::vector<float> faulty(64, 1.0f);
      faulty[at] = fault;
      CHECK_THROWS_CODE(pack(spec, faulty), ErrorCode::kModelFormat);
    }
}

TEST("cpu/packing: a row of nothing but outliers has scale 0") {
  Random random(5);
  const std::vector<float> weights = random.bfloat16_floats(3 * 64, -1.0f, 1.0f);
  MatrixSpec spec = {3, 64, {WeightFormat::kInt8, ActivationFormat::kInt8}};
  std::vector<int32_t> channels(64);
  std::iota(channels.begin(), channels.end(), 0);
  spec.set_transform(true, channels, {});
  const auto matrix = pack(spec, weights);
  std::vector<float> out(weights.size());
  unpack_rows(packed(matrix), 0, 3, out.data());
  expect_same_bits("unpacked outliers", out, weights);
  for (int n = 0; n < 3; ++n)
    CHECK_EQ(scale_of(packed(matrix), n, 0), 0.0f);
}
