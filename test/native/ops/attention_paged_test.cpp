#include "ops/attention_paged.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <tuple>
#include <vector>

#include "check.h"
#include "core/float16.h"
#include "ops/op_case.h"
#include "quant/int8.h"

using namespace lowrank;
using namespace lowrank::test;

namespace {

size_t size(int32_t value) { return static_cast<size_t>(value); }

struct Shape {
  int32_t heads, kv_heads, head_dim, window;
  KvFormat format;
  float spread;  // of the scores: how peaked the softmax is
  float soft_cap = 0;
  std::string text() const {
    return "heads " + std::to_string(heads) + "/" + std::to_string(kv_heads) + ", head_dim " +
           std::to_string(head_dim) + ", window " + std::to_string(window) +
           (format == KvFormat::kFloat32 ? ", float32" : format == KvFormat::kInt8 ? ", int8" : ", bfloat16") +
           ", spread " + std::to_string(spread) + (soft_cap == 0 ? "" : ", soft cap " + std::to_string(soft_cap));
  }
};

struct Row {
  int32_t position, sequence;
};

// Rows of both sequences, in no order, at the edges of pages and splits.
std::vector<Row> mixed_rows() {
  std::vector<Row> rows;
  for (const int32_t position : {0, 1, 7, 31, 32, 63, 255, 256, 257, 300, 511, 512, 700, 1099, 40, 288, 999})
    rows.push_back({position, rows.size() % 3 == 2 ? 1 : 0});
  return rows;
}

// A prompt's chunk that crosses a split, between decodes: more rows than kernels for few rows take.
std::vector<Row> prompt_rows() {
  std::vector<Row> rows = {{290, 1}, {17, 0}};
  for (int32_t position = 215; position < 285; ++position) rows.push_back({position, 0});
  rows.push_back({700, 1});
  return rows;
}

// Two sequences of up to kContext positions, whose pages lie in no order.
class Attention {
 public:
  static constexpr int32_t kContext = 1100;
  static constexpr int32_t kPagesPerSequence = (kContext + kPageTokens - 1) / kPageTokens;

  explicit Attention(const Shape& shape, const std::vector<Row>& rows = mixed_rows())
      : shape_(shape),
        random_(static_cast<uint64_t>(shape.heads * 100 + shape.head_dim)),
        q_stride_((shape.heads + 2 * shape.kv_heads) * shape.head_dim),
        out_stride_(shape.heads * shape.head_dim + 2),
        scale_(1.0f / std::sqrt(static_cast<float>(shape.head_dim))) {
    // Page p of sequence s: a permutation of all pages.
    for (int32_t s = 0; s < 2; ++s)
      for (int32_t p = 0; p < kPagesPerSequence; ++p)
        tables_[s].push_back((2 * p + s) * 7 % (2 * kPagesPerSequence + 1));
    const size_t elements =
        static_cast<size_t>(2 * kPagesPerSequence + 1) * static_cast<size_t>(page_elements());
    k_ = random_.bfloat16_floats(elements, -shape.spread, shape.spread);
    v_ = random_.bfloat16_floats(elements, -1.0f, 1.0f);
    round(k_, k_scales_);
    round(v_, v_scales_);
    for (const Row& row : rows) {
      positions_.push_back(row.position);
      sequence_.push_back(row.sequence);
    }
    q_ = random_.floats(positions_.size() * size(q_stride_), -1.0f, 1.0f);
  }

  int32_t rows() const { return static_cast<int32_t>(positions_.size()); }

  // The value of K or V that a test may make faulty. cache 0: K, 1: V.
  void set(int cache, int32_t sequence, int32_t position, float value) {
    std::vector<float>& values = cache == 0 ? k_ : v_;
    values[element(sequence, position, 0, 0)] = value;
    round(values, cache == 0 ? k_scales_ : v_scales_);
  }

