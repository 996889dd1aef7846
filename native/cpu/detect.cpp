#include "cpu/detect.h"

#include <cstdint>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace lowrank::cpu {

#if defined(__x86_64__)
namespace {

// Bit numbers after Intel's Software Developer's Manual, volume 2, CPUID, and volume 1, 13.3 (XCR0).
struct Features {
  uint32_t leaf1_ecx = 0;
  uint32_t leaf7_ebx = 0;
  uint32_t leaf7_ecx = 0;
  uint32_t leaf7_1_eax = 0;
  uint64_t xcr0 = 0;  // the register states that the system saves
};

constexpr bool has(uint64_t bits, int bit) { return ((bits >> bit) & 1u) != 0; }

Features read_features() {
  Features features;
  uint32_t eax = 0, ebx = 0, ecx = 0, edx = 0;
  if (__get_cpuid(1, &eax, &ebx, &ecx, &edx) == 0) return features;
  features.leaf1_ecx = ecx;
  constexpr int kOsXsave = 27;  // the system has enabled xgetbv
  if (has(ecx, kOsXsave)) {
    uint32_t low = 0, high = 0;
    asm volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    features.xcr0 = uint64_t{high} << 32 | low;
  }
  if (__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) != 0) {
    const uint32_t last_subleaf = eax;
    features.leaf7_ebx = ebx;
    features.leaf7_ecx = ecx;
    if (last_subleaf >= 1 && __get_cpuid_count(7, 1, &eax, &ebx, &ecx, &edx) != 0) features.leaf7_1_eax = eax;
  }
  return features;
}

const Features& features() {
  static const Features read_once = read_features();
  return read_once;
}

}  // namespace

bool processor_has_avx2() {
  const Features& cpu = features();
  constexpr uint64_t kYmmState = 0x6;  // SSE and AVX registers
  return (cpu.xcr0 & kYmmState) == kYmmState && has(cpu.leaf1_ecx, 12) /* FMA */ &&
         has(cpu.leaf1_ecx, 28) /* AVX */ && has(cpu.leaf1_ecx, 29) /* F16C */ &&
         has(cpu.leaf7_ebx, 5) /* AVX2 */;
}

bool processor_has_avx_vnni() { return processor_has_avx2() && has(features().leaf7_1_eax, 4); }

bool processor_has_avx512vl_vnni() {
  const Features& cpu = features();
  constexpr uint64_t kZmmState = 0xe6;  // SSE, AVX, opmask, zmm0-15 upper halves, zmm16-31
  return processor_has_avx2() && (cpu.xcr0 & kZmmState) == kZmmState && has(cpu.leaf7_ebx, 16) /* F */ &&
         has(cpu.leaf7_ebx, 31) /* VL */ && has(cpu.leaf7_ecx, 11) /* VNNI */;
}

bool processor_has_avx512_vnni() {
  const Features& cpu = features();
  return processor_has_avx512vl_vnni() && has(cpu.leaf7_ebx, 17) /* DQ */ && has(cpu.leaf7_ebx, 30) /* BW */ &&
         has(cpu.leaf7_1_eax, 5) /* BF16 */;
}

#else

bool processor_has_avx2() { return false; }
bool processor_has_avx_vnni() { return false; }
bool processor_has_avx512vl_vnni() { return false; }
bool processor_has_avx512_vnni() { return false; }

#endif

}  // namespace lowrank::cpu
