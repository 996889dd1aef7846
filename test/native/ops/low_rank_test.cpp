// The low-rank path of one product, from x to y: h by quantize_shrink, y by matmul_expand over weights of zero. Every format of A and
// B, ranks that fill groups of four and others, rows of different adapters side by side, and one adapter of two formats.
#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "check.h"
#include "ops/op_case.h"

using namespace lowrank;
using namespace lowrank::test;

namespace {

constexpr int32_t kRows = 13;
constexpr int kRowAdapters[kRows] = {-1, 1, 1, 2, 0, 3, -1, 1, 0, 2, 2, 3, 1};  // -1: none
constexpr int32_t kZeroRow = 7;

size_t size(int32_t value) { return static_cast<size_t>(value); }

class LowRank {
 public:
  LowRank(const Backend& backend, int32_t rank, int32_t k, int32_t n)
      : backend_(backend), k_(k), n_(n), random_(static_cast<uint64_t>(rank * 10007 + k * 101 + n)) {
    matrix_ = make_matrix(backend, {n, k, WeightFormat::kInt8, ActivationFormat::kInt8},
                          std::vector<float>(size(n) * size(k), 0.0f));
    x_ = random_.floats(size(kRows) * size(k), -1.0f, 1.0f);
    std::fill_n(x_.begin() + kZeroRow * k, k, 0.0f);
    add_adapter({{rank, LoraDType::kBFloat16}});
    add_adapter({{rank, LoraDType::kInt8}});
    add_adapter({{3, LoraDType::kBFloat16}, {rank, LoraDType::kInt8}});
    add_adapter({{rank, LoraDType::kFloat32}, {1, LoraDType::kInt8}});
  }

  // y [end - begin, n]
  std::vector<float> run(int32_t begin, int32_t end, int parts) const {
    const int32_t rows = end - begin;
    std::vector<AdapterRows> segments;
    for (int32_t m = begin; m < end; ++m) {
      if (kRowAdapters[m] < 0) continue;
      const bool extends = m > begin && kRowAdapters[m - 1] == kRowAdapters[m];
      if (extends) {
        segments.back().row_end = m - begin + 1;
        continue;
      }
      const Adapter& adapter = *adapters_[static_cast<size_t>(kRowAdapters[m])];
      AdapterRows segment = {};
      segment.row_begin = m - begin;
      segment.row_end = m - begin + 1;
      segment.shrink = adapter.shrink.data();
      segment.shrink_count = static_cast<int32_t>(adapter.shrink.size());
      segment.expand = adapter.expand.data();
      segment.expand_count = static_cast<int32_t>(adapter.expand.size());
      segments.push_back(segment);
    }
    std::vector<float> h(size(rows) * size(h_stride_), std::nanf(""));
    const AdapterSegments adapters{segments.data(), static_cast<int32_t>(segments.size()), h.data(), h_stride_};
    ActivationStore in(ActivationFormat::kInt8, rows, k_);
    const Unaligned x(std::vector<float>(x_.begin() + begin * k_, x_.begin() + end * k_));
    run_parts(backend_.ops().quantize_shrink, QuantizeShrinkArgs{x.data(), k_, rows, {}, in.view, adapters}, parts);
    std::vector<float> y(size(rows) * size(n_));
    const MatmulExpandArgs args{in.view, matrix_.packed.get(), 0, rows, nullptr, nullptr, y.data(), n_, adapters};
    run_parts(backend_.ops().matmul_expand, args, parts);
    return y;
  }