  // K and V as they were at first.
  void mend() {
    std::vector<Row> rows;
    for (size_t m = 0; m < positions_.size(); ++m) rows.push_back({positions_[m], sequence_[m]});
    *this = Attention(shape_, rows);
  }

  // shared: the parts may share splits out.
  std::vector<float> run(const Backend& backend, int32_t begin, int32_t end, int parts, bool shared = false) const {
    const Buffer k_store = store(backend, k_, k_scales_, true), v_store = store(backend, v_, v_scales_, false);
    constexpr int32_t kSplits = (kContext + kAttentionSplit - 1) / kAttentionSplit;
    const int32_t queries = std::min((end - begin) * shape_.heads / shape_.kv_heads, kAttentionTileQueries);
    std::vector<float> partials(static_cast<size_t>(attention_share_floats(parts, kSplits, queries, shape_.head_dim)));
    std::vector<std::atomic<uint32_t>> arrived(size(parts));
    const Unaligned q(q_);
    const size_t count = size(rows()) * size(out_stride_);
    const Unaligned out(std::vector<float>(count, 9.0f));
    std::vector<const int32_t*> tables;
    for (const int32_t sequence : sequence_)
      tables.push_back(tables_[sequence].data());
    AttentionPagedArgs args = {};
    args.q = q.data() + size(begin) * size(q_stride_);
    args.q_stride = q_stride_;
    args.rows = end - begin;
    args.heads = shape_.heads;
    args.kv_heads = shape_.kv_heads;
    args.head_dim = shape_.head_dim;
    args.scale = scale_;
    args.soft_cap = shape_.soft_cap;
    args.window = shape_.window;
    args.positions = positions_.data() + begin;
    args.block_tables = tables.data() + begin;
    args.cache = {k_store.as<void>(),   v_store.as<void>(),    page_elements(),       shape_.format,
                  backend.kv_layout(), k_scales_.as<float>(), v_scales_.as<float>(), page_elements() / shape_.head_dim};
    args.out = out.data() + size(begin) * size(out_stride_);
    args.out_stride = out_stride_;
    if (shared) args.share = {partials.data(), arrived.data(), kSplits, queries};
    run_parts(backend.ops().attention_paged, args, parts);
    if (shared) {  // a second call finds what the first has left
      std::fill_n(out.data(), count, 9.0f);
      run_parts(backend.ops().attention_paged, args, parts);
    }
    return std::vector<float>(out.data() + size(begin) * size(out_stride_),
                              out.data() + size(end) * size(out_stride_));
  }

  // Values lie within [-1, 1] and so do their averages. A weight's relative error is its score's absolute
  // error. See the contract for what bfloat16 products, or those of bytes, add.
  void check(const Backend& backend, const std::vector<float>& out) const {
    const double tolerance = 2e-5 * std::max(1.0f, shape_.spread / 8);
    const std::string what = label(backend, shape_.text());
    const bool bytes = shape_.format == KvFormat::kInt8 && has_byte_attention(backend, shape_.head_dim);
    const bool rounds = shape_.format != KvFormat::kFloat32 && backend.traits().bfloat16_attention && !bytes;
    for (int32_t m = 0; m < rows(); ++m) {
      const float* row = out.data() + size(m) * size(out_stride_);
      for (int32_t i = shape_.heads * shape_.head_dim; i < out_stride_; ++i)
        CHECK_EQ(row[i], 9.0f);
      for (int32_t h = 0; h < shape_.heads; ++h) {
        const Attended expected = attend(m, h, rounds, bytes);
        for (int32_t i = 0; i < shape_.head_dim; ++i)
          expect_near(what + ", position " + std::to_string(positions_[size(m)]),
                      size(h * shape_.head_dim + i), row[h * shape_.head_dim + i], expected.out[size(i)],
                      tolerance + (rounds ? expected.spread[size(i)] / 256 : bytes ? 32.0 / 131070 : 0));
      }
    }
  }

