// The element types of model files: what safetensors and GGUF call them, and how many bytes they take.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace lowrank {

enum class DType : uint8_t {
  // Floating point, readable as float32.
  kF32,
  kF16,
  kBF16,
  kF64,
  // GGML's block formats, readable as float32; their layouts stand in dequantize.cpp.
  kQ8_0,
  kQ4_0,
  kQ4_1,
  kQ5_0,
  kQ5_1,
  kQ4_K,
  kQ5_K,
  kQ6_K,
  // Recognised, so that a file that holds them can be opened and an error can name them; never read.
  kI8,
  kI16,
  kI32,
  kI64,
  kU8,
  kU16,
  kU32,
  kU64,
  kBool,
  kF8_E4M3,
  kF8_E5M2,
};

struct DTypeFacts {
  const char* name;    // as safetensors or GGUF writes it
  int block_elements;  // consecutive elements along the innermost dimension that are stored together
  int block_bytes;
  bool readable;  // as float32, by dequantize()
};

const DTypeFacts& dtype_facts(DType dtype);

// By the name in a safetensors header ("F32", "BF16", …); nothing for a name that this reader does not know.
std::optional<DType> safetensors_dtype(std::string_view name);

// By the type number in a GGUF tensor record; nothing for a type that this reader does not know.
std::optional<DType> gguf_dtype(uint32_t ggml_type);

// The name of any GGML type number, for error messages; "type <n>" for a number without a name.
std::string ggml_type_name(uint32_t ggml_type);

}  // namespace lowrank
