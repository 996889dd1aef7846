// A small step for the tests of steps: quantize_shrink of a few rows, each with an adapter.
#pragma once

#include <vector>

#include "device/ops.h"
#include "device_under_test.h"
#include "ops/op_case.h"

namespace lowrank::test {

// Memory of `backend` with these values.
template <class T>
BackendMemory on_device(const Backend& backend, const std::vector<T>& values) {
  BackendMemory memory = backend.reserve(values.size() * sizeof(T), Buffer::Pages::kOwn);
  backend.write(memory.as<void>(), values.data(), memory.bytes());
  return memory;
}

template <class T>
std::vector<T> from_device(const Backend& backend, const BackendMemory& memory) {
  std::vector<T> values(memory.bytes() / sizeof(T));
  backend.read(values.data(), memory.as<void>(), memory.bytes());
  return values;
}

// x [rows, kCols] float32; h [rows, kRank] = A x.
class ShrinkStep {
 public:
  static constexpr int32_t kCols = 64;
  static constexpr int32_t kRank = 4;

  ShrinkStep(const device::DeviceBackend& backend, int32_t rows)
      : backend_(backend),
        rows_(rows),
        x_(on_device(backend, Random(static_cast<uint64_t>(rows)).floats(static_cast<size_t>(rows * kCols), -1.0f, 1.0f))),
        values_(backend.reserve(static_cast<size_t>(rows * kCols) * sizeof(float), Buffer::Pages::kOwn)),
        h_(backend.reserve(static_cast<size_t>(rows * kRank) * sizeof(float), Buffer::Pages::kOwn)) {}

  // One adapter for all rows. Records the op: call it within a step.
  void record(const LoraFactor& a, float scale) {
    term_ = {&a, 0, scale};
    segment_ = {0, rows_, &term_, 1, nullptr, 0, nullptr, nullptr, nullptr};
    QuantizeShrinkArgs args{};
    args.x = x_.as<float>();
    args.x_stride = kCols;
    args.rows = rows_;
    args.out.format = ActivationFormat::kFloat32;
    args.out.cols = args.out.stride = kCols;
    args.out.values = values_.as<float>();
    args.adapters = {&segment_, 1, h_.as<float>(), kRank};
    device::quantize_shrink(args, 0, 1);
  }
  std::vector<float> run(const LoraFactor& a, float scale) {
    backend_.run_step([&] { record(a, scale); });
    return from_device<float>(backend_, h_);
  }

 private:
  const device::DeviceBackend& backend_;
  int32_t rows_;
  BackendMemory x_, values_, h_;
  ShrinkTerm term_{};
  AdapterRows segment_{};
};

inline std::unique_ptr<LoraFactor> random_factor(const Backend& backend, uint64_t seed) {
  const std::vector<float> a = Random(seed).bfloat16_floats(ShrinkStep::kRank * ShrinkStep::kCols, -1.0f, 1.0f);
  return backend.pack_lora_a(a.data(), ShrinkStep::kRank, ShrinkStep::kCols, LoraDType::kBFloat16);
}

}  // namespace lowrank::test
