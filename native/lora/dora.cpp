#include "lora/dora.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <exception>
#include <mutex>
#include <thread>
#include <utility>

namespace lowrank {
namespace {

constexpr int32_t kLanes = 4;
constexpr int32_t kChunk = 256;  // columns whose B A lies in L1

// n0, n1, n2 of one row of W [cols] and of B [rank].
struct RowNorms {
  double n0;
  double n1;
  double n2;
};
RowNorms row_norms(const float* w, const float* b, const FloatMatrix& a) {
  // Lane k % kLanes of each sum: independent chains, which also vectorise.
  double n0[kLanes] = {};
  double n1[kLanes] = {};
  double n2[kLanes] = {};
  for (int32_t begin = 0; begin < a.cols; begin += kChunk) {
    const int32_t size = std::min(kChunk, a.cols - begin);
    // B A in float32, as PEFT has it.
    float delta[kChunk] = {};
    for (int32_t r = 0; r < a.rows; ++r) {
      const float scale = b[r];
      const float* row = a.row(r) + begin;
      for (int32_t k = 0; k < size; ++k) delta[k] += scale * row[k];
    }
    float weight[kChunk] = {};
    std::copy_n(w + begin, size, weight);
    for (int32_t k = 0; k < size; k += kLanes)
      for (int32_t lane = 0; lane < kLanes; ++lane) {
        const double from_w = weight[k + lane];
        const double from_ba = delta[k + lane];
        n0[lane] += from_w * from_w;
        n1[lane] += from_w * from_ba;
        n2[lane] += from_ba * from_ba;
      }
  }
  const auto sum = [](const double (&lanes)[kLanes]) { return lanes[0] + lanes[1] + (lanes[2] + lanes[3]); };
  return {sum(n0), sum(n1), sum(n2)};
}

// Calls body(i) for i in [0, count), each once, on up to `threads` threads. Rethrows the first exception.
template <class Body>
void parallel_for(int32_t count, int threads, const Body& body) {
  std::atomic<int32_t> next{0};
  std::exception_ptr failure;
  std::mutex mutex;
  const auto work = [&] {
    try {
      for (int32_t i = next++; i < count; i = next++) body(i);
    } catch (...) {
      const std::lock_guard lock(mutex);
      if (failure == nullptr) failure = std::current_exception();
      next = count;
    }
  };
  std::vector<std::thread> workers;
  const auto beside = static_cast<size_t>(std::clamp(threads, 1, std::max(count, 1)) - 1);
  workers.reserve(beside);
  try {
    while (workers.size() < beside) workers.emplace_back(work);
  } catch (const std::exception&) {
    // No further thread to be had (std::system_error): those that run share the work.
  }
  work();
  for (std::thread& worker : workers) worker.join();
  if (failure != nullptr) std::rethrow_exception(failure);
}

}  // namespace

DoraNorms dora_norms(const FloatMatrix& a, const FloatMatrix& b, std::vector<float> magnitude, const RowReader& read_weight,
                     int threads) {
  const auto out = static_cast<size_t>(b.rows);
  DoraNorms norms{std::move(magnitude), std::vector<float>(out), std::vector<float>(out), std::vector<float>(out)};
  constexpr int32_t kBlockFloats = 1 << 18;
  const int32_t block = std::clamp(kBlockFloats / a.cols, 1, 64);
  const int32_t blocks = b.rows / block + (b.rows % block != 0 ? 1 : 0);
  parallel_for(blocks, threads, [&](int32_t index) {
    const int32_t begin = index * block;
    const int32_t count = std::min(block, b.rows - begin);
    std::vector<float> weight(static_cast<size_t>(int64_t{count} * a.cols));
    read_weight(begin, count, weight.data());
    for (int32_t i = 0; i < count; ++i) {
      const RowNorms sums = row_norms(weight.data() + int64_t{i} * a.cols, b.row(begin + i), a);
      const auto n = static_cast<size_t>(begin + i);
      norms.n0[n] = static_cast<float>(sums.n0);
      norms.n1[n] = static_cast<float>(sums.n1);
      norms.n2[n] = static_cast<float>(sums.n2);
    }
  });
  return norms;
}

void dora_gain(const DoraNorms& norms, float scale, float* gain) {
  const double s = scale;
  for (size_t n = 0; n < norms.magnitude.size(); ++n) {
    // Rounding may leave a sum of nearly zero below zero.
    const double square = double{norms.n0[n]} + 2 * s * norms.n1[n] + s * s * norms.n2[n];
    gain[n] = square <= 0 ? 0.0f : static_cast<float>(norms.magnitude[n] / std::sqrt(square));
  }
}

}  // namespace lowrank