  const std::vector<int32_t>& positions() const { return positions_; }
  const std::vector<int32_t>& sequences() const { return sequence_; }
  int32_t out_stride() const { return out_stride_; }

 private:
  int64_t page_elements() const { return int64_t{shape_.kv_heads} * kPageTokens * shape_.head_dim; }

  // Leaves in `values` what a cache holds, and of int8 the scales.
  void round(std::vector<float>& values, Buffer& scales) const {
    if (shape_.format != KvFormat::kInt8) return;
    const size_t dim = size(shape_.head_dim);
    scales = Buffer(values.size() / dim * sizeof(float));
    std::vector<int8_t> q(dim);
    for (size_t group = 0; group < values.size() / dim; ++group) {
      const float scale = quantize_group_int8(values.data() + group * dim, shape_.head_dim, q.data());
      scales.as<float>()[group] = scale;
      for (size_t i = 0; i < dim; ++i) values[group * dim + i] = scale * static_cast<float>(q[i]);
    }
  }

  Buffer store(const Backend& backend, const std::vector<float>& values, const Buffer& scales, bool is_key) const {
    Buffer out(values.size() * kv_element_bytes(shape_.format));
    for (size_t i = 0; i < values.size(); ++i) {
      const size_t at = kv_place(backend, shape_.format, is_key, shape_.kv_heads, shape_.head_dim, size(page_elements()), i);
      if (shape_.format == KvFormat::kInt8) {
        const float scale = scales.as<float>()[i / size(shape_.head_dim)];
        out.as<int8_t>()[at] = !(scale > 0.0f) ? int8_t{0} : static_cast<int8_t>(std::lrint(values[i] / scale));
      } else if (shape_.format == KvFormat::kBFloat16) {
        out.as<uint16_t>()[at] = float32_to_bfloat16(values[i]);
      } else {
        out.as<float>()[at] = values[i];
      }
    }
    return out;
  }

  size_t element(int32_t sequence, int32_t position, int32_t kv_head, int32_t i) const {
    const int32_t page = tables_[sequence][size(position / kPageTokens)];
    return size(page) * static_cast<size_t>(page_elements()) +
           size((kv_head * kPageTokens + position % kPageTokens) * shape_.head_dim + i);
  }

  struct Attended {
    std::vector<double> out;     // [head_dim]
    std::vector<double> spread;  // [head_dim] weighted mean of |V - out|
  };
  // rounds: q to bfloat16; bytes: q to two bytes.
  Attended attend(int32_t m, int32_t h, bool rounds, bool bytes) const {
    const int32_t position = positions_[size(m)];
    const int32_t sequence = sequence_[size(m)];
    const int32_t kv_head = h / (shape_.heads / shape_.kv_heads);
    const int32_t first = shape_.window > 0 ? std::max(0, position - shape_.window + 1) : 0;
    const float* q = q_.data() + size(m) * size(q_stride_) + size(h * shape_.head_dim);
    const double step = std::fabs(*std::max_element(q, q + shape_.head_dim, [](float a, float b) { return std::fabs(a) < std::fabs(b); })) / 16256.0;
    std::vector<double> scores;
    for (int32_t j = first; j <= position; ++j) {
      double dot = 0;
      for (int32_t i = 0; i < shape_.head_dim; ++i) {
        const double factor = rounds ? bfloat16_to_float32(float32_to_bfloat16(q[i])) : bytes ? std::rint(q[i] / step) * step : q[i];
        dot += factor * k_[element(sequence, j, kv_head, i)];
      }
      const double score = dot * double{scale_}, cap = double{shape_.soft_cap};
      scores.push_back(cap == 0 ? score : cap * std::tanh(score / cap));
    }
    const double largest = *std::max_element(scores.begin(), scores.end());
    double sum = 0;
    for (double& score : scores)
      sum += score = std::exp(score - largest);
    Attended result = {std::vector<double>(size(shape_.head_dim), 0.0), std::vector<double>(size(shape_.head_dim), 0.0)};
    const auto value = [&](int32_t j, int32_t i) { return double{v_[element(sequence, j, kv_head, i)]}; };
    for (int32_t i = 0; i < shape_.head_dim; ++i) {
      for (int32_t j = first; j <= position; ++j)
        result.out[size(i)] += scores[size(j - first)] / sum * value(j, i);
      for (int32_t j = first; j <= position; ++j)
        result.spread[size(i)] += scores[size(j - first)] / sum * std::fabs(value(j, i) - result.out[size(i)]);
    }
    return result;
  }

