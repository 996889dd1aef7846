// The shrink of ops/quantize_shrink.h by itself: ranks, types and segments of every kind, rows around the edges of tiles.
#include <algorithm>
#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "check.h"
#include "ops/op_case.h"
#include "ops/quantize_shrink.h"

using namespace lowrank;
using namespace lowrank::test;

namespace {

constexpr float kUntouched = 77.0f;

size_t size(int32_t value) { return static_cast<size_t>(value); }

struct TermShape {
  int32_t rank;
  LoraDType dtype;
};
// Rows in a run, with one adapter of these terms; of no terms: rows without an adapter.
struct RunShape {
  int32_t rows;
  std::vector<TermShape> terms;
};

// quantize_shrink of rows with float output, so that u is x itself.
class ShrinkCase {
 public:
  ShrinkCase(const Backend& backend, int32_t cols, const std::vector<RunShape>& runs)
      : backend_(backend), cols_(cols), random_(static_cast<uint64_t>(cols) * 31 + runs.size()) {
    for (const RunShape& run : runs) {
      Segment segment{rows_, rows_ + run.rows, {}, {}};
      int32_t h_offset = 1;
      for (const TermShape& term : run.terms) {
        segment.factors.push_back(std::make_unique<TestFactors>(backend, random_, term.rank, cols, 1, term.dtype));
        const TestFactors& factors = *segment.factors.back();
        const float scale = 0.25f + static_cast<float>(h_offset);
        segment.terms.push_back({factors.a_packed.get(), h_offset, scale, factors.rank_scale_or_null()});
        h_offset += term.rank + 1;  // what lies between terms is nobody's
      }
      h_stride_ = std::max(h_stride_, h_offset);
      rows_ += run.rows;
      segments_.push_back(std::move(segment));
    }
    x_ = random_.floats(size(rows_) * size(cols), -3.0f, 3.0f);
  }

  int32_t rows() const { return rows_; }
  int32_t h_stride() const { return h_stride_; }
  float& x(int32_t m, int32_t k) { return x_[size(m) * size(cols_) + size(k)]; }

  // h of rows [begin, end) as a batch of their own.
  std::vector<float> run(int32_t begin, int32_t end) const {
    const Unaligned x(std::vector<float>(x_.begin() + begin * cols_, x_.begin() + end * cols_));
    ActivationStore out(ActivationFormat::kFloat32, end - begin, cols_);
    Unaligned h(std::vector<float>(size(end - begin) * size(h_stride_), kUntouched));
    std::vector<AdapterRows> rows;
    for (const Segment& segment : segments_) {
      AdapterRows one{};
      one.row_begin = std::max(segment.begin, begin) - begin;
      one.row_end = std::min(segment.end, end) - begin;
      one.shrink = segment.terms.data();
      one.shrink_count = static_cast<int32_t>(segment.terms.size());
      if (one.row_begin < one.row_end && one.shrink_count > 0) rows.push_back(one);
    }
    QuantizeShrinkArgs args{};
    args.x = x.data();
    args.x_stride = cols_;
    args.rows = end - begin;
    args.out = out.view;
    args.adapters = {rows.data(), static_cast<int32_t>(rows.size()), h.data(), h_stride_};
    run_parts(backend_.ops().quantize_shrink, args, 1);
    return {h.data(), h.data() + size(end - begin) * size(h_stride_)};
  }

  // Fails where h of row m is not what the equation gives.
  void check(const std::vector<float>& h, int32_t m, const std::string& what) const {
    std::vector<double> expected(size(h_stride_), double{kUntouched}), allowed(size(h_stride_), 0.0);
    for (const Segment& segment : segments_)
      for (size_t t = 0; m >= segment.begin && m < segment.end && t < segment.terms.size(); ++t) {
        const TestFactors& factors = *segment.factors[t];
        for (int32_t r = 0; r < factors.rank; ++r) {
          double sum = 0, magnitude = 0;
          for (int32_t k = 0; k < cols_; ++k) {
            const double product = low_rank_input(backend_, factors.dtype, x_[size(m) * size(cols_) + size(k)]) *
                                   factors.a[size(r) * size(cols_) + size(k)];
            sum += product;
            magnitude += std::fabs(product);
          }
          const double scale = segment.terms[t].scale * factors.scale_of(r);
          expected[size(segment.terms[t].h_offset + r)] = scale * sum;
          allowed[size(segment.terms[t].h_offset + r)] =
              std::fabs(scale) * magnitude * kFloatEpsilon / 2 * (71 + cols_ / 64);
        }
      }
    for (size_t r = 0; r < size(h_stride_); ++r)
      expect_near(what + ", h of row " + std::to_string(m), r, h[size(m) * size(h_stride_) + r], expected[r], allowed[r]);
  }

