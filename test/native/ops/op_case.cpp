#include "ops/op_case.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <string>

#include "check.h"
#include "core/float16.h"

namespace lowrank::test {

bool is_shortened(const Backend& backend) {
  const char* full = std::getenv("LOWRANK_FULL");
  return std::strstr(backend.instruction_set(), "emulated") != nullptr && (full == nullptr || std::strcmp(full, "1") != 0);
}

bool has_byte_attention(const Backend& backend, int32_t head_dim) {
  return backend.traits().byte_attention && head_dim % 4 == 0;
}

double low_rank_input(const Backend& backend, LoraDType dtype, double x) {
  const bool rounds = dtype == LoraDType::kBFloat16 && backend.traits().bfloat16_low_rank;
  return rounds ? bfloat16_to_float32(float32_to_bfloat16(static_cast<float>(x))) : x;
}

size_t kv_place(const Backend& backend, KvFormat format, bool is_key, int32_t kv_heads, int32_t head_dim, size_t page_elements,
                size_t row_major) {
  const auto head_elements = static_cast<size_t>(kPageTokens * head_dim);
  const size_t within = row_major % page_elements;
  if (within >= static_cast<size_t>(kv_heads) * head_elements) return row_major;
  const auto element = static_cast<int32_t>(within % head_elements);
  const auto offset = is_key ? key_offset : value_offset;
  return row_major - static_cast<size_t>(element) +
         static_cast<size_t>(offset(backend.kv_layout(), format, head_dim, element / head_dim, element % head_dim));
}

uint64_t Random::bits() {
  state_ += 0x9e3779b97f4a7c15u;
  uint64_t z = state_;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}
float Random::uniform(float low, float high) {
  return low + (high - low) * static_cast<float>(bits() >> 40) * 0x1p-24f;
}
int32_t Random::integer(int32_t low, int32_t high) {
  return low + static_cast<int32_t>(bits() % (static_cast<uint64_t>(high - low) + 1));
}
std::vector<float> Random::floats(size_t count, float low, float high) {
  std::vector<float> values(count);
  for (float& value : values)
    value = uniform(low, high);
  return values;
}
std::vector<float> Random::bfloat16_floats(size_t count, float low, float high) {
  std::vector<float> values = floats(count, low, high);
  for (float& value : values)
    value = bfloat16_to_float32(float32_to_bfloat16(value));
  return values;
}

Unaligned::Unaligned(const std::vector<float>& values) : storage_((values.size() + 1) * sizeof(float)) {
  if (!values.empty()) std::memcpy(data(), values.data(), values.size() * sizeof(float));
}

std::vector<int32_t> group_sizes(const Backend& backend) {
  std::vector<int32_t> sizes;
  for (const int32_t group : {64, 128, 256}) {
    try {
      backend.allocate({1, 1, {WeightFormat::kInt8, ActivationFormat::kInt8, group}});
      sizes.push_back(group);
    } catch (const Error& error) {
      CHECK(error.code() == ErrorCode::kBackendUnavailable);
    }
  }
  CHECK(std::find(sizes.begin(), sizes.end(), kDefaultScaleGroup) != sizes.end());
  if (std::string(backend.name()) == "cpu") CHECK_EQ(sizes.size(), size_t{3});
  return sizes;
}

ActivationStore::ActivationStore(ActivationFormat format, int32_t rows, int32_t cols, int32_t group) {
  view.format = format;
  view.group = group;
  view.cols = cols;
  view.stride = round_up(cols, kActivationAlignment);
  const size_t elements = static_cast<size_t>(rows) * static_cast<size_t>(view.stride);
  const auto filled = [](size_t bytes) {
    Buffer buffer(bytes);
    std::memset(buffer.as<void>(), 0x5a, bytes);
    return buffer;
  };
  if (format == ActivationFormat::kInt8) {
    q = filled(elements);
    const size_t groups = static_cast<size_t>(rows) * static_cast<size_t>(view.groups());
    scale = filled(groups * sizeof(float));
    compensation = filled(groups * sizeof(int32_t));
    outliers = filled(static_cast<size_t>(rows) * kMaxOutliers * sizeof(float));
    view.q = q.as<int8_t>();
    view.scale = scale.as<float>();
    view.compensation = compensation.as<int32_t>();
    view.outliers = outliers.as<float>();
  } else {
    values = filled(elements * sizeof(float));
    view.values = values.as<float>();
  }
}

TestMatrix make_matrix(const Backend& backend, MatrixSpec spec, std::vector<float> weights) {
  const auto cols = static_cast<size_t>(spec.cols);
  const auto read = [&](int32_t row_begin, int32_t row_count, float* out) {
    std::memcpy(out, weights.data() + static_cast<size_t>(row_begin) * cols,
                static_cast<size_t>(row_count) * cols * sizeof(float));
  };
  auto packed = backend.pack(spec, read, 1);
  return {std::move(weights), std::move(packed)};
}

Int8Weights random_int8_weights(Random& random, int32_t rows, int32_t cols, int32_t group) {
  Int8Weights out;
  const auto k_count = static_cast<size_t>(cols);
  for (int32_t n = 0; n < rows; ++n) {
    const float scale = std::ldexp(1.0f, random.integer(-12, -4));
    out.scale.push_back(scale);
    size_t largest_at = 0;
    for (size_t k = 0; k < k_count; ++k) {
      if (k % static_cast<size_t>(group) == 0) {
        const size_t end = std::min(k + static_cast<size_t>(group), k_count);
        largest_at = static_cast<size_t>(random.integer(static_cast<int32_t>(k), static_cast<int32_t>(end) - 1));
      }
      const int32_t q =
          k == largest_at ? (random.integer(0, 1) == 0 ? 127 : -127) : random.integer(-127, 127);
      out.q.push_back(q);
      out.weights.push_back(static_cast<float>(q) * scale);
    }
  }
  return out;
}

TestFactors::TestFactors(const Backend& backend, Random& random, int32_t rank_, int32_t in, int32_t out,
                         LoraDType dtype_)
    : rank(rank_), dtype(dtype_) {
  const auto make = [&](int32_t count, auto is_extreme) {
    std::vector<float> values = random.bfloat16_floats(static_cast<size_t>(count), -0.5f, 0.5f);
    if (dtype == LoraDType::kInt8)
      for (size_t i = 0; i < values.size(); ++i)
        values[i] = is_extreme(static_cast<int32_t>(i)) ? std::copysign(127.0f, values[i]) : std::nearbyint(254.0f * values[i]);
    return values;
  };
  a = make(rank * in, [&](int32_t i) { return i / in == rank - 1; });
  b = make(out * rank, [&](int32_t i) { return i % rank == rank - 1; });
  if (dtype == LoraDType::kInt8) {
    rank_scale = random.floats(static_cast<size_t>(rank), 1e-5f, 1e-4f);
    if (rank > 1) rank_scale[0] = 0.0f;
  }
  a_packed = backend.pack_lora_a(a.data(), rank, in, dtype);
  b_packed = backend.pack_lora_b(b.data(), out, rank, dtype);
}

void expect_near(const std::string& what, size_t index, double actual, double expected, double tolerance) {
  if (std::isnan(expected) ? std::isnan(actual) : std::fabs(actual - expected) <= tolerance) return;
  fail(__FILE__, __LINE__,
       what + " [" + std::to_string(index) + "]: " + shown(actual) + " against " + shown(expected) + " +- " +
           shown(tolerance));
}

void expect_same_bits(const std::string& what, const std::vector<float>& actual,
                      const std::vector<float>& expected) {
  if (actual.size() != expected.size()) return fail(__FILE__, __LINE__, what + ": sizes differ");
  for (size_t i = 0; i < actual.size(); ++i)
    if (std::bit_cast<uint32_t>(actual[i]) != std::bit_cast<uint32_t>(expected[i]))
      return fail(__FILE__, __LINE__,
                  what + " [" + std::to_string(i) + "]: " + shown(actual[i]) + " and " + shown(expected[i]) +
                      " differ in their bits");
}

std::string label(const Backend& backend, const std::string& details) {
  return std::string(backend.instruction_set()) + ": " + details;
}

}  // namespace lowrank::test