  Shape shape_;
  Random random_;
  int32_t q_stride_, out_stride_;
  float scale_;
  std::vector<int32_t> tables_[2];
  std::vector<float> k_, v_, q_;  // K and V as the cache's dtype holds them
  Buffer k_scales_, v_scales_;
  std::vector<int32_t> positions_, sequence_;
};

std::vector<Shape> shapes() {
  std::vector<Shape> all;
  const int32_t sizes[][3] = {{3, 1, 64}, {4, 2, 6}, {2, 2, 80}, {4, 1, 256}, {1, 1, 512}};
  for (const auto& s : sizes)
    for (const KvFormat format : {KvFormat::kBFloat16, KvFormat::kFloat32, KvFormat::kInt8})
      for (const int32_t window : {0, 1, 40, 300}) {
        if (s[2] > 100 && window > 40) continue;  // long rows of wide heads: covered, and slow
        all.push_back({s[0], s[1], s[2], window, format, window == 40 ? 8.0f : 1.0f});
      }
  for (const KvFormat format : {KvFormat::kBFloat16, KvFormat::kFloat32, KvFormat::kInt8}) {
    all.push_back({3, 1, 64, 0, format, 8.0f, 2.0f});
    all.push_back({4, 2, 6, 40, format, 8.0f, 0.5f});
    all.push_back({2, 1, 256, 1, format, 1.0f, 1.0f});
  }
  return all;
}

std::vector<Shape> prompt_shapes() {
  std::vector<Shape> all;
  for (const KvFormat format : {KvFormat::kBFloat16, KvFormat::kInt8}) {
    all.push_back({3, 1, 64, 0, format, 1.0f});
    all.push_back({4, 2, 64, 40, format, 8.0f});
    all.push_back({2, 1, 80, 300, format, 1.0f});
    all.push_back({20, 1, 32, 100, format, 1.0f});
    all.push_back({2, 2, 128, 40, format, 1.0f});
    all.push_back({4, 1, 256, 40, format, 1.0f});
    all.push_back({4, 2, 64, 40, format, 8.0f, 2.0f});
  }
  all.push_back({2, 1, 64, 0, KvFormat::kFloat32, 1.0f});
  all.push_back({2, 1, 10, 40, KvFormat::kInt8, 1.0f});
  return all;
}

}  // namespace

TEST("ops/attention_paged: the equation, with windows, long contexts and grouped queries") {
  for (const Backend* backend : available_backends())
    for (const Shape& shape : shapes()) {
      const Attention attention(shape);
      attention.check(*backend, attention.run(*backend, 0, attention.rows(), 1));
    }
}

TEST("ops/attention_paged: bit-identical for any number of parts, and for a row alone or in any chunk") {
  for (const Backend* backend : available_backends())
    for (const Shape& shape : shapes()) {
      const Attention attention(shape);
      const std::string what = label(*backend, shape.text());
      const std::vector<float> whole = attention.run(*backend, 0, attention.rows(), 1);
      for (int parts = 2; parts <= 4; ++parts) {
        expect_same_bits(what, attention.run(*backend, 0, attention.rows(), parts), whole);
        expect_same_bits(what + ", splits shared out", attention.run(*backend, 0, attention.rows(), parts, true), whole);
      }
      for (const int32_t chunk : {1, 5})
        for (int32_t m = 0; m < attention.rows(); m += chunk) {
          const int32_t end = std::min(m + chunk, attention.rows());
          const std::vector<float> expected(whole.begin() + m * attention.out_stride(),
                                            whole.begin() + end * attention.out_stride());
          expect_same_bits(what + " in chunks", attention.run(*backend, m, end, 2), expected);
          expect_same_bits(what + " in chunks, splits shared out", attention.run(*backend, m, end, chunk + 1, true), expected);
        }
    }
}

