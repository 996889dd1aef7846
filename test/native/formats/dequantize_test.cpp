#include "formats/dequantize.h"

#include <cmath>
#include <cstring>
#include <fstream>
#include <filesystem>
#include <iterator>
#include <random>
#include <string>
#include <vector>

#include "check.h"
#include "core/float16.h"

using namespace lowrank;

namespace {

// Element i of a block, written from the format description one element at a time and in double: the
// decoder's tables, loops and order of the elements appear nowhere here. Every value is exact in double
// before the one rounding.
double element_by_definition(DType dtype, const uint8_t* b, int i) {
  const auto half = [&](int at) {
    return static_cast<double>(float16_to_float32(static_cast<uint16_t>(b[at] | (b[at + 1] << 8))));
  };
  const auto signed_byte = [&](int at) { return b[at] < 128 ? b[at] : b[at] - 256; };
  const auto nibble = [&](int at, int index) {
    return index < 16 ? b[at + index] % 16 : b[at + index - 16] / 16;
  };
  const auto bit = [&](int at, int index) { return (b[at + index / 8] >> (index % 8)) % 2; };
  // 6-bit scale (which = 0) or min (which = 1) of group g: the packing of Q4_K and Q5_K.
  const auto packed6 = [&](int which, int g) {
    const int low = g < 4 ? b[4 + 4 * which + g] % 64 : (which == 0 ? b[8 + g] % 16 : b[8 + g] / 16);
    return g < 4 ? low : low + 16 * (b[4 * which + g] / 64);
  };
  switch (dtype) {
    case DType::kQ8_0: return half(0) * signed_byte(2 + i);
    case DType::kQ4_0: return half(0) * (nibble(2, i) - 8);
    case DType::kQ4_1: return half(0) * nibble(4, i) + half(2);
    case DType::kQ5_0: return half(0) * (nibble(6, i) + 16 * bit(2, i) - 16);
    case DType::kQ5_1: return half(0) * (nibble(8, i) + 16 * bit(4, i)) + half(2);
    case DType::kQ4_K:
    case DType::kQ5_K: {
      const int g = i / 32;
      const int nibbles = dtype == DType::kQ4_K ? 16 : 48;
      const uint8_t byte = b[nibbles + 32 * (g / 2) + i % 32];
      int q = g % 2 == 0 ? byte % 16 : byte / 16;
      if (dtype == DType::kQ5_K) q += 16 * ((b[16 + i % 32] >> g) % 2);
      return half(0) * packed6(0, g) * q - half(2) * packed6(1, g);
    }
    case DType::kQ6_K: {
      const int in_half = i % 128;
      const uint8_t byte = b[64 * (i / 128) + in_half % 64];
      const int low = in_half < 64 ? byte % 16 : byte / 16;
      const int high = (b[128 + 32 * (i / 128) + in_half % 32] >> (2 * (in_half / 32))) % 4;
      return half(208) * signed_byte(192 + i / 16) * (low + 16 * high - 32);
    }
    default: return std::nan("");
  }
}

constexpr DType kBlockTypes[] = {DType::kQ8_0, DType::kQ4_0, DType::kQ4_1, DType::kQ5_0,
                                 DType::kQ5_1, DType::kQ4_K, DType::kQ5_K, DType::kQ6_K};

// Random bytes, with the float16 scales kept finite.
std::vector<uint8_t> random_blocks(DType dtype, int count, std::mt19937_64& random) {
  const auto block_bytes = static_cast<size_t>(dtype_facts(dtype).block_bytes);
  std::vector<uint8_t> bytes(block_bytes * static_cast<size_t>(count));
  for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(random());
  const size_t first_scale = dtype == DType::kQ6_K ? 208 : 0;
  const bool has_min =
      dtype == DType::kQ4_1 || dtype == DType::kQ5_1 || dtype == DType::kQ4_K || dtype == DType::kQ5_K;
  for (size_t block = 0; block < bytes.size(); block += block_bytes) {
    bytes[block + first_scale + 1] &= 0xbf;  // exponent below 16: finite
    if (has_min) bytes[block + 3] &= 0xbf;
  }
  return bytes;
}

}  // namespace

TEST("dequantize: every block type equals its definition, element by element") {
  std::mt19937_64 random(11);
  for (const DType dtype : kBlockTypes) {
    const int per_block = dtype_facts(dtype).block_elements;
    const int blocks = 200;
    const std::vector<uint8_t> bytes = random_blocks(dtype, blocks, random);
    std::vector<float> out(static_cast<size_t>(blocks * per_block));
    dequantize(dtype, bytes.data(), static_cast<int64_t>(out.size()), out.data());
    int wrong = 0;
    for (int i = 0; i < blocks * per_block; ++i) {
      const uint8_t* block = bytes.data() + i / per_block * dtype_facts(dtype).block_bytes;
      const auto expected = static_cast<float>(element_by_definition(dtype, block, i % per_block));
      if (out[static_cast<size_t>(i)] != expected) ++wrong;
    }
    if (wrong != 0) std::fprintf(stderr, "    %s\n", dtype_facts(dtype).name);
    CHECK_EQ(wrong, 0);
  }
}

