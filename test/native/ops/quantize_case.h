// One call of a quantise op (ops/quantize_shrink.h) with all that it reads, and its equations in double precision.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "ops/op_case.h"
#include "ops/quantize_shrink.h"
#include "ops/transform_case.h"

namespace lowrank::test {

enum class QuantizeKind { kRmsNorm, kPlain, kSilu, kGeluTanh };
inline constexpr QuantizeKind kQuantizeKinds[] = {QuantizeKind::kRmsNorm, QuantizeKind::kPlain, QuantizeKind::kSilu,
                                                  QuantizeKind::kGeluTanh};
const char* name_of(QuantizeKind kind);

struct QuantizeShape {
  QuantizeKind kind;
  int32_t m, k;
  ActivationFormat format;
  bool adapters = false, indexed = false;
  TransformKind transform = {};
  int32_t group = kDefaultScaleGroup;
  std::string text() const;
};

// What an op left for its rows, copied out for comparisons.
struct QuantizeOutput {
  std::vector<float> values;    // [M, stride]: values, or q
  std::vector<float> scale;     // [M, groups], int8 only
  std::vector<int32_t> compensation;  // [M, groups], int8 on the CPU only: see Activations
  std::vector<float> outliers;  // [M, outlier count], int8 only
  std::vector<float> h;         // [M, h_stride]
  // Row m of `rows`.
  QuantizeOutput row(int32_t m, int32_t rows) const;
};
void expect_same(const std::string& what, const QuantizeOutput& actual, const QuantizeOutput& expected);

// The numbers follow from the seed alone, not from the backend.
class QuantizeCase {
 public:
  QuantizeCase(const Backend& backend, const QuantizeShape& shape);

  // Element k of the float row that row m reads (for the GLUs: K gates, then K ups).
  float& x(int32_t m, int32_t k);
  const TestTransform& transform() const { return transform_; }

  QuantizeOutput run(int parts) const { return run_rows(0, shape_.m, parts); }
  // Rows [begin, end) as a batch of their own.
  QuantizeOutput run_rows(int32_t begin, int32_t end, int parts) const;

  // Fails where the output is not what the equations give.
  void check(const QuantizeOutput& out);

  static constexpr int32_t kHStride = 41;

 private:
  struct Row {
    std::vector<double> u;           // [K]
    std::vector<double> tolerances;  // [K] how far float32 may be from it
  };
  Row expected_row(int32_t m);
  void make_adapters();
  const AdapterRows* segment_of(int32_t m) const;
  void check_int8(const QuantizeOutput& out, int32_t m, const Row& row, const std::string& what) const;
  void check_h(const QuantizeOutput& out, int32_t m, const Row& row, const std::string& what) const;
  bool glu() const { return shape_.kind == QuantizeKind::kSilu || shape_.kind == QuantizeKind::kGeluTanh; }

  const Backend& backend_;
  QuantizeShape shape_;
  Random random_;
  int32_t x_rows_ = 0, x_stride_ = 0;
  std::vector<float> x_, gain_, own_gain_;
  TestTransform transform_;
  std::vector<int32_t> row_index_;
  std::vector<std::unique_ptr<TestFactors>> factors_;
  std::vector<ShrinkTerm> one_term_, two_terms_;
  std::vector<AdapterRows> segments_;
};

}  // namespace lowrank::test
