#include "cpu/emulated_vpdpbusd.h"

#include "cpu/backend.h"
#include "cpu/features.h"
#include "generated/instruction_sets.h"

#if defined(__linux__) && defined(__x86_64__)

#include <cpuid.h>
#include <signal.h>
#include <ucontext.h>

#include <atomic>
#include <cstring>

namespace lowrank::test {
namespace {

std::atomic<long> emulated{0};

// Of the frame's XSAVE area (Intel SDM, volume 1, 13.4): where the upper halves of the ymm registers lie.
size_t upper_halves_offset() {
  uint32_t size = 0, offset = 0, ecx = 0, edx = 0;
  __get_cpuid_count(0xd, 2, &size, &offset, &ecx, &edx);
  return offset;
}

// The ymm registers of the interrupted code.
class Registers {
 public:
  Registers(ucontext_t& context, size_t upper_offset)
      : lower_(reinterpret_cast<uint8_t*>(context.uc_mcontext.fpregs->_xmm)),
        upper_(reinterpret_cast<uint8_t*>(context.uc_mcontext.fpregs) + upper_offset) {}
  void read(int index, uint8_t (&ymm)[32]) const {
    std::memcpy(ymm, lower_ + 16 * index, 16);
    std::memcpy(ymm + 16, upper_ + 16 * index, 16);
  }
  void write(int index, const uint8_t (&ymm)[32]) {
    std::memcpy(lower_ + 16 * index, ymm, 16);
    std::memcpy(upper_ + 16 * index, ymm + 16, 16);
  }

 private:
  uint8_t* lower_;
  uint8_t* upper_;
};

// VEX.256.66.0F38.W0 50 /r with a register as its last operand: C4, R X B inverted and the map 2, W and vvvv inverted and L and pp,
// the opcode, ModRM.
struct Vpdpbusd {
  static constexpr int kBytes = 5;
  bool known;
  int sum, weights, activations;

  explicit Vpdpbusd(const uint8_t* code)
      : known(code[0] == 0xc4 && (code[1] & 0x1f) == 2 && (code[2] & 0x87) == 0x05 && code[3] == 0x50 && code[4] >= 0xc0),
        sum((code[4] >> 3 & 7) | ((code[1] & 0x80) == 0 ? 8 : 0)),
        weights(~(code[2] >> 3) & 15),
        activations((code[4] & 7) | ((code[1] & 0x20) == 0 ? 8 : 0)) {}
};

size_t upper_offset = 0;

void run(const Vpdpbusd& instruction, Registers& registers) {
  uint8_t sums[32], weights[32], activations[32];
  registers.read(instruction.sum, sums);
  registers.read(instruction.weights, weights);
  registers.read(instruction.activations, activations);
  for (int lane = 0; lane < 32; lane += 4) {
    int32_t sum;
    std::memcpy(&sum, sums + lane, sizeof sum);
    for (int i = lane; i < lane + 4; ++i) sum += weights[i] * static_cast<int8_t>(activations[i]);
    std::memcpy(sums + lane, &sum, sizeof sum);
  }
  registers.write(instruction.sum, sums);
}

void on_illegal_instruction(int, siginfo_t*, void* pointer) {
  auto& context = *static_cast<ucontext_t*>(pointer);
  auto& code = context.uc_mcontext.gregs[REG_RIP];
  Registers registers(context, upper_offset);
  // With those that follow, as a signal takes microseconds.
  const long long begin = code;
  for (;; code += Vpdpbusd::kBytes) {
    const Vpdpbusd instruction(reinterpret_cast<const uint8_t*>(code));
    if (!instruction.known) break;
    run(instruction, registers);
    emulated.fetch_add(1, std::memory_order_relaxed);
  }
  if (code == begin) signal(SIGILL, SIG_DFL);  // it comes again, and ends the process
}

std::unique_ptr<Backend> make_emulated() {
  constexpr uint64_t kVnni = cpu::feature_mask({"avx_vnni"});
  constexpr uint64_t kAvx2 = cpu::feature_mask({"avx", "avx2", "fma", "f16c"});
  const uint64_t there = cpu::processor_features();
  if ((there & kVnni) != 0 || (there & kAvx2) != kAvx2) return nullptr;
  upper_offset = upper_halves_offset();
  struct sigaction action = {};
  action.sa_sigaction = on_illegal_instruction;
  action.sa_flags = SA_SIGINFO;
  sigaction(SIGILL, &action, nullptr);
  return cpu::make_backend("avx_vnni (emulated)", cpu::avx_vnni::kTraits, cpu::avx_vnni::ops());
}

}  // namespace

const Backend* emulated_avx_vnni() {
  static const std::unique_ptr<Backend> backend = make_emulated();
  return backend.get();
}

long emulated_instructions() { return emulated.load(); }

}  // namespace lowrank::test

#else

namespace lowrank::test {

const Backend* emulated_avx_vnni() { return nullptr; }
long emulated_instructions() { return 0; }

}  // namespace lowrank::test

#endif
