#include "cpu/instruction_set.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <optional>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "backend/backend.h"
#include "check.h"
#include "cpu/detect.h"
#include "cpu/emulated_vpdpbusd.h"
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

TEST("cpu/instruction_set: the list is complete, best first, and the reference is always there") {
  const std::vector<InstructionSet> sets = cpu_instruction_sets();
  const std::vector<std::string> expected = {"avx512_vnni", "avx512vl_vnni", "avx_vnni", "avx2", "reference"};
  CHECK_EQ(sets.size(), expected.size());
  for (size_t i = 0; i < sets.size(); ++i) {
    CHECK_EQ(std::string(sets[i].name), expected[i]);
    CHECK(std::string(sets[i].description).size() > 10);
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
#define CHECK_HAS_OP(name, Args) CHECK(ops.name != nullptr);
    LOWRANK_EACH_OP(CHECK_HAS_OP)
#undef CHECK_HAS_OP
    // The product is what an instruction set is for: a table that merely carries the reference's proves
    // nothing.
    const bool is_reference = std::string(set.name) == "reference";
    CHECK((ops.matmul_expand == cpu::reference_ops().matmul_expand) == is_reference);
  }
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
  std::set<std::string> flags;
  for (std::string line; std::getline(file, line) && flags.empty();) {
    if (line.rfind("flags", 0) != 0) continue;
    std::istringstream words(line.substr(line.find(':') + 1));
    for (std::string word; words >> word;)
      flags.insert(word);
  }
  CHECK(!flags.empty());
  const auto all = [&](const std::vector<std::string>& names) {
    for (const std::string& name : names)
      if (flags.count(name) == 0) return false;
    return true;
  };
  const bool avx2 = all({"avx", "avx2", "fma", "f16c"});
  CHECK_EQ(cpu::processor_has_avx2(), avx2);
  CHECK_EQ(cpu::processor_has_avx_vnni(), avx2 && all({"avx_vnni"}));
  CHECK_EQ(cpu::processor_has_avx512vl_vnni(), avx2 && all({"avx512f", "avx512vl", "avx512_vnni"}));
  CHECK_EQ(cpu::processor_has_avx512_vnni(),
           avx2 && all({"avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512_vnni", "avx512_bf16"}));
}
#endif
