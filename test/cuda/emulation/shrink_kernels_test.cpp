// The quantise ops with adapters, cut for devices of every size: whichever blocks share rows, slices and ranks, and whatever rows
// there are beside a row, what it leaves has the same bits.
#include <algorithm>
#include <string>
#include <vector>

#include "core/float16.h"
#include "cuda/quantize_shrink.h"
#include "emulation/launch_case.h"

using namespace lowrank;
using namespace lowrank::test;

namespace {

size_t size(int32_t value) { return static_cast<size_t>(value); }

struct Result {
  std::vector<float> values, h;
};

// rmsnorm_quantize_shrink to float output; of three rows, one has three terms as q, k and v do, one two terms, one none.
class Norm {
 public:
  static constexpr int32_t kHStride = 60;

  Norm(int32_t rows, int32_t cols)
      : rows_(rows), cols_(cols), stride_(round_up(cols, kActivationAlignment)), random_(size(rows * cols)) {
    params_.x = memory_.put(random_.floats(size(rows) * size(cols), -2.0f, 2.0f));
    params_.x_stride = cols;
    params_.gain = memory_.put(random_.floats(size(cols), 0.5f, 1.5f));
    params_.epsilon = 1e-5f;
    params_.out.cols = cols;
    params_.out.stride = stride_;
    params_.out.format = ActivationFormat::kFloat32;
    const auto* three = memory_.put(std::vector<device::ShrinkTerm>{
        {factor<uint16_t>(16), nullptr, 0, 0.5f},
        {factor<uint16_t>(16), nullptr, 16, 0.5f},
        {factor<uint16_t>(9), nullptr, 32, 2.0f}});
    const auto* two = memory_.put(std::vector<device::ShrinkTerm>{
        {factor<int8_t>(40), memory_.put(random_.floats(40, 0.001f, 0.01f)), 3, 1.0f}, {factor<float>(5), nullptr, 50, 1.5f}});
    std::vector<device::AdapterRows> segments;
    std::vector<int32_t> segment_of_row(size(rows), -1);
    for (int32_t m = 0; m < rows; ++m) {
      if (m % 3 == 2) continue;
      segment_of_row[size(m)] = static_cast<int32_t>(segments.size());
      device::AdapterRows segment{};
      segment.row_begin = m;
      segment.row_end = m + 1;
      segment.shrink = m % 3 == 0 ? three : two;
      segment.shrink_count = m % 3 == 0 ? 3 : 2;
      segments.push_back(segment);
    }
    segments_ = std::move(segments);
    segment_of_row_ = std::move(segment_of_row);
  }

  // Launches of `at_once` rows each, on a device of so many multiprocessors, with memory for blocks to share rows or without.
  Result run_by(int32_t at_once, int32_t multiprocessors, bool shares) {
    Result result = {std::vector<float>(size(rows_) * size(stride_), 77.0f),
                     std::vector<float>(size(rows_) * kHStride, 77.0f)};
    float* const values = memory_.put(result.values);
    float* const h = memory_.put(result.h);
    int32_t* const arrivals = memory_.put(std::vector<int32_t>(device::kShrinkSharedRows, 0));
    cuda::Launches launches({multiprocessors, 99 << 10});
    for (int32_t m = 0; m < rows_; m += at_once) {
      device::RmsNormQuantizeShrinkParams params = params_;
      params.rows = std::min(at_once, rows_ - m);
      params.x += m * cols_;
      params.out.values = values + m * stride_;
      const auto first = segment_of_row_.begin() + m;
      params.adapters = {memory_.put(segments_), memory_.put(std::vector<int32_t>{static_cast<int32_t>(segments_.size())}),
                         memory_.put(std::vector<int32_t>(first, first + params.rows)), h + m * kHStride, kHStride};
      const size_t sums = size(device::shrink_slices(cols_) * params.rows) * kHStride;
      if (shares) params.sums = {memory_.put(std::vector<float>(sums, 55.0f)), arrivals};
      cuda::enqueue(launches, params);
    }
    run(launches);
    read(result.values, values);
    read(result.h, h);
    std::vector<int32_t> left(device::kShrinkSharedRows, 1);
    read(left, arrivals);
    CHECK(left == std::vector<int32_t>(device::kShrinkSharedRows, 0));
    return result;
  }

