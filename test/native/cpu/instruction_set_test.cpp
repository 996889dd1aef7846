#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <functional>
#include <optional>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "backend/backend.h"
#include "backend/training_op.h"
#include "check.h"
#include "cpu/backend.h"
#include "cpu/emulated_vpdpbusd.h"
#include "cpu/features.h"
#include "generated/instruction_sets.h"
#include "model/packed_weights.h"
#include "ops/op_case.h"

using namespace lowrank;
using namespace lowrank::test;

namespace {

// Sets LOWRANK_ISA, or unsets it, and puts it back at the end.
class ForcedIsa {
 public:
  explicit ForcedIsa(const char* value) {
    if (const char* before = std::getenv("LOWRANK_ISA")) before_ = before;
    set(value);
  }
  ~ForcedIsa() { set(before_ ? before_->c_str() : nullptr); }

 private:
  static void set(const char* value) {
    if (value == nullptr)
      unsetenv("LOWRANK_ISA");
    else
      setenv("LOWRANK_ISA", value, 1);
  }
  std::optional<std::string> before_;
};

}  // namespace

TEST("cpu/instruction_set: each stands before the one that it extends, and the reference comes last and is always there") {
  const std::vector<InstructionSet> sets = cpu_instruction_sets();
  CHECK(sets.size() > 1);
  std::set<std::string> further_down;
  for (size_t i = sets.size(); i-- > 0;) {
    const InstructionSet& set = sets[i];
    CHECK(std::string(set.description).size() > 10);
    const bool last = i + 1 == sets.size();
    CHECK_EQ(std::string(set.name) == "reference", last);
    CHECK_EQ(further_down.count(set.extends), last ? size_t{0} : size_t{1});
    CHECK(further_down.insert(set.name).second);
  }
  CHECK(sets.back().available);
}

TEST("cpu/instruction_set: each available one answers to its name and has every op") {
  for (const InstructionSet& set : cpu_instruction_sets()) {
    if (!set.available) {
      CHECK_THROWS_CODE(cpu_backend(set.name), ErrorCode::kBackendUnavailable);
      continue;
    }
    const Backend& backend = cpu_backend(set.name);
    CHECK_EQ(std::string(backend.name()), std::string("cpu"));
    CHECK_EQ(std::string(backend.instruction_set()), std::string(set.name));
    const OpTable& ops = backend.ops();
#define LOWRANK_HAS_OP(name, Name) CHECK(ops.name != nullptr);
    LOWRANK_INFERENCE_OPS(LOWRANK_HAS_OP)
#undef LOWRANK_HAS_OP
#define LOWRANK_HAS_OP(name, Name) CHECK(training_op(backend, &TrainingOps::name) != nullptr);
    LOWRANK_TRAINING_OPS(LOWRANK_HAS_OP)
#undef LOWRANK_HAS_OP
    // The product is what an instruction set is for: a table that merely carries another's proves nothing.
    for (const InstructionSet& other : cpu_instruction_sets())
      if (other.available)
        CHECK_EQ(ops.matmul_expand == cpu_backend(other.name).ops().matmul_expand, std::string(set.name) == other.name);
  }
}

