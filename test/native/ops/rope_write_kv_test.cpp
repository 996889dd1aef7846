#include "ops/rope_write_kv.h"

#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "check.h"
#include "core/float16.h"
#include "ops/op_case.h"
#include "quant/int8.h"

using namespace lowrank;
using namespace lowrank::test;

namespace {

constexpr float kNormEpsilon = 1e-6f;
constexpr float kUntouched = -3.0f;  // bfloat16 holds it

struct Shape {
  int32_t rows, heads, kv_heads, head_dim;
  KvFormat format;
  bool norms, own_norms;
  bool joint = false, rotates = true;
  std::string text() const {
    return "M " + std::to_string(rows) + ", heads " + std::to_string(heads) + "/" + std::to_string(kv_heads) +
           ", head_dim " + std::to_string(head_dim) +
           (format == KvFormat::kFloat32 ? ", float32" : format == KvFormat::kInt8 ? ", int8" : ", bfloat16") + (norms ? ", norms" : "") +
           (own_norms ? ", own norms" : "") + (joint ? ", over all heads" : "") + (rotates ? "" : ", no rotation");
  }
};

size_t size(int32_t value) { return static_cast<size_t>(value); }

// Rows of three sequences at scattered positions, over pages in no order.
class Rope {
 public:
  static constexpr int32_t kPages = 12;

  explicit Rope(const Shape& shape)
      : shape_(shape),
        random_(static_cast<uint64_t>(shape.rows * 31 + shape.head_dim)),
        width_((shape.heads + 2 * shape.kv_heads) * shape.head_dim),
        stride_(width_ + 3),
        qkv_(random_.floats(size(shape.rows) * size(stride_), -2.0f, 2.0f)),
        cosine_(random_.floats(size(shape.rows) * size(shape.head_dim / 2), -1.0f, 1.0f)),
        sine_(random_.floats(size(shape.rows) * size(shape.head_dim / 2), -1.0f, 1.0f)) {
    for (int i = 0; i < 4; ++i)
      gains_.push_back(random_.floats(size(shape.head_dim * (!shape.joint ? 1 : i % 2 == 0 ? shape.heads : shape.kv_heads)), 0.5f, 1.5f));
    const int32_t places[][2] = {{0, 0}, {1, 31}, {1, 32}, {2, 100}, {0, 127},
                                 {2, 0}, {0, 64}, {1, 5},  {2, 77}};
    for (int32_t m = 0; m < shape.rows; ++m) {
      positions_.push_back(places[m % 9][1]);
      tables_.push_back(kTables[places[m % 9][0]]);
    }
  }

  struct Result {
    std::vector<float> q;     // [rows, heads * head_dim]
    std::vector<float> k, v;  // the whole cache, as float32
    std::vector<float> gap;   // what lies between the rows of qkv
  };