 private:
  template <class Element>
  device::Factor factor(int32_t rank) {
    std::vector<Element> values(size(rank) * size(stride_), Element{0});
    for (int32_t r = 0; r < rank; ++r)
      for (int32_t k = 0; k < cols_; ++k) {
        Element& value = values[size(r) * size(stride_) + size(k)];
        if constexpr (std::is_same_v<Element, uint16_t>) value = float32_to_bfloat16(random_.uniform(-0.5f, 0.5f));
        else if constexpr (std::is_same_v<Element, int8_t>) value = static_cast<int8_t>(random_.integer(-127, 127));
        else value = random_.uniform(-0.5f, 0.5f);
      }
    constexpr LoraDType kDType = std::is_same_v<Element, uint16_t> ? LoraDType::kBFloat16
                                 : std::is_same_v<Element, int8_t> ? LoraDType::kInt8
                                                                   : LoraDType::kFloat32;
    return {memory_.put(values), rank, cols_, kDType};
  }
  template <class T>
  static void read(std::vector<T>& to, const T* from) {
    CHECK_EQ(cudaMemcpy(to.data(), from, to.size() * sizeof(T), cudaMemcpyDeviceToHost), cudaSuccess);
  }

  DeviceMemory memory_;
  int32_t rows_, cols_, stride_;
  Random random_;
  std::vector<device::AdapterRows> segments_;
  std::vector<int32_t> segment_of_row_;
  device::RmsNormQuantizeShrinkParams params_{};
};

constexpr int32_t kMultiprocessors[] = {1, 3, 40, 1000};

}  // namespace

TEST("cuda/quantize_shrink: every cut of rows, slices and ranks leaves the same bits") {
  const int32_t sizes[][2] = {{19, 323}, {9, 1088}, {16, 576}, {3, 130}};
  for (const auto& s : sizes) {
    Norm norm(s[0], s[1]);
    const Result expected = norm.run_by(s[0], 1, false);
    for (const int32_t at_once : {1, 2, 7, 8, 9, s[0]})
      for (const int32_t multiprocessors : kMultiprocessors) {
        const Result result = norm.run_by(at_once, multiprocessors, multiprocessors != 1);
        const std::string what = "K " + std::to_string(s[1]) + ", rows " + std::to_string(at_once) + " on " +
                                 std::to_string(multiprocessors);
        expect_same_bits(what + ", values", result.values, expected.values);
        expect_same_bits(what + ", h", result.h, expected.h);
      }
  }
}

TEST("cuda/quantize_shrink: the devices of these tests ask for every kind of cut") {
  const auto cut = [](int32_t rows, int32_t cols, bool shares, int32_t multiprocessors) {
    return cuda::shrink_grid({rows, cols, true, shares}, multiprocessors);
  };
  CHECK_EQ(cut(19, 323, false, 1).parts, 1);
  CHECK_EQ(cut(16, 576, false, 1).block_rows, cuda::kShrinkRows);
  CHECK_EQ(cut(9, 1088, true, 1000).parts, device::shrink_slices(1088));
  CHECK_EQ(cut(9, 1088, true, 1000).rank_parts, cuda::kShrinkRankParts);
  bool some = false;  // blocks that take several slices, and not all
  for (const int32_t rows : {1, 2, 7, 8, 9})
    for (const int32_t multiprocessors : kMultiprocessors) {
      const int32_t parts = cut(rows, 1088, true, multiprocessors).parts;
      some = some || (parts > 1 && parts < device::shrink_slices(1088));
    }
  CHECK(some);
  // Never more arrivals than there are.
  for (int32_t rows = 1; rows <= device::kShrinkSharedRows; ++rows)
    for (const int32_t multiprocessors : {1, 8, 132, 1000}) {
      const cuda::ShrinkGrid grid = cut(rows, 8192, true, multiprocessors);
      CHECK((rows + grid.block_rows - 1) / grid.block_rows * grid.rank_parts <= device::kShrinkSharedRows);
    }
}
