#include "emulator/race_report.h"

#include <link.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <string>

#include "emulator/threads.h"

namespace lowrank::emulator::races {

namespace {

constexpr int kStatus = 66;  // ThreadSanitizer's

struct Code {
  std::string module;
  uintptr_t offset = 0;  // within it
};

// The code whose address ends in these bits. Modules lie far apart or next to each other, so there is one.
Code code_at(uint32_t place) {
  struct Search {
    uint32_t place;
    Code found;
  } search{place, {}};
  dl_iterate_phdr(
      [](dl_phdr_info* info, size_t, void* data) {
        Search& in = *static_cast<Search*>(data);
        for (int i = 0; i < info->dlpi_phnum; ++i) {
          const auto& part = info->dlpi_phdr[i];
          if (part.p_type != PT_LOAD || (part.p_flags & PF_X) == 0) continue;
          const uintptr_t begin = info->dlpi_addr + part.p_vaddr;
          const uint32_t within = in.place - static_cast<uint32_t>(begin);
          if (within >= part.p_memsz) continue;
          in.found = {info->dlpi_name[0] != '\0' ? info->dlpi_name : "/proc/" + std::to_string(getpid()) + "/exe",
                      part.p_vaddr + within};
          return 1;
        }
        return 0;
      },
      &search);
  return search.found;
}

// "name of the function at file:line", by addr2line, which comes with the compiler.
std::string text_of(uint32_t place) {
  const Code code = code_at(place);
  char offset[32];
  std::snprintf(offset, sizeof offset, "0x%zx", code.offset - 1);  // where it returns to is beyond the access
  const std::string command = "addr2line -Cfipse '" + code.module + "' " + offset + " 2>/dev/null";
  std::string text;
  if (FILE* const pipe = popen(command.c_str(), "r"); pipe != nullptr) {
    char line[1024];
    while (std::fgets(line, sizeof line, pipe) != nullptr) text += std::string(text.empty() ? "" : "      ") + line;
    pclose(pipe);
  }
  return text.empty() ? code.module + "+" + offset + "\n" : text;
}

std::string who(const Accessor& one) {
  if (one.thread == kNobody) return "the host or a copy";
  if (!one.same_launch)
    return "thread " + std::to_string(one.thread) + " of block " + std::to_string(one.block) + " of another launch";
  const dim3 block = current_block.block, grid = current_block.grid;
  const auto place = [](uint32_t at, dim3 size) {
    return "(" + std::to_string(at % size.x) + ", " + std::to_string(at / size.x % size.y) + ", " +
           std::to_string(at / size.x / size.y) + ")";
  };
  return "thread " + place(one.thread, block) + " of block " + place(one.block, grid);
}

const char* name_of(Kind kind) {
  return kind == Kind::kRead ? "read" : kind == Kind::kWrite ? "write" : "atomic operation";
}
const char* name_of(Memory memory) {
  return memory == Memory::kDevice ? "the device's memory" : memory == Memory::kPinned ? "pinned memory" : "shared memory";
}

}  // namespace

void report(Kind kind, const void* data, size_t bytes, Memory memory, const Accessor& now, Kind kind_before,
            const Accessor& before) {
  std::fflush(stdout);
  std::fprintf(stderr,
               "EMULATED: data race in %s at %p\n"
               "  a %s of %zu bytes by %s at\n      %s"
               "  and nothing orders it after a %s by %s at\n      %s",
               name_of(memory), data, name_of(kind), bytes, who(now).c_str(), text_of(now.place).c_str(), name_of(kind_before),
               who(before).c_str(), text_of(before.place).c_str());
  std::fflush(stderr);
  _exit(kStatus);
}

}  // namespace lowrank::emulator::races
