// What this processor and system can run, by the names that instruction_sets.json asks for. Compiled for the baseline CPU, so that
// asking is always safe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <string_view>

namespace lowrank::cpu {

// Where an x86-64 tells of a feature: registers of CPUID's leaves, after Intel's Software Developer's Manual, volume 2.
enum class FeatureWord : uint8_t { kLeaf1Ecx, kLeaf7Ebx, kLeaf7Ecx, kLeaf7Edx, kLeaf7Sub1Eax };
inline constexpr int kFeatureWords = 5;

struct Feature {
  std::string_view name;  // as Linux has it in /proc/cpuinfo
  FeatureWord word;
  int bit;
  uint64_t states;  // register states that the system must save, as bits of XCR0 (volume 1, 13.3)
};

inline constexpr uint64_t kYmmState = 0x6;               // SSE and AVX registers
inline constexpr uint64_t kZmmState = kYmmState | 0xe0;  // opmask, upper halves of zmm0-15, zmm16-31
inline constexpr uint64_t kTileState = 0x60000;          // AMX's configuration and tiles

inline constexpr Feature kFeatures[] = {
    {"avx", FeatureWord::kLeaf1Ecx, 28, kYmmState},
    {"avx2", FeatureWord::kLeaf7Ebx, 5, kYmmState},
    {"fma", FeatureWord::kLeaf1Ecx, 12, kYmmState},
    {"f16c", FeatureWord::kLeaf1Ecx, 29, kYmmState},
    {"avx_vnni", FeatureWord::kLeaf7Sub1Eax, 4, kYmmState},
    {"avx512f", FeatureWord::kLeaf7Ebx, 16, kZmmState},
    {"avx512bw", FeatureWord::kLeaf7Ebx, 30, kZmmState},
    {"avx512dq", FeatureWord::kLeaf7Ebx, 17, kZmmState},
    {"avx512vl", FeatureWord::kLeaf7Ebx, 31, kZmmState},
    {"avx512_vnni", FeatureWord::kLeaf7Ecx, 11, kZmmState},
    {"avx512_bf16", FeatureWord::kLeaf7Sub1Eax, 5, kZmmState},
    {"amx_tile", FeatureWord::kLeaf7Edx, 24, kTileState},
    {"amx_int8", FeatureWord::kLeaf7Edx, 25, kTileState},
    {"amx_bf16", FeatureWord::kLeaf7Edx, 22, kTileState},
};

// A register state that a process may use only once the system has let it.
struct Permission {
  std::string_view name;
  int state;  // bit of XCR0
};

inline constexpr Permission kPermissions[] = {
    {"amx_tile_data", 18},
};

template <class Named, size_t Count>
consteval uint64_t mask_of(const Named (&known)[Count], std::initializer_list<std::string_view> names) {
  uint64_t mask = 0;
  for (const std::string_view name : names) {
    uint64_t bit = 0;
    for (size_t i = 0; i < Count; ++i)
      if (known[i].name == name) bit = uint64_t{1} << i;
    if (bit == 0) throw "instruction_sets.json names what is not in the list above";
    mask |= bit;
  }
  return mask;
}

// Bit i stands for kFeatures[i], or kPermissions[i]. Other names do not compile.
consteval uint64_t feature_mask(std::initializer_list<std::string_view> names) { return mask_of(kFeatures, names); }
consteval uint64_t permission_mask(std::initializer_list<std::string_view> names) { return mask_of(kPermissions, names); }

// The features that the processor has and whose register states the system saves.
uint64_t processor_features();

// Asks the system for these permissions, for this process as long as it lives. False where it refuses one.
bool ask_permissions(uint64_t permissions);

}  // namespace lowrank::cpu