 private:
  struct Segment {
    int32_t begin, end;
    std::vector<std::unique_ptr<TestFactors>> factors;
    std::vector<ShrinkTerm> terms;
  };
  const Backend& backend_;
  int32_t cols_, rows_ = 0, h_stride_ = 1;
  Random random_;
  std::vector<Segment> segments_;
  std::vector<float> x_;
};

// The equation, and each row alone and in pairs with the same bits.
void check_case(const Backend& backend, int32_t cols, const std::vector<RunShape>& runs, const std::string& name) {
  const ShrinkCase call(backend, cols, runs);
  const std::string what = label(backend, name + ", K " + std::to_string(cols) + ", M " + std::to_string(call.rows()));
  const std::vector<float> h = call.run(0, call.rows());
  const auto part = [&](int32_t begin, int32_t end) {
    return std::vector<float>(h.begin() + begin * call.h_stride(), h.begin() + end * call.h_stride());
  };
  for (int32_t m = 0; m < call.rows(); ++m) {
    call.check(h, m, what);
    expect_same_bits(what + ", row " + std::to_string(m) + " alone", call.run(m, m + 1), part(m, m + 1));
  }
  for (int32_t m = 0; m + 1 < call.rows(); m += 5)
    expect_same_bits(what + ", two rows from " + std::to_string(m), call.run(m, m + 2), part(m, m + 2));
}

constexpr LoraDType kTypes[] = {LoraDType::kBFloat16, LoraDType::kInt8, LoraDType::kFloat32};

}  // namespace

TEST("ops/shrink: any rank of any type, by one row and by more than two tiles") {
  for (const Backend* backend : available_backends())
    for (const LoraDType dtype : kTypes)
      for (const int32_t rank : {1, 7, 16, 17, 40})
        for (const int32_t rows : {1, 7, 8, 9, 17})
          check_case(*backend, rank == 16 ? 576 : 323, {{rows, {{rank, dtype}}}}, "rank " + std::to_string(rank));
}

TEST("ops/shrink: segments of one row and more within a tile, rows without an adapter between them") {
  const TermShape bfloat16 = {16, LoraDType::kBFloat16}, int8 = {7, LoraDType::kInt8}, float32 = {5, LoraDType::kFloat32};
  for (const Backend* backend : available_backends()) {
    check_case(*backend, 576, {{1, {bfloat16}}, {1, {int8}}, {1, {float32}}, {2, {}}, {1, {bfloat16, int8}}, {3, {int8}}},
               "segments");
    check_case(*backend, 832, {{3, {}}, {6, {bfloat16, bfloat16, bfloat16}}, {1, {}}, {8, {float32, int8}}}, "segments");
    std::vector<RunShape> each(16, {1, {bfloat16}});
    check_case(*backend, 512, each, "an adapter for each row");
  }
}

TEST("ops/shrink: several adapters together, more ranks than a block takes at once") {
  std::vector<TermShape> many;
  for (int32_t i = 0; i < 40; ++i) many.push_back({1 + i % 19, kTypes[i % 3]});
  for (const Backend* backend : available_backends()) {
    check_case(*backend, 320, {{2, many}, {1, {}}, {3, {{300, LoraDType::kBFloat16}}}}, "many terms");
    check_case(*backend, 200, {{9, {{300, LoraDType::kInt8}, {3, LoraDType::kBFloat16}}}}, "many ranks");
    check_case(*backend, 70, {{1, std::vector<TermShape>(99, {2, LoraDType::kBFloat16})}}, "lists filled again");
  }
}

TEST("ops/shrink: a row that is not finite shows in its own h alone") {
  for (const Backend* backend : available_backends())
    for (const float fault : {std::nanf(""), HUGE_VALF}) {
      ShrinkCase call(*backend, 576, {{9, {{16, LoraDType::kBFloat16}, {3, LoraDType::kFloat32}, {2, LoraDType::kInt8}}}});
      const std::vector<float> sound = call.run(0, 9);
      call.x(3, 300) = fault;
      const std::vector<float> h = call.run(0, 9);
      for (int32_t m = 0; m < 9; ++m)
        for (const int32_t r : {1, 18, 22})
          if (m == 3)
            CHECK(!std::isfinite(h[size(m * call.h_stride() + r)]));
          else
            CHECK_EQ(h[size(m * call.h_stride() + r)], sound[size(m * call.h_stride() + r)]);
    }
}