TEST("dequantize: every type equals what the gguf package decodes") {
  const auto folder = std::filesystem::path(__FILE__).parent_path() / "data";
  const std::pair<DType, const char*> files[] = {
      {DType::kBF16, "bf16.bin"}, {DType::kQ8_0, "q8_0.bin"}, {DType::kQ4_0, "q4_0.bin"},
      {DType::kQ4_1, "q4_1.bin"}, {DType::kQ5_0, "q5_0.bin"}, {DType::kQ5_1, "q5_1.bin"},
      {DType::kQ4_K, "q4_k.bin"}, {DType::kQ5_K, "q5_k.bin"}, {DType::kQ6_K, "q6_k.bin"}};
  for (const auto& [dtype, name] : files) {
    std::ifstream file(folder / name, std::ios::binary);
    const std::vector<char> bytes{std::istreambuf_iterator<char>(file), {}};
    CHECK(bytes.size() > 8);
    if (bytes.size() <= 8) continue;
    uint32_t sizes[2];  // elements, encoded bytes
    std::memcpy(sizes, bytes.data(), 8);
    CHECK_EQ(bytes.size(), 8 + sizes[1] + sizes[0] * sizeof(float));
    const DTypeFacts& facts = dtype_facts(dtype);
    CHECK_EQ(sizes[1], sizes[0] / static_cast<uint32_t>(facts.block_elements) *
                           static_cast<uint32_t>(facts.block_bytes));
    std::vector<float> expected(sizes[0]);
    std::memcpy(expected.data(), bytes.data() + 8 + sizes[1], expected.size() * sizeof(float));
    std::vector<float> out(sizes[0]);
    dequantize(dtype, reinterpret_cast<const uint8_t*>(bytes.data()) + 8, sizes[0], out.data());
    CHECK(out == expected);
  }
}

TEST("dequantize: plain floats, also from odd addresses and for any count") {
  std::mt19937_64 random(12);
  for (const int64_t count : {1, 2, 3, 7, 8, 31, 33, 1000}) {
    for (const size_t shift : {size_t{0}, size_t{1}, size_t{3}}) {
      const auto n = static_cast<size_t>(count);
      std::vector<uint8_t> bytes(shift + 8 * n);
      std::vector<float> out(n);
      std::vector<double> values(n);
      for (double& value : values) value = std::ldexp(static_cast<double>(random() % 2000) - 1000, -7);

      std::memcpy(bytes.data() + shift, values.data(), 8 * n);
      dequantize(DType::kF64, bytes.data() + shift, count, out.data());
      for (size_t i = 0; i < n; ++i) CHECK_EQ(static_cast<double>(out[i]), values[i]);
      for (size_t i = 0; i < n; ++i) {
        const auto value = static_cast<float>(values[i]);
        std::memcpy(bytes.data() + shift + 4 * i, &value, 4);
      }
      dequantize(DType::kF32, bytes.data() + shift, count, out.data());
      for (size_t i = 0; i < n; ++i) CHECK_EQ(static_cast<double>(out[i]), values[i]);
      for (size_t i = 0; i < n; ++i) {
        const uint16_t half = float32_to_float16(static_cast<float>(values[i]));
        std::memcpy(bytes.data() + shift + 2 * i, &half, 2);
      }
      dequantize(DType::kF16, bytes.data() + shift, count, out.data());
      for (size_t i = 0; i < n; ++i) CHECK_EQ(static_cast<double>(out[i]), values[i]);
      for (size_t i = 0; i < n; ++i) {
        const uint16_t brain = float32_to_bfloat16(static_cast<float>(values[i]));
        std::memcpy(bytes.data() + shift + 2 * i, &brain, 2);
      }
      dequantize(DType::kBF16, bytes.data() + shift, count, out.data());
      for (size_t i = 0; i < n; ++i) CHECK_NEAR(out[i], values[i], std::fabs(values[i]) / 256);
    }
  }
}

TEST("dequantize: float16 arrays give every pattern its value") {
  std::vector<uint16_t> patterns(65536);
  for (size_t i = 0; i < patterns.size(); ++i) patterns[i] = static_cast<uint16_t>(i);
  std::vector<float> out(patterns.size());
  dequantize(DType::kF16, reinterpret_cast<const uint8_t*>(patterns.data()), 65536, out.data());
  int wrong = 0;
  for (size_t i = 0; i < patterns.size(); ++i) {
    const float expected = float16_to_float32(patterns[i]);
    if (std::memcmp(&out[i], &expected, sizeof expected) != 0) ++wrong;
  }
  CHECK_EQ(wrong, 0);
}

TEST("dequantize: nothing is written for no elements") {
  float untouched = 3.0f;
  for (const DType dtype : kBlockTypes) dequantize(dtype, nullptr, 0, &untouched);
  CHECK_EQ(untouched, 3.0f);
}

TEST("dtype: names and numbers of the formats") {
  CHECK(safetensors_dtype("BF16") == DType::kBF16);
  CHECK(safetensors_dtype("F8_E4M3") == DType::kF8_E4M3);
  CHECK(safetensors_dtype("BOOL") == DType::kBool);
  CHECK(!safetensors_dtype("Q8_0"));
  CHECK(!safetensors_dtype("bf16"));
  CHECK(!safetensors_dtype(""));
  CHECK(gguf_dtype(0) == DType::kF32);
  CHECK(gguf_dtype(8) == DType::kQ8_0);
  CHECK(gguf_dtype(14) == DType::kQ6_K);
  CHECK(gguf_dtype(30) == DType::kBF16);
  CHECK(!gguf_dtype(4));
  CHECK(!gguf_dtype(10));
  CHECK(!gguf_dtype(4'000'000'000u));
  CHECK_EQ(ggml_type_name(23), std::string("IQ4_XS"));
  CHECK_EQ(ggml_type_name(5), std::string("type 5"));
  CHECK_EQ(ggml_type_name(1000), std::string("type 1000"));
  CHECK_EQ(std::string(dtype_facts(DType::kF8_E5M2).name), std::string("F8_E5M2"));
}
