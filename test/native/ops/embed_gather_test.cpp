#include "ops/embed_gather.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "check.h"
#include "ops/op_case.h"
#include "ops/transform_case.h"

using namespace lowrank;
using namespace lowrank::test;

namespace {

constexpr int32_t kVocabulary = 37;

struct Shape {
  int32_t rows, hidden;
  WeightFormat format;
  TransformKind transform = {};  // int8 only
  std::string text() const {
    return "M " + std::to_string(rows) + ", hidden " + std::to_string(hidden) + ", format " +
           std::to_string(static_cast<int>(format)) + transform.text();
  }
};

// A base table, a replaced one, two LoRA terms and a gain. Rows take: nothing, one term, two terms and the
// gain, the replaced table with a term.
class Gather {
 public:
  Gather(const Backend& backend, const Shape& one) : backend_(backend), shape_(one), random_(99) {
    const auto hidden = static_cast<size_t>(one.hidden);
    base_ = table();
    replaced_ = table();
    for (int t = 0; t < 2; ++t) {
      const size_t rank = t == 0 ? 3 : 9;
      a_.push_back(random_.floats(kVocabulary * rank, -1.0f, 1.0f));
      b_.push_back(random_.floats(hidden * rank, -0.1f, 0.1f));
      b_store_.emplace_back(b_.back());
    }
    for (size_t t = 0; t < 2; ++t)
      terms_.push_back({a_[t].data(), b_store_[t].data(), t == 0 ? 3 : 9, t == 0 ? 2.0f : -0.5f});
    gain_ = random_.floats(hidden, 0.5f, 2.0f);
    gain_store_ = Unaligned(gain_);
    for (int32_t m = 0; m < one.rows; ++m) {
      tokens_.push_back(m == 0 ? kVocabulary - 1 : random_.integer(0, kVocabulary - 1));
      switch (m % 4) {
        case 1: segments_.push_back({m, m + 1, terms_.data(), 1, nullptr, nullptr}); break;
        case 2: segments_.push_back({m, m + 1, terms_.data(), 2, nullptr, gain_store_.data()}); break;
        case 3: segments_.push_back({m, m + 1, terms_.data() + 1, 1, replaced_.packed.get(), nullptr}); break;
        default: break;
      }
    }
  }

  std::vector<float> run(int32_t begin, int32_t end, int parts) const {
    const size_t count = static_cast<size_t>(end - begin) * static_cast<size_t>(shape_.hidden);
    const Unaligned x(std::vector<float>(count, 55.0f));
    std::vector<EmbeddingRows> segments;
    for (EmbeddingRows segment : segments_) {
      if (segment.row_begin < begin || segment.row_begin >= end) continue;
      segment.row_begin -= begin;
      segment.row_end -= begin;
      segments.push_back(segment);
    }
    run_parts(backend_.ops().embed_gather,
              EmbedGatherArgs{tokens_.data() + begin, end - begin, base_.packed.get(), kMultiplier, x.data(),
                              segments.data(), static_cast<int32_t>(segments.size())},
              parts);
    return std::vector<float>(x.data(), x.data() + count);
  }

  void check(const std::vector<float>& x) const {
    const auto hidden = static_cast<size_t>(shape_.hidden);
    for (size_t m = 0; m < tokens_.size(); ++m)
      for (size_t k = 0; k < hidden; ++k) {
        const auto token = static_cast<size_t>(tokens_[m]);
        double value = (m % 4 == 3 ? replaced_ : base_).weights[token * hidden + k];
        double magnitude = std::fabs(value);
        for (size_t t = 0; t < 2; ++t) {
          if (m % 4 == 0 || (m % 4 == 1 && t == 1) || (m % 4 == 3 && t == 0)) continue;
          const size_t rank = t == 0 ? 3 : 9;
          for (size_t r = 0; r < rank; ++r) {
            const double term = (t == 0 ? 2.0 : -0.5) * a_[t][token * rank + r] * b_[t][k * rank + r];
            value += term;
            magnitude += std::fabs(term);
          }
        }
        const double factor = (m % 4 == 2 ? double{gain_[k]} : 1.0) * double{kMultiplier};
        expect_near(label(backend_, shape_.text()), m * hidden + k, x[m * hidden + k], value * factor,
                    8 * kFloatEpsilon * magnitude * factor);
      }
  }