TEST("ops/attention_paged: a prompt's rows among others, and the same bits for each in a step of few rows") {
  for (const Backend* backend : available_backends())
    for (const Shape& shape : prompt_shapes()) {
      const Attention attention(shape, prompt_rows());
      const std::vector<float> whole = attention.run(*backend, 0, attention.rows(), 3);
      attention.check(*backend, whole);
      for (const auto& [begin, end] : {std::pair{0, 1}, {1, 4}, {35, 45}, {60, attention.rows()}})
        expect_same_bits(label(*backend, shape.text()) + " in a step of few rows", attention.run(*backend, begin, end, 1),
                         std::vector<float>(whole.begin() + begin * attention.out_stride(),
                                            whole.begin() + end * attention.out_stride()));
    }
}

TEST("ops/attention_paged: keys after the row, before its window or of another sequence do not matter") {
  for (const Backend* backend : available_backends())
    for (const auto& [window, format, many] :
         {std::tuple{0, KvFormat::kFloat32, false}, {40, KvFormat::kFloat32, false}, {0, KvFormat::kBFloat16, false},
          {40, KvFormat::kBFloat16, false}, {0, KvFormat::kInt8, false}, {40, KvFormat::kInt8, false},
          {40, KvFormat::kBFloat16, true}, {40, KvFormat::kInt8, true}})
     for (const float soft_cap : {0.0f, 2.0f}) {
      Attention attention({3, 1, 64, window, format, 1.0f, soft_cap}, many ? prompt_rows() : mixed_rows());
      const std::vector<float> sound = attention.run(*backend, 0, attention.rows(), 1);
      constexpr int32_t kFaultAt = 257;
      const float fault = std::numeric_limits<float>::quiet_NaN();
      for (const int cache : {0, 1}) {
        attention.set(cache, 0, kFaultAt, fault);
        const std::vector<float> faulty = attention.run(*backend, 0, attention.rows(), 1);
        for (int32_t m = 0; m < attention.rows(); ++m) {
          const int32_t position = attention.positions()[size(m)];
          const bool sees = attention.sequences()[size(m)] == 0 && position >= kFaultAt &&
                            (window == 0 || position - window < kFaultAt);
          const size_t at = size(m) * size(attention.out_stride());
          for (size_t i = at; i < at + 3 * 64; ++i) {
            if (!sees)
              expect_near(label(*backend, "an unseen fault"), i, faulty[i], sound[i], 0);
            else if (cache == 0 ||
                     (i - at) % 64 == 0)  // a fault in K spoils the row, one in V its own element
              CHECK(std::isnan(faulty[i]));
          }
        }
        attention.mend();
      }
    }
}

TEST("ops/attention_paged: scores far apart neither overflow nor vanish") {
  for (const Backend* backend : available_backends())
    for (const KvFormat format : {KvFormat::kBFloat16, KvFormat::kFloat32, KvFormat::kInt8}) {
      // Scores spread over hundreds: one key takes nearly all of the weight, and every other exp underflows.
      const Attention attention({2, 1, 16, 0, format, 100.0f});
      attention.check(*backend, attention.run(*backend, 0, attention.rows(), 1));
      const Attention capped({2, 1, 16, 0, format, 1000.0f, 30.0f});
      capped.check(*backend, capped.run(*backend, 0, capped.rows(), 1));
    }
}
