#include "device/device_backend.h"

#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "check.h"
#include "device/packing.h"
#include "device_under_test.h"
#include "emulated_settings.h"
#include "ops/op_case.h"
#include "quant/scheme_name.h"

using namespace lowrank;
using namespace lowrank::test;

namespace {

std::vector<MatrixSpec> specs() {
  std::vector<MatrixSpec> all;
  const int32_t shapes[][2] = {{1, 1}, {17, 65}, {5, 128}, {33, 200}, {16, 257}};
  for (const auto& shape : shapes) {
    for (const WeightFormat format : {WeightFormat::kInt8, WeightFormat::kBFloat16, WeightFormat::kFloat32})
      all.push_back({shape[0], shape[1], format, ActivationFormat::kFloat32});
    all.push_back({shape[0], shape[1], WeightFormat::kInt8, ActivationFormat::kInt8});
    MatrixSpec transformed = all.back();
    transformed.set_transform(true, {}, {});
    all.push_back(transformed);
    std::vector<float> smoothing;
    for (int32_t k = 0; k < shape[1]; ++k) smoothing.push_back(0.5f + static_cast<float>(k % 7));
    transformed.set_transform(true, shape[1] > 64 ? std::vector<int32_t>{3, 40, shape[1] - 1} : std::vector<int32_t>{0}, smoothing);
    all.push_back(transformed);
  }
  return all;
}

std::vector<float> weights_of(const MatrixSpec& spec, uint64_t seed) {
  Random random(seed);
  return random.floats(static_cast<size_t>(spec.rows) * static_cast<size_t>(spec.cols), -2.0f, 2.0f);
}

std::vector<float> unpacked(const Backend& backend, const Matrix& matrix) {
  std::vector<float> out(static_cast<size_t>(matrix.rows) * static_cast<size_t>(matrix.cols));
  backend.unpack(matrix, 0, matrix.rows, out.data());
  return out;
}

std::string text_of(const MatrixSpec& spec) {
  return scheme_name(spec.scheme) + ", " + std::to_string(spec.rows) + " x " +
         std::to_string(spec.cols) + (spec.outliers.empty() ? "" : ", transformed");
}

}  // namespace

TEST("device/backend: packed weights have the bits of the CPU's") {
  const Backend& backend = device_under_test();
  const Backend& cpu = cpu_backend("reference");
  for (const MatrixSpec& spec : specs()) {
    const std::vector<float> weights = weights_of(spec, 7);
    const TestMatrix here = make_matrix(backend, spec, weights);
    const TestMatrix there = make_matrix(cpu, spec, weights);
    expect_same_bits(label(backend, text_of(spec)), unpacked(backend, *here.packed), unpacked(cpu, *there.packed));
    const MatrixSpec read = backend.spec_of(*here.packed);
    CHECK(read == spec);
    CHECK(here.packed->bytes >= static_cast<size_t>(spec.rows) * static_cast<size_t>(spec.cols));
  }
}

TEST("device/backend: scale groups of a size that no kernel knows are refused by name") {
  for (const int32_t group : {64, 256}) {
    const MatrixSpec spec = {16, 256, {WeightFormat::kInt8, ActivationFormat::kInt8, group}};
    try {
      device_under_test().allocate(spec);
      CHECK(!"thrown");
    } catch (const Error& error) {
      CHECK(error.code() == ErrorCode::kBackendUnavailable);
      CHECK(std::string(error.what()).find("received " + std::to_string(group) + ".") != std::string::npos);
    }
    CHECK_THROWS_CODE(make_matrix(device_under_test(), spec, std::vector<float>(16 * 256, 1.0f)), ErrorCode::kBackendUnavailable);
  }
}

TEST("device/backend: weights kept and put back are the same matrix, and a changed byte changes the checksum") {
  const Backend& backend = device_under_test();
  for (const MatrixSpec& spec : specs()) {
    const TestMatrix one = make_matrix(backend, spec, weights_of(spec, 11));
    const auto copy = backend.allocate(spec);
    CHECK(backend.checksum(*copy) != backend.checksum(*one.packed));
    const std::vector<MemoryRange> from = backend.memory(*one.packed), to = backend.memory(*copy);
    CHECK_EQ(from.size(), to.size());
    for (size_t i = 0; i < from.size(); ++i) {
      CHECK_EQ(from[i].bytes, to[i].bytes);
      std::vector<uint8_t> bytes(from[i].bytes);
      backend.read(bytes.data(), from[i].data, bytes.size());
      backend.write(to[i].data, bytes.data(), bytes.size());
    }
    const uint64_t sum = backend.checksum(*one.packed);
    CHECK_EQ(backend.checksum(*copy), sum);
    expect_same_bits(text_of(spec), unpacked(backend, *copy), unpacked(backend, *one.packed));
    uint8_t byte = 0;
    backend.read(&byte, to[0].data, 1);
    byte ^= 1;
    backend.write(to[0].data, &byte, 1);
    CHECK(backend.checksum(*copy) != sum);
  }
}

