#include "selftest/ceilings.h"

#include <algorithm>

#include "cuda/ptx.h"

namespace lowrank::selftest {
namespace {

using namespace cuda;

constexpr int kThreads = 256;
constexpr int kAccumulators = 8;  // independent sums of a warp, which hide an instruction's latency

struct MemoryParams {
  const uint4* from;
  uint4* to;
  int64_t count;  // of 16 bytes
};

LOWRANK_KERNEL(kThreads, 1) copy_memory(MemoryParams p) {
  const int64_t step = int64_t{gridDim.x} * kThreads;
  for (int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x; i < p.count; i += step) p.to[i] = ptx::load_streaming_16(p.from + i);
}

// The memory is all zeros, which the compiler cannot know: no load can be left out.
LOWRANK_KERNEL(kThreads, 1) read_memory(MemoryParams p) {
  const int64_t step = int64_t{gridDim.x} * kThreads;
  uint32_t all = 0;
  int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  for (; i + 3 * step < p.count; i += 4 * step) {
    uint4 value[4];
    for (int j = 0; j < 4; ++j) value[j] = ptx::load_streaming_16(p.from + i + j * step);
    for (int j = 0; j < 4; ++j) all |= value[j].x | value[j].y | value[j].z | value[j].w;
  }
  if (all != 0) p.to[0] = make_uint4(all, 0, 0, 0);
}

struct LoopParams {
  uint32_t* out;  // never written: all sums are zero, which the compiler cannot know
  int32_t loops;
  uint32_t seed;  // 0
};

LOWRANK_KERNEL(kThreads, 1) loop_mma_s8(LoopParams p) {
  int32_t d[kAccumulators][4] = {};
  const uint32_t a[4] = {p.seed, p.seed, p.seed, p.seed};
  const uint32_t b[2] = {p.seed, p.seed};
  for (int32_t i = 0; i < p.loops; ++i)
    for (int j = 0; j < kAccumulators; ++j) ptx::mma_m16n8k32_s8(d[j], a, b);
  int32_t all = 0;
  for (int j = 0; j < kAccumulators; ++j) all |= d[j][0] | d[j][1] | d[j][2] | d[j][3];
  if (all != 0) p.out[0] = static_cast<uint32_t>(all);
}
constexpr double kMmaS8Operations = 2.0 * 16 * 8 * 32 / 32;  // of a thread

LOWRANK_KERNEL(kThreads, 1) loop_mma_bf16(LoopParams p) {
  float d[kAccumulators][4] = {};
  const uint32_t a[4] = {p.seed, p.seed, p.seed, p.seed};
  const uint32_t b[2] = {p.seed, p.seed};
  for (int32_t i = 0; i < p.loops; ++i)
    for (int j = 0; j < kAccumulators; ++j) ptx::mma_m16n8k16_bf16(d[j], a, b);
  float all = 0;
  for (int j = 0; j < kAccumulators; ++j) all += d[j][0] + d[j][1] + d[j][2] + d[j][3];
  if (all != 0) p.out[0] = __float_as_uint(all);
}
constexpr double kMmaBf16Operations = 2.0 * 16 * 8 * 16 / 32;

LOWRANK_KERNEL(kThreads, 1) loop_dot_s8(LoopParams p) {
  int d[kAccumulators] = {};
  const int a = static_cast<int>(p.seed);
  for (int32_t i = 0; i < p.loops; ++i)
    for (int j = 0; j < kAccumulators; ++j) d[j] = __dp4a(d[j], a, d[j]);
  int all = 0;
  for (int j = 0; j < kAccumulators; ++j) all |= d[j];
  if (all != 0) p.out[0] = static_cast<uint32_t>(all);
}
constexpr double kDotS8Operations = 2.0 * 4;

LOWRANK_KERNEL(kThreads, 1) loop_fma(LoopParams p) {
  float d[kAccumulators] = {};
  const float a = __uint_as_float(p.seed);
  for (int32_t i = 0; i < p.loops; ++i)
    for (int j = 0; j < kAccumulators; ++j) d[j] = __fmaf_rn(d[j], a, d[j]);
  float all = 0;
  for (int j = 0; j < kAccumulators; ++j) all += d[j];
  if (all != 0) p.out[0] = __float_as_uint(all);
}
constexpr double kFmaOperations = 2.0;

LOWRANK_KERNEL(32, 1) nothing(LoopParams) {}

constexpr int kRepeats = 7;

// The best of several seconds.
double best_seconds(Device& device, const Launches& launches, int repeats) {
  double best = device.seconds(launches);
  for (int i = 0; i < repeats; ++i) best = std::min(best, device.seconds(launches));
  return best;
}

}  // namespace

std::vector<Ceiling> measure_ceilings(Device& device, bool quick) {
  const int repeats = quick ? 0 : kRepeats;
  const auto blocks = static_cast<unsigned>(device.facts().multiprocessors);
  std::vector<Ceiling> ceilings;

  // Far more than any second-level cache.
  const size_t bytes = quick ? size_t{1} << 20 : size_t{1} << 30;
  const DeviceBlock from(bytes), to(bytes);
  const MemoryParams memory{from.as<uint4>(), to.as<uint4>(), static_cast<int64_t>(bytes / sizeof(uint4))};
  const auto memory_rate = [&](void (*kernel)(MemoryParams), double moved) {
    Launches launches(device.facts());
    launches.add(kernel, dim3(blocks * 8), dim3(kThreads), 0, memory);
    return moved / best_seconds(device, launches, repeats) / 1e9;
  };
  ceilings.push_back({"read", "GB/s", memory_rate(read_memory, static_cast<double>(bytes))});
  ceilings.push_back({"copy", "GB/s", memory_rate(copy_memory, 2.0 * static_cast<double>(bytes))});

  const DeviceBlock out(sizeof(uint32_t));
  const auto loop_rate = [&](void (*kernel)(LoopParams), double operations) {
    const LoopParams params{out.as<uint32_t>(), quick ? 2 : 20'000, 0};
    const unsigned grid = blocks * 4;
    Launches launches(device.facts());
    launches.add(kernel, dim3(grid), dim3(kThreads), 0, params);
    const double all = operations * kAccumulators * params.loops * kThreads * grid;
    return all / best_seconds(device, launches, repeats) / 1e12;
  };
  ceilings.push_back({"mma int8", "Top/s", loop_rate(loop_mma_s8, kMmaS8Operations)});
  ceilings.push_back({"mma bfloat16", "Top/s", loop_rate(loop_mma_bf16, kMmaBf16Operations)});
  ceilings.push_back({"dp4a", "Top/s", loop_rate(loop_dot_s8, kDotS8Operations)});
  ceilings.push_back({"fused multiply-add", "Top/s", loop_rate(loop_fma, kFmaOperations)});

  // One after the other in a graph, as the steps of a decode are.
  const int count = quick ? 4 : 1000;
  Launches empty(device.facts());
  for (int i = 0; i < count; ++i) empty.add(nothing, dim3(1), dim3(32), 0, LoopParams{});
  ceilings.push_back({"launch in a graph", "us", best_seconds(device, empty, repeats) / count * 1e6});
  return ceilings;
}

}  // namespace lowrank::selftest