TEST("cpu/instruction_set: a backend without an op of training says so by name, and runs without it") {
  OpTable ops = cpu::reference::ops();
  CHECK(cpu::make_backend("whole", cpu::reference::kTraits, ops)->training_ops() != nullptr);
  ops.training = {};
  const std::unique_ptr<Backend> backend = cpu::make_backend("no_training", cpu::reference::kTraits, ops);
  CHECK(backend->training_ops() == nullptr);
#define LOWRANK_REFUSES_OP(name, Name)                                   \
  try {                                                                  \
    training_op(*backend, &TrainingOps::name);                           \
    CHECK(!"thrown");                                                    \
  } catch (const Error& error) {                                         \
    const std::string message = error.what();                            \
    CHECK(error.code() == ErrorCode::kBackendUnavailable);               \
    CHECK(message.find(#name) != std::string::npos);                     \
    CHECK(message.find("cpu (no_training)") != std::string::npos);       \
    CHECK_EQ(op_name(cpu::reference::ops(), reinterpret_cast<const void*>(cpu::reference::ops().training.name)), std::string(#name)); \
  }
  LOWRANK_TRAINING_OPS(LOWRANK_REFUSES_OP)
#undef LOWRANK_REFUSES_OP
}

TEST("cpu/instruction_set: packed weights of every one lie alike") {
  const std::string layout = cpu_backend("reference").weights_layout();
  CHECK(!layout.empty());
  for (const Backend* backend : product_backends()) CHECK_EQ(std::string(backend->weights_layout()), layout);
}

TEST("cpu/instruction_set: packed weights are shared by those that round alike") {
  const OpTable& ops = cpu::reference::ops();
  const NumericTraits one = {"one", false, false, false}, other = {"other", false, false, false};
  const auto id = [&](const char* name, const NumericTraits& traits) {
    return packed_weights_id(*cpu::make_backend(name, traits, ops), weight_schemes(Precision::kInt8));
  };
  CHECK_EQ(id("first", one), id("second", one));
  CHECK(id("first", one) != id("first", other));
  CHECK(id("first", one).find(cpu_backend("reference").weights_layout()) != std::string::npos);
}

TEST("cpu/instruction_set: packed weights of other formats have another name") {
  const Backend& backend = cpu_backend("reference");
  const WeightSchemes preset = weight_schemes(Precision::kInt8);
  std::set<std::string> ids = {packed_weights_id(backend, preset)};
  const auto differs = [&](const auto& change) {
    WeightSchemes schemes = preset;
    change(schemes);
    CHECK(ids.insert(packed_weights_id(backend, schemes)).second);
  };
  for (const int32_t group : {64, 256})
    differs([&](WeightSchemes& schemes) { for_each_scheme(schemes, [&](QuantScheme& one) { one.group = group; }); });
  differs([](WeightSchemes& schemes) { schemes.lm_head.rotated = false; });
  differs([](WeightSchemes& schemes) { schemes.lm_head.smoothed = false; });
  differs([](WeightSchemes& schemes) { schemes.lm_head.outliers = 7; });
  differs([](WeightSchemes& schemes) { schemes.embed_tokens.group = 64; });
  differs([](WeightSchemes& schemes) { schemes.sites[1].weights = WeightFormat::kBFloat16; });
  differs([](WeightSchemes& schemes) { schemes.sites[3].activations = ActivationFormat::kFloat32; });
}

TEST("cpu/instruction_set: a pair of formats without a kernel is refused by name, whoever packs it") {
  OpTable ops = cpu::reference::ops();
  ops.matmul_kernels.of(WeightFormat::kInt8, ActivationFormat::kInt8) = nullptr;
  const std::unique_ptr<Backend> backend = cpu::make_backend("no_int8", cpu::reference::kTraits, ops);
  const RowReader unread = [](int32_t, int32_t, float*) { CHECK(!"read"); };
  const MatrixSpec spec = {3, 64, {WeightFormat::kInt8, ActivationFormat::kInt8}};
  CHECK_THROWS_CODE(backend->allocate(spec), ErrorCode::kBackendUnavailable);
  try {
    backend->pack(spec, unread, 1);
    CHECK(!"thrown");
  } catch (const Error& error) {
    CHECK(error.code() == ErrorCode::kBackendUnavailable);
    CHECK_EQ(std::string(error.what()),
             std::string("Expected weights and activations that cpu (no_int8) multiplies, received int8 weights with int8 activations. "
                         "It has: int8 with float32, bfloat16 with float32, float32 with float32."));
  }
  CHECK(backend->allocate({3, 64, {WeightFormat::kInt8, ActivationFormat::kFloat32}}) != nullptr);
}

TEST("cpu/instruction_set: every one has a kernel for each pair of formats that the reference has") {
  const MatmulKernels& reference = cpu::reference::ops().matmul_kernels;
  for (const Backend* backend : product_backends())
    for (int weights = 0; weights < kWeightFormats; ++weights)
      for (int activations = 0; activations < kActivationFormats; ++activations) {
        QuantScheme scheme;
        scheme.weights = static_cast<WeightFormat>(weights);
        scheme.activations = static_cast<ActivationFormat>(activations);
        const bool there = backend->ops().matmul_kernels.find(scheme) != nullptr;
        CHECK_EQ(there, reference.find(scheme) != nullptr);
        CHECK_EQ(there, scheme.activations == ActivationFormat::kFloat32 || is_quantized(scheme.weights));
      }
}

TEST("cpu/instruction_set: products of those of one rounding are the same bits") {
  const std::vector<const Backend*> backends = product_backends();
  size_t compared = 0;
  for (const auto [rows, cols, outputs] : {std::array{1, 64, 16}, std::array{5, 130, 33}, std::array{7, 576, 48}, std::array{13, 320, 80}}) {
    Random random(static_cast<uint64_t>(rows));
    const std::vector<float> weights = random.floats(static_cast<size_t>(outputs * cols), -1, 1);
    ActivationStore x(ActivationFormat::kInt8, rows, cols);
    const int32_t groups = x.view.groups(), group = x.view.group;
    std::memset(x.q.as<void>(), 0, static_cast<size_t>(rows * x.view.stride));
    for (int32_t m = 0; m < rows; ++m)
      for (int32_t g = 0; g < groups; ++g) {
        int32_t sum = 0;
        for (int32_t k = g * group; k < std::min(cols, (g + 1) * group); ++k)
          sum += x.q.as<int8_t>()[m * x.view.stride + k] = static_cast<int8_t>(random.integer(-127, 127));
        x.scale.as<float>()[m * groups + g] = random.uniform(1e-4f, 1e-2f);
        x.compensation.as<int32_t>()[m * groups + g] = -128 * sum;
      }
    const auto product = [&](const Backend& backend) {
      const TestMatrix matrix = make_matrix(backend, {outputs, cols, WeightFormat::kInt8, ActivationFormat::kInt8}, weights);
      std::vector<float> y(static_cast<size_t>(rows * outputs));
      MatmulExpandArgs args = {};
      args.x = x.view;
      args.w = matrix.packed.get();
      args.row_end = rows;
      args.y = y.data();
      args.y_stride = outputs;
      backend.ops().matmul_expand(args, 0, 1);
      return y;
    };
    for (size_t i = 0; i < backends.size(); ++i)
      for (size_t j = 0; j < i; ++j) {
        if (std::strcmp(backends[i]->traits().rounding, backends[j]->traits().rounding) != 0) continue;
        expect_same_bits(label(*backends[i], "against ") + label(*backends[j], ""), product(*backends[i]), product(*backends[j]));
        ++compared;
      }
  }
  std::printf("cpu/instruction_set: %zu comparisons of equal rounding\n", compared);
}

// `npm test` repeats at its end what this prints: a set that this machine lacks is tested on another one, or not at all.
TEST("cpu/instruction_set: the tests run on every set that there is, and the others are named") {
  std::string tested, missing;
  std::vector<std::string> names;
  for (const Backend* backend : product_backends()) {
    names.push_back(backend->instruction_set());
    tested += (tested.empty() ? "" : ", ") + names.back();
  }
  for (const InstructionSet& set : cpu_instruction_sets()) {
    const bool runs = std::find(names.begin(), names.end(), set.name) != names.end();
    CHECK_EQ(runs, set.available);
    const bool emulated = std::find(names.begin(), names.end(), std::string(set.name) + " (emulated)") != names.end();
    if (!runs && !emulated) missing += (missing.empty() ? "" : ", ") + std::string(set.name);
  }
  std::printf("instruction sets: tested on %s; not tested, as this processor lacks them: %s\n", tested.c_str(),
              missing.empty() ? "none" : missing.c_str());
}

TEST("cpu/instruction_set: LOWRANK_ISA forces one, and its absence takes the best") {
  for (const InstructionSet& set : cpu_instruction_sets()) {
    const ForcedIsa forced(set.name);
    if (set.available)
      CHECK_EQ(std::string(cpu_backend().instruction_set()), std::string(set.name));
    else
      CHECK_THROWS_CODE(cpu_backend(), ErrorCode::kBackendUnavailable);
  }
  std::string best;
  for (const InstructionSet& set : cpu_instruction_sets())
    if (set.available && best.empty()) best = set.name;
  for (const char* unset : {static_cast<const char*>(nullptr), ""}) {
    const ForcedIsa forced(unset);
    CHECK_EQ(std::string(cpu_backend().instruction_set()), best);
  }
}

TEST("cpu/instruction_set: an unknown name is refused with what there is") {
  CHECK_THROWS_CODE(cpu_backend("sse9"), ErrorCode::kBackendUnavailable);
  CHECK_THROWS_CODE(cpu_backend(""), ErrorCode::kBackendUnavailable);
  const ForcedIsa forced("AVX2");
  try {
    cpu_backend();
    CHECK(!"thrown");
  } catch (const Error& error) {
    const std::string message = error.what();
    CHECK(message.find("LOWRANK_ISA") != std::string::npos);
    CHECK(message.find("\"AVX2\"") != std::string::npos);
    CHECK(message.find("reference") != std::string::npos);
  }
}

TEST("cpu/instruction_set: AVX-VNNI's product is made of vpdpbusd, emulated or not") {
  const Backend* emulated = emulated_avx_vnni();
  if (emulated == nullptr) SKIP("the processor has AVX-VNNI, or cannot emulate it; test/native/ops tests its results");
  const long before = emulated_instructions();
  Random random(7);
  const TestMatrix matrix = make_matrix(*emulated, {16, 64, WeightFormat::kInt8, ActivationFormat::kInt8}, random.floats(16 * 64, -1, 1));
  ActivationStore x(ActivationFormat::kInt8, 1, 64);
  std::memset(x.q.as<void>(), 1, 64);
  x.scale.as<float>()[0] = 1;
  x.compensation.as<int32_t>()[0] = -128 * 64;
  std::vector<float> y(16);
  MatmulExpandArgs args = {};
  args.x = x.view;
  args.w = matrix.packed.get();
  args.row_end = 1;
  args.y = y.data();
  args.y_stride = 16;
  emulated->ops().matmul_expand(args, 0, 1);
  // 64 columns, 4 in a lane, 16 lanes of 8.
  CHECK_EQ(emulated_instructions() - before, 64L / 4 * 16 / 8);
}

#if defined(__linux__) && defined(__x86_64__)
TEST("cpu/instruction_set: detection agrees with the kernel's list of flags") {
  std::ifstream file("/proc/cpuinfo");
  std::set<std::string, std::less<>> flags;
  for (std::string line; std::getline(file, line) && flags.empty();) {
    if (line.rfind("flags", 0) != 0) continue;
    std::istringstream words(line.substr(line.find(':') + 1));
    for (std::string word; words >> word;)
      flags.insert(word);
  }
  CHECK(!flags.empty());
  int i = 0;
  for (const cpu::Feature& feature : cpu::kFeatures) {
    const bool found = (cpu::processor_features() >> i++ & 1) != 0;
    if (found != (flags.count(feature.name) != 0)) fail(__FILE__, __LINE__, std::string(feature.name) + " is there, or not");
  }
}

TEST("cpu/instruction_set: the system grants AMX's tiles where the processor has them, and nothing where nothing is asked") {
  CHECK(cpu::ask_permissions(0));
  const bool has_tiles = (cpu::processor_features() & cpu::feature_mask({"amx_tile"})) != 0;
  for (int times = 0; times < 2; ++times) CHECK_EQ(cpu::ask_permissions(cpu::permission_mask({"amx_tile_data"})), has_tiles);
}
#endif