TEST("device/backend: wrong specs, rows and weights are refused as on the CPU") {
  const Backend& backend = device_under_test();
  CHECK_THROWS_CODE(backend.allocate({0, 4, WeightFormat::kInt8, ActivationFormat::kInt8}), ErrorCode::kInvalidArgument);
  CHECK_THROWS_CODE(backend.allocate({4, 4, WeightFormat::kFloat32, ActivationFormat::kInt8}), ErrorCode::kInvalidArgument);
  const MatrixSpec spec{4, 4, WeightFormat::kInt8, ActivationFormat::kInt8};
  std::vector<float> weights = weights_of(spec, 3);
  const TestMatrix matrix = make_matrix(backend, spec, weights);
  float row[4];
  CHECK_THROWS_CODE(backend.unpack(*matrix.packed, 4, 1, row), ErrorCode::kInvalidArgument);
  weights[9] = std::numeric_limits<float>::quiet_NaN();
  CHECK_THROWS_CODE(make_matrix(backend, spec, weights), ErrorCode::kModelFormat);
  const float infinite = std::numeric_limits<float>::infinity();
  CHECK_THROWS_CODE(backend.pack_lora_a(&infinite, 1, 1, LoraDType::kBFloat16), ErrorCode::kAdapterFormat);
  CHECK_THROWS_CODE(backend.pack_lora_b(&infinite, 0, 1, LoraDType::kBFloat16), ErrorCode::kInvalidArgument);
}

TEST("device/backend: memory is cleared, written, copied and read") {
  const Backend& backend = device_under_test();
  const size_t count = 1000;
  const BackendMemory a = backend.reserve(count, Buffer::Pages::kHuge), b = backend.reserve(count, Buffer::Pages::kHuge);
  std::vector<uint8_t> bytes(count, 1);
  backend.read(bytes.data(), a.as<void>(), count);
  CHECK(bytes == std::vector<uint8_t>(count, 0));
  for (size_t i = 0; i < count; ++i) bytes[i] = static_cast<uint8_t>(i * 7);
  backend.write(a.as<void>(), bytes.data(), count);
  backend.copy(b.as<uint8_t>() + 100, a.as<uint8_t>() + 10, 500);
  std::vector<uint8_t> read(500);
  backend.read(read.data(), b.as<uint8_t>() + 100, read.size());
  CHECK(std::memcmp(read.data(), bytes.data() + 10, read.size()) == 0);
  CHECK(backend.reserve(0, Buffer::Pages::kHuge).as<void>() == nullptr);
  CHECK(!backend.shares_host_memory());
}

TEST("device/backend: more memory than there is is a coded error, and what is there stays usable") {
  const auto& backend = device_under_test();
  const size_t total = backend.device().memory().total_bytes;
  CHECK_THROWS_CODE(backend.reserve(total + 1, Buffer::Pages::kHuge), ErrorCode::kOutOfMemory);
  CHECK_THROWS_CODE(backend.allocate({1 << 27, 1 << 17, WeightFormat::kFloat32, ActivationFormat::kFloat32}),
                    ErrorCode::kOutOfMemory);
  const BackendMemory memory = backend.reserve(64, Buffer::Pages::kHuge);
  CHECK(memory.as<void>() != nullptr);
}

TEST("device/backend: memory that is given back can be had again") {
  if (!emulated()) return;  // the device's memory is made small
  auto& device = device_under_test().device();
  const size_t used = device.memory().used_bytes;
  EmulatedSettings setting;
  setting->memory_bytes = used + (size_t{48} << 20);
  for (int i = 0; i < 8; ++i) CHECK(device.allocate_uncleared(size_t{32} << 20).as<void>() != nullptr);
  CHECK_EQ(device.memory().used_bytes, used);
}
