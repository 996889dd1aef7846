#include "core/machine_memory.h"

#include <algorithm>

#if defined(__linux__)
#include <fstream>
#include <limits>
#include <string>
#endif
#if defined(__unix__) || defined(__APPLE__)
#include <unistd.h>
#endif

namespace lowrank {
namespace {

uint64_t physical_memory() {
#if defined(_SC_PHYS_PAGES) && defined(_SC_PAGESIZE)
  const long pages = sysconf(_SC_PHYS_PAGES);
  const long bytes = sysconf(_SC_PAGESIZE);
  if (pages > 0 && bytes > 0) return static_cast<uint64_t>(pages) * static_cast<uint64_t>(bytes);
#endif
  return 0;
}

#if defined(__linux__)

constexpr uint64_t kNoLimit = std::numeric_limits<uint64_t>::max();

// The number in a cgroup's file; kNoLimit where it says "max" or cannot be read.
uint64_t limit_in(const std::string& path) {
  std::ifstream file(path);
  uint64_t value = 0;
  return file >> value && value > 0 ? value : kNoLimit;
}

// The path of this process in the hierarchy of `controller`, "" being that of version 2; "/" where it is not known.
std::string cgroup_path(const std::string& controller) {
  std::ifstream file("/proc/self/cgroup");
  for (std::string line; std::getline(file, line);) {
    const size_t first = line.find(':');
    const size_t second = line.find(':', first + 1);
    if (second == std::string::npos) continue;
    if (line.compare(first + 1, second - first - 1, controller) == 0) return line.substr(second + 1);
  }
  return "/";
}

// The least limit of a cgroup and of those that it lies in. In a container the path may be the host's: then the root is its own.
uint64_t cgroup_limit(const std::string& root, std::string path, const std::string& file) {
  uint64_t limit = limit_in(root + "/" + file);
  for (; path.size() > 1; path.resize(path.rfind('/'))) limit = std::min(limit, limit_in(root + path + "/" + file));
  return limit;
}

uint64_t limit_of_cgroups() {
  const uint64_t v2 = cgroup_limit("/sys/fs/cgroup", cgroup_path(""), "memory.max");
  const uint64_t v1 = cgroup_limit("/sys/fs/cgroup/memory", cgroup_path("memory"), "memory.limit_in_bytes");
  return std::min(v1, v2);
}

#endif

}  // namespace

uint64_t machine_memory() {
  const uint64_t physical = physical_memory();
#if defined(__linux__)
  const uint64_t limit = limit_of_cgroups();
  return physical == 0 ? (limit == kNoLimit ? 0 : limit) : std::min(physical, limit);
#else
  return physical;
#endif
}

}  // namespace lowrank
