// The int8 kernels of matmul_expand against each other: whichever runs, with whatever tile and however many warps share a column,
// y has the same bits, and without an epilogue those of the reference's sums.
#include <algorithm>
#include <string>
#include <vector>

#include "core/float16.h"
#include "cuda/matmul_expand.h"
#include "emulation/launch_case.h"

using namespace lowrank;
using namespace lowrank::test;

namespace {

size_t size(int32_t value) { return static_cast<size_t>(value); }

class Product {
 public:
  Product(int32_t rows, int32_t n, int32_t k, bool with_epilogue)
      : rows_(rows), n_(n), stride_(round_up(k, kActivationAlignment)), groups_(device::scale_groups(k)), random_(size(rows * n + k)) {
    x_ = bytes(rows, k);
    w_ = bytes(round_up(n, 16), k);
    x_scale_ = random_.floats(size(rows) * size(groups_), 0.001f, 0.1f);
    for (const float scale : random_.floats(size(round_up(n, 16)) * size(groups_), 0.001f, 0.1f))
      w_scale_.push_back(float32_to_bfloat16(scale));
    params_.x = {memory_.put(x_), memory_.put(x_scale_), nullptr, nullptr, k, stride_, ActivationFormat::kInt8};
    params_.w = {memory_.put(w_), memory_.put(w_scale_), nullptr, n, k, stride_, 0, WeightFormat::kInt8, ActivationFormat::kInt8};
    params_.y_stride = n + 3;
    if (with_epilogue) make_epilogue();
  }

  // y [rows, y_stride] from launches of `at_once` rows on a device of so many multiprocessors.
  std::vector<float> run_by(int32_t at_once, int32_t multiprocessors) {
    std::vector<float> y(size(rows_) * size(params_.y_stride), 77.0f);
    params_.y = memory_.put(y);
    cuda::Launches launches({multiprocessors, 99 << 10});
    for (int32_t m = 0; m < rows_; m += at_once) {
      params_.row_begin = m;
      params_.row_end = std::min(m + at_once, rows_);
      cuda::enqueue(launches, params_);
    }
    run(launches);
    CHECK_EQ(cudaMemcpy(y.data(), params_.y, y.size() * sizeof(float), cudaMemcpyDeviceToHost), cudaSuccess);
    return y;
  }

  // The sums of groups as the reference adds them; what lies behind a row stays 77.
  std::vector<float> reference() const {
    std::vector<float> y(size(rows_) * size(params_.y_stride), 77.0f);
    for (int32_t m = 0; m < rows_; ++m)
      for (int32_t n = 0; n < n_; ++n) {
        float product = 0.0f;
        for (int32_t g = 0; g < groups_; ++g) {
          int32_t sum = 0;
          for (int32_t k = g * device::kScaleGroup; k < std::min((g + 1) * device::kScaleGroup, stride_); ++k)
            sum += int32_t{x_[size(m) * size(stride_) + size(k)]} * w_[size(n) * size(stride_) + size(k)];
          const float scale = x_scale_[size(m) * size(groups_) + size(g)] *
                              bfloat16_to_float32(w_scale_[size(n) * size(groups_) + size(g)]);
          product += scale * static_cast<float>(sum);
        }
        y[size(m) * size(params_.y_stride) + size(n)] = product;
      }
    return y;
  }

 private:
  // Rows of random int8 numbers, those of row 0 all 127; zero beyond k.
  std::vector<int8_t> bytes(int32_t rows, int32_t k) {
    std::vector<int8_t> values;
    for (int32_t row = 0; row < rows; ++row)
      for (int32_t at = 0; at < stride_; ++at)
        values.push_back(static_cast<int8_t>(at >= k ? 0 : row == 0 ? 127 : random_.integer(-127, 127)));
    return values;
  }

  device::Factor factor(int32_t rank, int32_t dimension) {
    const int32_t stride = device::factor_b_stride(rank);
    std::vector<uint16_t> values(size(dimension) * size(stride), 0);
    for (int32_t row = 0; row < dimension; ++row)
      for (int32_t r = 0; r < rank; ++r)
        values[size(row) * size(stride) + size(r)] = float32_to_bfloat16(random_.uniform(-0.5f, 0.5f));
    return {memory_.put(values), rank, dimension, LoraDType::kBFloat16};
  }

