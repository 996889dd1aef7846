#include "cpu/features.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif
#if defined(__x86_64__) && defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace lowrank::cpu {
namespace {

struct Processor {
  uint32_t words[kFeatureWords] = {};  // by FeatureWord; zero on other architectures
  uint64_t states = 0;                 // XCR0: those that the system saves
};

constexpr bool has(uint64_t bits, int bit) { return ((bits >> bit) & 1u) != 0; }

Processor read_processor() {
  Processor processor;
#if defined(__x86_64__)
  const auto word = [&](FeatureWord which) -> uint32_t& { return processor.words[static_cast<int>(which)]; };
  uint32_t eax = 0, ebx = 0, ecx = 0, edx = 0;
  if (__get_cpuid(1, &eax, &ebx, &ecx, &edx) == 0) return processor;
  word(FeatureWord::kLeaf1Ecx) = ecx;
  constexpr int kOsXsave = 27;  // the system has enabled xgetbv
  if (has(ecx, kOsXsave)) {
    uint32_t low = 0, high = 0;
    asm volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    processor.states = uint64_t{high} << 32 | low;
  }
  if (__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) == 0) return processor;
  const uint32_t last_subleaf = eax;
  word(FeatureWord::kLeaf7Ebx) = ebx;
  word(FeatureWord::kLeaf7Ecx) = ecx;
  word(FeatureWord::kLeaf7Edx) = edx;
  if (last_subleaf >= 1 && __get_cpuid_count(7, 1, &eax, &ebx, &ecx, &edx) != 0) word(FeatureWord::kLeaf7Sub1Eax) = eax;
#endif
  return processor;
}

bool ask_permission([[maybe_unused]] const Permission& permission) {
#if defined(__x86_64__) && defined(__linux__)
  constexpr long kRequestStatePermission = 0x1023;  // ARCH_REQ_XCOMP_PERM of asm/prctl.h, Linux 5.16
  return syscall(SYS_arch_prctl, kRequestStatePermission, permission.state) == 0;
#else
  return false;  // not known how
#endif
}

}  // namespace

uint64_t processor_features() {
  static const uint64_t found = [] {
    const Processor processor = read_processor();
    uint64_t mask = 0;
    int i = 0;
    for (const Feature& feature : kFeatures) {
      const bool saved = (processor.states & feature.states) == feature.states;
      if (saved && has(processor.words[static_cast<int>(feature.word)], feature.bit)) mask |= uint64_t{1} << i;
      ++i;
    }
    return mask;
  }();
  return found;
}

bool ask_permissions(uint64_t permissions) {
  int i = 0;
  for (const Permission& permission : kPermissions)
    if (has(permissions, i++) && !ask_permission(permission)) return false;
  return true;
}

}  // namespace lowrank::cpu