 private:
  static constexpr float kMultiplier = 24.0f * 1.01f;

  // Without a transform, the weights are such that the format holds them exactly. With one, they become what the matrix
  // holds of them, which is within a few int8 steps.
  TestMatrix table() {
    const size_t count = kVocabulary * static_cast<size_t>(shape_.hidden);
    std::vector<float> weights = shape_.format == WeightFormat::kInt8
                                     ? random_int8_weights(random_, kVocabulary, shape_.hidden).weights
                                     : random_.bfloat16_floats(count, -1.0f, 1.0f);
    if (!shape_.transform.any())
      return make_matrix(backend_, {kVocabulary, shape_.hidden, {shape_.format, ActivationFormat::kFloat32}},
                         std::move(weights));
    const TestTransform transform = make_transform(random_, shape_.hidden, shape_.transform);
    TestMatrix out = make_matrix(backend_, transform.spec(kVocabulary), std::move(weights));
    const std::vector<float> logical = out.weights;
    backend_.unpack(*out.packed, 0, kVocabulary, out.weights.data());
    for (size_t n = 0; n < kVocabulary; ++n) {
      const auto row = logical.begin() + static_cast<std::ptrdiff_t>(n) * shape_.hidden;
      float absmax = 0;
      for (int32_t k = 0; k < shape_.hidden; ++k)
        absmax = std::max(absmax, std::fabs(row[k]));
      for (int32_t k = 0; k < shape_.hidden; ++k) {
        const size_t at = n * static_cast<size_t>(shape_.hidden) + static_cast<size_t>(k);
        expect_near(label(backend_, shape_.text() + " held"), at, out.weights[at], row[k], absmax / 2);
      }
    }
    return out;
  }

  const Backend& backend_;
  Shape shape_;
  Random random_;
  TestMatrix base_, replaced_;
  std::vector<std::vector<float>> a_, b_;
  std::vector<Unaligned> b_store_;
  std::vector<EmbeddingTerm> terms_;
  std::vector<float> gain_;
  Unaligned gain_store_;
  std::vector<int32_t> tokens_;
  std::vector<EmbeddingRows> segments_;
};

std::vector<Shape> all_cases() {
  std::vector<Shape> all;
  const int32_t sizes[][2] = {{1, 1}, {2, 3}, {7, 65}, {17, 64}, {17, 130}};
  for (const auto& s : sizes)
    for (const WeightFormat format : {WeightFormat::kInt8, WeightFormat::kBFloat16, WeightFormat::kFloat32})
      for (const TransformKind& transform : transform_kinds())
        if (format == WeightFormat::kInt8 || !transform.any()) all.push_back({s[0], s[1], format, transform});
  return all;
}

}  // namespace

TEST("ops/embed_gather: the equation, with terms, replaced tables and gains") {
  for (const Backend* backend : available_backends())
    for (const Shape& one : all_cases()) {
      const Gather gather(*backend, one);
      gather.check(gather.run(0, one.rows, 1));
    }
}

TEST("ops/embed_gather: bit-identical for any number of parts, and for a row alone") {
  for (const Backend* backend : available_backends())
    for (const Shape& one : all_cases()) {
      const Gather gather(*backend, one);
      const std::vector<float> whole = gather.run(0, one.rows, 1);
      for (int parts = 2; parts <= max_parts(*backend); ++parts)
        expect_same_bits(label(*backend, one.text()), gather.run(0, one.rows, parts), whole);
      for (int32_t m = 0; m < one.rows; ++m)
        expect_same_bits(
            label(*backend, one.text() + " alone"), gather.run(m, m + 1, 1),
            std::vector<float>(whole.begin() + m * one.hidden, whole.begin() + (m + 1) * one.hidden));
    }
}
