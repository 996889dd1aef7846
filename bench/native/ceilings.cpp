#include "ceilings.h"

#include <immintrin.h>

#include <atomic>
#include <cstring>
#include <iterator>

#include "backend/backend.h"
#include "core/buffer.h"
#include "core/thread_pool.h"
#include "timing.h"

namespace lowrank::bench {
namespace {

constexpr size_t kReadBytes = size_t{512} << 20;  // far more than any cache
std::atomic<uint64_t> sink{0};                    // so that no loop is found to be useless

template <class Body>
double typical_seconds(int threads, Body body) {
  struct Context {
    Body body;
  } context{body};
  const Spread time = measure(
      [&] {
        ThreadPool::process().run(
            threads, [](void* c, int part, int parts, Barrier&) { static_cast<Context*>(c)->body(part, parts); }, &context);
      },
      5, 0.05);
  return time.median;
}

// One stream of lines, strictly forwards, or four beside each other.
__attribute__((target("avx2"))) uint64_t read_forwards(const uint8_t* begin, size_t bytes, size_t streams) {
  const size_t each = bytes / streams / 64 * 64;
  __m256i sum[4] = {};
  for (size_t at = 0; at < each; at += 128)
    for (size_t s = 0; s < streams; ++s) {
      const auto* p = reinterpret_cast<const __m256i*>(begin + s * each + at);
      for (int i = 0; i < 4; ++i) sum[i] = _mm256_add_epi64(sum[i], _mm256_load_si256(p + i));
    }
  alignas(32) uint64_t lanes[4];
  _mm256_store_si256(reinterpret_cast<__m256i*>(lanes),
                     _mm256_add_epi64(_mm256_add_epi64(sum[0], sum[1]), _mm256_add_epi64(sum[2], sum[3])));
  return lanes[0] + lanes[1] + lanes[2] + lanes[3];
}

double read_rate(int threads) {
  const Buffer memory(kReadBytes);
  std::memset(memory.as<void>(), 1, kReadBytes);
  double best = 0;
  for (const size_t streams : {size_t{1}, size_t{4}}) {
    const double time = typical_seconds(threads, [&](int part, int parts) {
      const size_t each = kReadBytes / static_cast<size_t>(parts) / 4096 * 4096;
      sink += read_forwards(memory.as<uint8_t>() + each * static_cast<size_t>(part), each, streams);
    });
    best = std::max(best, static_cast<double>(kReadBytes) / time / 1e9);
  }
  return best;
}

// Instructions that depend on nothing but their own accumulator, 24 accumulators (12 of AVX2's 16 registers), which hides the
// latency. Written in assembly: a compiler may keep accumulators in memory.
constexpr int kLoops = 200'000;

__attribute__((noinline)) void dot_avx512() {
  for (int i = 0; i < kLoops; ++i)
    asm volatile(".irp r,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23\n"
                 "vpdpbusd %%zmm30, %%zmm31, %%zmm\\r\n"
                 ".endr" ::: "memory");
}
constexpr double kDotAvx512Ops = 2.0 * 64 * 24 * kLoops;

__attribute__((noinline)) void fma_avx512() {
  for (int i = 0; i < kLoops; ++i)
    asm volatile(".irp r,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23\n"
                 "vfmadd231ps %%zmm30, %%zmm31, %%zmm\\r\n"
                 ".endr" ::: "memory");
}
constexpr double kFmaAvx512Ops = 2.0 * 16 * 24 * kLoops;

// A product of 16-bit numbers and its addition: what AVX2 has for int8.
__attribute__((noinline)) void dot_avx2() {
  for (int i = 0; i < kLoops; ++i)
    asm volatile(".irp r,0,1,2,3,4,5,6,7\n"
                 "vpmaddwd %%ymm14, %%ymm15, %%ymm13\n"
                 "vpaddd %%ymm13, %%ymm\\r, %%ymm\\r\n"
                 ".endr" ::: "memory");
}
constexpr double kDotAvx2Ops = 2.0 * 16 * 8 * kLoops;

__attribute__((noinline)) void fma_avx2() {
  for (int i = 0; i < kLoops; ++i)
    asm volatile(".irp r,0,1,2,3,4,5,6,7,8,9,10,11\n"
                 "vfmadd231ps %%ymm14, %%ymm15, %%ymm\\r\n"
                 ".endr" ::: "memory");
}
constexpr double kFmaAvx2Ops = 2.0 * 8 * 12 * kLoops;

double rate(int threads, void (*kernel)(), double ops) {
  return threads * ops / typical_seconds(threads, [kernel](int, int) { kernel(); }) / 1e9;
}

// Of one instruction set.
struct Peaks {
  const char* instruction_set;
  void (*dot)();
  double dot_ops;
  void (*fma)();
  double fma_ops;
};
constexpr Peaks kPeaks[] = {
    {"avx512_vnni", dot_avx512, kDotAvx512Ops, fma_avx512, kFmaAvx512Ops},
    {"avx2", dot_avx2, kDotAvx2Ops, fma_avx2, kFmaAvx2Ops},
};

const Peaks& peaks_of(const std::string& instruction_set) {
  for (const Peaks& peaks : kPeaks)
    if (instruction_set == peaks.instruction_set) return peaks;
  for (const InstructionSet& set : cpu_instruction_sets())
    if (instruction_set == set.name && *set.extends != '\0') return peaks_of(set.extends);
  return kPeaks[std::size(kPeaks) - 1];  // of the reference, whatever runs it
}

}  // namespace

Ceilings measure_ceilings(int threads, const std::string& instruction_set) {
  const Peaks& peaks = peaks_of(instruction_set);
  return {read_rate(threads), rate(threads, peaks.dot, peaks.dot_ops), rate(threads, peaks.fma, peaks.fma_ops)};
}

}  // namespace lowrank::bench