  void check(const std::vector<float>& y, const std::string& what) const {
    for (int32_t m = 0; m < kRows; ++m)
      for (int32_t n = 0; n < n_; ++n) {
        double sum = 0, magnitude = 0, rounding = 0;
        const int index = kRowAdapters[m];
        for (size_t t = 0; index >= 0 && t < adapters_[static_cast<size_t>(index)]->factors.size(); ++t) {
          const Adapter& adapter = *adapters_[static_cast<size_t>(index)];
          const TestFactors& factors = *adapter.factors[t];
          for (int32_t r = 0; r < factors.rank; ++r) {
            const double factor = double{adapter.shrink[t].scale} * factors.scale_of(r) *
                                  factors.b[size(n) * size(factors.rank) + size(r)];
            double h = 0;
            for (int32_t k = 0; k < k_; ++k) {
              const double term = factor * low_rank_input(backend_, factors.dtype, x_[size(m) * size(k_) + size(k)]) *
                                  factors.a[size(r) * size(k_) + size(k)];
              h += term;
              magnitude += std::fabs(term);
            }
            sum += h;
            // h is known only nearly, so which way it was rounded is not.
            if (low_rank_input(backend_, factors.dtype, 1.0 / 3) != 1.0 / 3) rounding += std::fabs(h) / 256;
          }
        }
        expect_near(what, size(m) * size(n_) + size(n), y[size(m) * size(n_) + size(n)], sum,
                    rounding + magnitude * kFloatEpsilon / 2 * (75 + k_ / 64));
      }
  }

 private:
  struct Adapter {
    std::vector<std::unique_ptr<TestFactors>> factors;
    std::vector<ShrinkTerm> shrink;
    std::vector<ExpandTerm> expand;
  };
  struct Format {
    int32_t rank;
    LoraDType dtype;
  };

  void add_adapter(const std::vector<Format>& formats) {
    auto adapter = std::make_unique<Adapter>();
    int32_t width = 0;
    for (const Format& format : formats) {
      auto factors = std::make_unique<TestFactors>(backend_, random_, format.rank, k_, n_, format.dtype);
      adapter->shrink.push_back({factors->a_packed.get(), width, random_.uniform(0.5f, 2.0f), factors->rank_scale_or_null()});
      adapter->expand.push_back({factors->b_packed.get(), width, 0});
      width += format.rank;
      adapter->factors.push_back(std::move(factors));
    }
    h_stride_ = std::max(h_stride_, width);
    adapters_.push_back(std::move(adapter));
  }

  const Backend& backend_;
  int32_t k_;
  int32_t n_;
  Random random_;
  TestMatrix matrix_;
  std::vector<float> x_;  // [kRows, k]
  std::vector<std::unique_ptr<Adapter>> adapters_;
  int32_t h_stride_ = 0;
};

template <class Body>
void for_each_case(const Body& body) {
  const int32_t sizes[][2] = {{1, 1}, {63, 5}, {65, 16}, {130, 49}, {576, 33}, {4161, 17}};
  for (const Backend* backend : available_backends())
    for (const int32_t rank : {1, 3, 8, 16, 33, 64})
      for (const auto& s : sizes)
        body(LowRank(*backend, rank, s[0], s[1]),
             label(*backend, "rank " + std::to_string(rank) + ", K " + std::to_string(s[0]) + ", N " + std::to_string(s[1])));
}

}  // namespace

TEST("ops/low_rank: y = scale B A x for every format of A and B, rows of different adapters mixed") {
  for_each_case([](const LowRank& product, const std::string& what) { product.check(product.run(0, kRows, 1), what); });
}

TEST("ops/low_rank: bit-identical for any number of parts, and for a row alone or among few") {
  for_each_case([](const LowRank& product, const std::string& what) {
    const std::vector<float> whole = product.run(0, kRows, 1);
    for (const int parts : {2, 3, 5}) expect_same_bits(what + " in parts", product.run(0, kRows, parts), whole);
    const size_t columns = whole.size() / size(kRows);
    for (const int32_t rows : {1, 4})
      for (int32_t begin = 0; begin < kRows; begin += rows) {
        const int32_t end = std::min(begin + rows, kRows);
        const auto first = whole.begin() + static_cast<std::ptrdiff_t>(size(begin) * columns);
        const auto last = whole.begin() + static_cast<std::ptrdiff_t>(size(end) * columns);
        expect_same_bits(what + " alone", product.run(begin, end, 2), std::vector<float>(first, last));
      }
  });
}