  Result run(const Backend& backend, int32_t begin, int32_t end, int parts) const {
    const Unaligned qkv(qkv_), cosine(cosine_), sine(sine_);
    std::vector<Unaligned> gains;
    for (const std::vector<float>& gain : gains_)
      gains.emplace_back(gain);
    std::vector<const float*> q_rows(size(shape_.rows), nullptr), k_rows(size(shape_.rows), nullptr);
    for (size_t m = 0; m < q_rows.size(); ++m) {
      q_rows[m] = m % 2 == 0 ? gains[2].data() : gains[0].data();
      k_rows[m] = m % 2 == 0 ? gains[3].data() : gains[1].data();
    }
    const size_t elements = size(kPages) * size(page_elements());
    const bool bfloat16 = shape_.format == KvFormat::kBFloat16;
    const bool int8 = shape_.format == KvFormat::kInt8;
    const size_t element = kv_element_bytes(shape_.format);
    Buffer k(elements * element), v(elements * element);
    Buffer k_scale(size(kPages) * size(page_scales()) * sizeof(float)), v_scale(k_scale.bytes());
    for (Buffer* scale : {&k_scale, &v_scale})
      std::fill_n(scale->as<float>(), size(kPages) * size(page_scales()), kUntouched);
    for (Buffer* cache : {&k, &v})
      for (size_t i = 0; i < elements; ++i) {
        if (int8)
          cache->as<int8_t>()[i] = 1;  // times the scale: untouched
        else if (bfloat16)
          cache->as<uint16_t>()[i] = float32_to_bfloat16(kUntouched);
        else
          cache->as<float>()[i] = kUntouched;
      }
    RopeWriteKvArgs args = {};
    args.qkv = qkv.data() + size(begin) * size(stride_);
    args.stride = stride_;
    args.rows = end - begin;
    args.heads = shape_.heads;
    args.kv_heads = shape_.kv_heads;
    args.head_dim = shape_.head_dim;
    if (shape_.rotates) {
      args.cosine = cosine.data() + size(begin) * size(shape_.head_dim / 2);
      args.sine = sine.data() + size(begin) * size(shape_.head_dim / 2);
    }
    args.joint_norms = shape_.joint;
    if (shape_.norms) {
      args.q_norm = gains[0].data();
      args.k_norm = gains[1].data();
    }
    if (shape_.own_norms) {
      args.q_norm_rows = q_rows.data() + begin;
      args.k_norm_rows = k_rows.data() + begin;
    }
    args.norm_epsilon = kNormEpsilon;
    args.positions = positions_.data() + begin;
    args.block_tables = tables_.data() + begin;
    args.cache = {k.as<void>(),         v.as<void>(),         page_elements(), shape_.format,
                  backend.kv_layout(), k_scale.as<float>(), v_scale.as<float>(), page_scales()};
    run_parts(backend.ops().rope_write_kv, args, parts);

    Result result;
    const auto to_float = [&](const Buffer& cache, const Buffer& scale, bool is_key) {
      std::vector<float> values(elements);
      for (size_t i = 0; i < elements; ++i) {
        const size_t at =
            kv_place(backend, shape_.format, is_key, shape_.kv_heads, shape_.head_dim, size(page_elements()), i);
        values[i] = int8 ? static_cast<float>(cache.as<int8_t>()[at]) * scale.as<float>()[scale_index(i)]
                    : bfloat16 ? bfloat16_to_float32(cache.as<uint16_t>()[at]) : cache.as<float>()[at];
      }
      return values;
    };
    result.k = to_float(k, k_scale, true);
    result.v = to_float(v, v_scale, false);
    for (int32_t m = begin; m < end; ++m) {
      const float* row = qkv.data() + size(m) * size(stride_);
      result.q.insert(result.q.end(), row, row + shape_.heads * shape_.head_dim);
      result.gap.insert(result.gap.end(), row + width_, row + stride_);
    }
    return result;
  }

  void check(const Backend& backend, const Result& result) const {
    const std::string what = label(backend, shape_.text());
    const bool int8 = shape_.format == KvFormat::kInt8;
    std::vector<float> k(result.k.size(), kUntouched), v(k);
    std::vector<double> k_expected(k.begin(), k.end()), v_expected(k_expected), k_slack(k.size(), 0.0);
    for (int32_t m = 0; m < shape_.rows; ++m) {
      for (int32_t h = 0; h < shape_.heads + shape_.kv_heads; ++h) {
        const bool is_q = h < shape_.heads;
        const std::vector<double> rotated = rotate(m, h, is_q);
        const double slack = 5e-6 * max_abs(rotated);
        for (int32_t i = 0; i < shape_.head_dim; ++i) {
          if (is_q) {
            const size_t at = size(m) * size(shape_.heads * shape_.head_dim) + size(h * shape_.head_dim + i);
            expect_near(what + " q", at, result.q[at], rotated[size(i)], slack);
          } else {
            k_expected[cache_index(m, h - shape_.heads, i)] = rotated[size(i)];
            k_slack[cache_index(m, h - shape_.heads, i)] = slack;
          }
        }
      }
      for (int32_t h = 0; h < shape_.kv_heads; ++h) {
        const float* value = head(m, shape_.heads + shape_.kv_heads + h);
        std::vector<int8_t> q(size(shape_.head_dim));
        const float scale = quantize_group_int8(value, shape_.head_dim, q.data());
        for (int32_t i = 0; i < shape_.head_dim; ++i) {
          v_expected[cache_index(m, h, i)] = int8 ? static_cast<float>(q[size(i)]) * scale : value[i];
          // Half a step of k's own scale.
          if (int8) k_slack[cache_index(m, h, i)] += 0.51 / 127 * max_abs(rotate(m, shape_.heads + h, false));
        }
      }
    }
    const double half_ulp =
        shape_.format == KvFormat::kBFloat16 ? 1.0 / 256 : kFloatEpsilon / 2;  // relative, at most
    for (size_t i = 0; i < k.size(); ++i) {
      expect_near(what + " k", i, result.k[i], k_expected[i],
                  k_slack[i] + half_ulp * std::fabs(k_expected[i]));
      // v is only rounded, so it is known exactly.
      const auto value = static_cast<float>(v_expected[i]);
      const float rounded =
          shape_.format == KvFormat::kBFloat16 ? bfloat16_to_float32(float32_to_bfloat16(value)) : value;
      expect_near(what + " v", i, result.v[i], rounded, 0);
    }
    for (size_t i = 0; i < result.gap.size(); ++i)
      expect_near(what + " gap", i, result.gap[i], qkv_[(i / 3) * size(stride_) + size(width_) + i % 3], 0);
  }

