#include "formats/dtype.h"

#include <cstddef>
#include <iterator>

namespace lowrank {
namespace {

// In the order of DType.
constexpr DTypeFacts kFacts[] = {
    {"F32", 1, 4, true},    {"F16", 1, 2, true},      {"BF16", 1, 2, true},     {"F64", 1, 8, true},
    {"Q8_0", 32, 34, true}, {"Q4_0", 32, 18, true},   {"Q4_1", 32, 20, true},   {"Q5_0", 32, 22, true},
    {"Q5_1", 32, 24, true}, {"Q4_K", 256, 144, true}, {"Q5_K", 256, 176, true}, {"Q6_K", 256, 210, true},
    {"I8", 1, 1, false},    {"I16", 1, 2, false},     {"I32", 1, 4, false},     {"I64", 1, 8, false},
    {"U8", 1, 1, false},    {"U16", 1, 2, false},     {"U32", 1, 4, false},     {"U64", 1, 8, false},
    {"BOOL", 1, 1, false},  {"F8_E4M3", 1, 1, false}, {"F8_E5M2", 1, 1, false},
};
static_assert(std::size(kFacts) == static_cast<size_t>(DType::kF8_E5M2) + 1);

// The names of GGML's types by their number, as ggml.h lists them; null for numbers that were withdrawn.
constexpr const char* kGgmlTypeNames[] = {
    "F32",   "F16",    "Q4_0",  "Q4_1",  nullptr, nullptr,   "Q5_0",   "Q5_1",    "Q8_0",  "Q8_1",   "Q2_K",
    "Q3_K",  "Q4_K",   "Q5_K",  "Q6_K",  "Q8_K",  "IQ2_XXS", "IQ2_XS", "IQ3_XXS", "IQ1_S", "IQ4_NL", "IQ3_S",
    "IQ2_S", "IQ4_XS", "I8",    "I16",   "I32",   "I64",     "F64",    "IQ1_M",   "BF16",  nullptr,  nullptr,
    nullptr, "TQ1_0",  "TQ2_0", nullptr, nullptr, nullptr,   "MXFP4",  "NVFP4",   "Q1_0",
};

std::optional<DType> dtype_by_name(std::string_view name) {
  for (size_t i = 0; i < std::size(kFacts); ++i) {
    if (name == kFacts[i].name) return static_cast<DType>(i);
  }
  return std::nullopt;
}

}  // namespace

const DTypeFacts& dtype_facts(DType dtype) { return kFacts[static_cast<size_t>(dtype)]; }

std::optional<DType> safetensors_dtype(std::string_view name) {
  const std::optional<DType> dtype = dtype_by_name(name);
  // The block formats are GGML's alone.
  return dtype && dtype_facts(*dtype).block_elements == 1 ? dtype : std::nullopt;
}

std::optional<DType> gguf_dtype(uint32_t ggml_type) {
  if (ggml_type >= std::size(kGgmlTypeNames) || kGgmlTypeNames[ggml_type] == nullptr) return std::nullopt;
  return dtype_by_name(kGgmlTypeNames[ggml_type]);
}

std::string ggml_type_name(uint32_t ggml_type) {
  if (ggml_type >= std::size(kGgmlTypeNames) || kGgmlTypeNames[ggml_type] == nullptr) {
    return "type " + std::to_string(ggml_type);
  }
  return kGgmlTypeNames[ggml_type];
}

}  // namespace lowrank