  // Outliers, bias, residual, and three adapters whose rows alternate, of which one has several terms.
  void make_epilogue() {
    constexpr int32_t kOutliers = 19;
    std::vector<uint16_t> columns(size(round_up(n_, 16)) * kMaxOutliers, 0);
    for (int32_t n = 0; n < n_; ++n)
      for (int32_t j = 0; j < kOutliers; ++j)
        columns[size(n) * kMaxOutliers + size(j)] = float32_to_bfloat16(random_.uniform(-0.5f, 0.5f));
    params_.w.outlier_columns = memory_.put(columns);
    params_.w.outlier_count = kOutliers;
    params_.x.outliers = memory_.put(random_.floats(size(rows_) * kMaxOutliers, -50.0f, 50.0f));
    params_.bias = memory_.put(random_.floats(size(n_), -1.0f, 1.0f));
    params_.residual = memory_.put(random_.floats(size(rows_) * size(params_.y_stride), -1.0f, 1.0f));

    constexpr int32_t kWidth = 60;
    const int32_t half = n_ / 2;
    const auto* one = memory_.put(std::vector<device::ExpandTerm>{{factor(8, n_), 0, 0}});
    const auto* several = memory_.put(std::vector<device::ExpandTerm>{
        {factor(16, half), 0, 0}, {factor(33, n_ - half), 16, half}, {factor(5, 3), 49, n_ - 3}});
    const float* gain = memory_.put(random_.floats(size(n_), 0.5f, 1.5f));
    std::vector<device::AdapterRows> segments;
    std::vector<int32_t> segment_of_row(size(rows_), -1);
    for (int32_t m = 1; m + 1 < rows_; m += 3) {  // two rows of each three
      device::AdapterRows segment{};
      segment.row_begin = m;
      segment.row_end = m + 2;
      const bool is_first = segments.size() % 2 == 0;
      segment.expand = is_first ? one : several;
      segment.expand_count = is_first ? 1 : 3;
      if (segments.size() % 3 == 0) segment.output_gain = gain;
      segment_of_row[size(m)] = segment_of_row[size(m) + 1] = static_cast<int32_t>(segments.size());
      segments.push_back(segment);
    }
    params_.adapters = {memory_.put(segments), memory_.put(std::vector<int32_t>{static_cast<int32_t>(segments.size())}),
                        memory_.put(segment_of_row), memory_.put(random_.floats(size(rows_) * kWidth, -1.0f, 1.0f)), kWidth};
  }

  DeviceMemory memory_;
  int32_t rows_, n_, stride_, groups_;
  Random random_;
  std::vector<int8_t> x_, w_;
  std::vector<float> x_scale_;
  std::vector<uint16_t> w_scale_;
  device::MatmulExpandParams params_{};
};

// Calls check(y, what) with y of every kernel, tile and split: rows in one launch that meet each kernel, on devices for which
// tiles and splits differ.
template <class Check>
void for_every_kernel(Product& product, const std::string& what, int32_t rows, Check check) {
  for (const int32_t at_once : {1, 2, 3, 5, 17, rows})
    for (const int32_t multiprocessors : {1, 3, 1000})
      if (at_once <= rows && (at_once > cuda::kGemvRows || multiprocessors == 1))
        check(product.run_by(at_once, multiprocessors), what + ", rows " + std::to_string(at_once));
}

std::string text(int32_t n, int32_t k) { return "N " + std::to_string(n) + ", K " + std::to_string(k); }

}  // namespace

TEST("cuda/matmul_expand: the sums of groups are the reference's, bit for bit, in every kernel") {
  const int32_t sizes[][3] = {{37, 136, 290}, {20, 80, 1088}, {5, 24, 2240}};
  const emulator::Counters before = emulator::counters();
  for (const auto& s : sizes) {
    Product product(s[0], s[1], s[2], false);
    const std::vector<float> expected = product.reference();
    for_every_kernel(product, text(s[1], s[2]), s[0],
                     [&](const std::vector<float>& y, const std::string& what) { expect_same_bits(what, y, expected); });
  }
  Product tall(130, 136, 290, false);  // several tiles each way
  expect_same_bits("small tiles", tall.run_by(130, 1000), tall.reference());
  expect_same_bits("large tiles", tall.run_by(130, 1), tall.reference());
  CHECK(emulator::counters().ldmatrix_phases > before.ldmatrix_phases);
  CHECK_EQ(emulator::counters().ldmatrix_bank_conflicts, before.ldmatrix_bank_conflicts);
}

TEST("cuda/matmul_expand: every kernel has the same epilogue, bit for bit") {
  const int32_t sizes[][3] = {{37, 49, 65}, {35, 20, 1088}};
  for (const auto& s : sizes) {
    Product product(s[0], s[1], s[2], true);
    const std::vector<float> expected = product.run_by(s[0], 1);
    for_every_kernel(product, text(s[1], s[2]), s[0],
                     [&](const std::vector<float>& y, const std::string& what) { expect_same_bits(what, y, expected); });
  }
}

TEST("cuda/matmul_expand: the devices of these tests ask for every tile and split") {
  device::MatmulExpandParams params{};
  params.row_end = 37;
  params.w.rows = 136;
  params.w.cols = 1088;
  CHECK_EQ(cuda::gemm_tile(params, 1).rows, cuda::kGemmLarge.rows);
  CHECK_EQ(cuda::gemm_tile(params, 1000).rows, cuda::kGemmSmall.rows);
  CHECK_EQ(cuda::small_batch_splits(params, 1), 1);
  CHECK_EQ(cuda::small_batch_splits(params, 3), 4);
  CHECK_EQ(cuda::small_batch_splits(params, 1000), 8);
}