 private:
  static constexpr int32_t kTables[3][4] = {{7, 2, 11, 0}, {4, 9, 1, 3}, {10, 5, 8, 6}};

  static double max_abs(const std::vector<double>& values) {
    double largest = 0;
    for (const double value : values)
      largest = std::max(largest, std::fabs(value));
    return largest;
  }
  // Pages hold a few elements more than the heads need: the stride between pages is the cache's affair.
  int64_t page_elements() const { return int64_t{shape_.kv_heads} * kPageTokens * shape_.head_dim + 16; }

  // Likewise, and no multiple of the elements'.
  int64_t page_scales() const { return int64_t{shape_.kv_heads} * kPageTokens + 3; }
  // The scale of an element; past the heads, any.
  size_t scale_index(size_t element) const {
    const size_t page = element / size(page_elements());
    const size_t slot = element % size(page_elements()) / size(shape_.head_dim);
    return page * size(page_scales()) + std::min(slot, size(page_scales()) - 1);
  }

  const float* head(int32_t m, int32_t h) const {
    return qkv_.data() + size(m) * size(stride_) + size(h) * size(shape_.head_dim);
  }
  size_t cache_index(int32_t m, int32_t kv_head, int32_t i) const {
    const int32_t position = positions_[size(m)];
    const int32_t page = tables_[size(m)][position / kPageTokens];
    return size(page) * static_cast<size_t>(page_elements()) +
           size((kv_head * kPageTokens + position % kPageTokens) * shape_.head_dim + i);
  }
  std::vector<double> rotate(int32_t m, int32_t h, bool is_q) const {
    const float* x = head(m, h);
    std::vector<double> normed(x, x + shape_.head_dim);
    if (shape_.norms || shape_.own_norms) {
      const float* first = !shape_.joint ? x : is_q ? head(m, 0) : head(m, shape_.heads);
      const int32_t count = shape_.head_dim * (!shape_.joint ? 1 : is_q ? shape_.heads : shape_.kv_heads);
      double squares = 0;
      for (int32_t i = 0; i < count; ++i)
        squares += double{first[i]} * first[i];
      const bool own = shape_.own_norms && m % 2 == 0;
      const std::vector<float>& gain = gains_[(own ? 2 : 0) + (is_q ? 0 : 1)];
      for (size_t i = 0; i < normed.size(); ++i)
        normed[i] = normed[i] / std::sqrt(squares / count + double{kNormEpsilon}) * gain[i + static_cast<size_t>(x - first)];
    }
    if (!shape_.rotates) return normed;
    std::vector<double> rotated(normed.size());
    const size_t half = normed.size() / 2;
    for (size_t i = 0; i < half; ++i) {
      const double c = cosine_[size(m) * half + i];
      const double s = sine_[size(m) * half + i];
      rotated[i] = normed[i] * c - normed[i + half] * s;
      rotated[i + half] = normed[i + half] * c + normed[i] * s;
    }
    return rotated;
  }

  Shape shape_;
  Random random_;
  int32_t width_, stride_;
  std::vector<float> qkv_, cosine_, sine_;
  std::vector<std::vector<float>> gains_;  // q, k of the base; q, k of a row
  std::vector<int32_t> positions_;
  std::vector<const int32_t*> tables_;
};

std::vector<Shape> shapes() {
  std::vector<Shape> all;
  const int32_t sizes[][4] = {{1, 1, 1, 2}, {9, 3, 1, 64}, {5, 4, 2, 6}, {7, 2, 2, 80}, {2, 8, 1, 256}};
  for (const auto& s : sizes)
    for (const KvFormat format : {KvFormat::kBFloat16, KvFormat::kFloat32, KvFormat::kInt8})
      for (int norms = 0; norms < 3; ++norms)
        for (const bool rotates : {true, false}) {
          all.push_back({s[0], s[1], s[2], s[3], format, norms > 0, norms > 1, false, rotates});
          if (norms > 0) all.push_back({s[0], s[1], s[2], s[3], format, true, norms > 1, true, rotates});
        }
  return all;
}

}  // namespace

TEST("ops/rope_angles: the float32 angle's cosine and sine, times the attention factor") {
  for (const Backend* backend : available_backends()) {
    const std::vector<int32_t> positions = {0, 1, 2, 31, 1000, 8191, 131071};
    for (const int32_t half_dim : {1, 3, 16, 32, 37, 128}) {
      std::vector<float> frequencies;
      for (int32_t i = 0; i < half_dim; ++i)
        frequencies.push_back(std::pow(10000.0f, -static_cast<float>(i) / static_cast<float>(half_dim)));
      const size_t count = positions.size() * size(half_dim);
      for (const float factor : {1.0f, 1.25f})
        for (int parts = 1; parts <= 4; ++parts) {
          std::vector<float> cosine(count), sine(count);
          run_parts(backend->ops().rope_angles,
                    RopeAnglesArgs{positions.data(), static_cast<int32_t>(positions.size()),
                                   frequencies.data(), half_dim, factor, cosine.data(), sine.data()},
                    parts);
          for (size_t i = 0; i < count; ++i) {
            const float angle =
                static_cast<float>(positions[i / size(half_dim)]) * frequencies[i % size(half_dim)];
            const std::string what = label(*backend, "angle " + std::to_string(angle));
            expect_near(what + " cosine", i, cosine[i], std::cos(double{angle}) * double{factor},
                        2e-7 * 1.25);
            expect_near(what + " sine", i, sine[i], std::sin(double{angle}) * double{factor}, 2e-7 * 1.25);
          }
        }
    }
  }
}

TEST("ops/rope_write_kv: the equations, and nothing else of the cache touched") {
  for (const Backend* backend : available_backends())
    for (const Shape& shape : shapes()) {
      const Rope rope(shape);
      rope.check(*backend, rope.run(*backend, 0, shape.rows, 1));
    }
}

TEST("ops/rope_write_kv: bit-identical for any number of parts, and for a row alone") {
  for (const Backend* backend : available_backends())
    for (const Shape& shape : shapes()) {
      const Rope rope(shape);
      const std::string what = label(*backend, shape.text());
      const Rope::Result whole = rope.run(*backend, 0, shape.rows, 1);
      for (int parts = 2; parts <= 4; ++parts) {
        const Rope::Result split = rope.run(*backend, 0, shape.rows, parts);
        expect_same_bits(what + " q", split.q, whole.q);
        expect_same_bits(what + " k", split.k, whole.k);
        expect_same_bits(what + " v", split.v, whole.v);
      }
      // Each row writes elements of its own: the caches of all rows run alone, overlaid, are the whole one.
      Rope::Result overlaid;
      overlaid.k.assign(whole.k.size(), kUntouched);
      overlaid.v = overlaid.k;
      for (int32_t m = 0; m < shape.rows; ++m) {
        const Rope::Result alone = rope.run(*backend, m, m + 1, 1);
        overlaid.q.insert(overlaid.q.end(), alone.q.begin(), alone.q.end());
        for (size_t i = 0; i < whole.k.size(); ++i) {
          if (alone.k[i] != kUntouched) overlaid.k[i] = alone.k[i];
          if (alone.v[i] != kUntouched) overlaid.v[i] = alone.v[i];
        }
      }
      expect_same_bits(what + " q alone", overlaid.q, whole.q);
      expect_same_bits(what + " k alone", overlaid.k, whole.k);
      expect_same_bits(what + " v alone", overlaid.v, whole.v);
    }
}
