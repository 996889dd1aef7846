// lowrank_cuda_selftest wrappers | ceilings [quick]: one JSON object. Status 3: there is no GPU.
#include <cstdio>
#include <cstring>
#include <exception>

#include "core/error.h"
#include "selftest/ceilings.h"
#include "selftest/device.h"
#include "selftest/wrappers.h"

namespace {

using namespace lowrank;
using namespace lowrank::selftest;

constexpr int kNoDevice = 3;
#if defined(__CUDACC__)
constexpr bool kEmulated = false;
#else
constexpr bool kEmulated = true;
#endif

void print_device(const Device& device) {
  std::printf("{\"emulated\": %s, \"device\": \"%s\", \"capability\": %d, \"multiprocessors\": %d", kEmulated ? "true" : "false",
              device.name().c_str(), device.capability(), device.facts().multiprocessors);
}

void print_wrappers(const Device& device) {
  print_device(device);
  std::printf(", \"wrappers\": [");
  std::vector<uint32_t> memory(kWrapperMemory);
  const char* separator = "\n";
  for (const Wrapper& wrapper : wrappers()) {
    std::vector<uint32_t> out(static_cast<size_t>(32 * wrapper.words));
    for (uint32_t i = 0; i < kWrapperMemory; ++i) memory[i] = mixed(i + 100'000);
    const DeviceBlock results(out.size() * sizeof(uint32_t)), global(memory.size() * sizeof(uint32_t));
    global.write(memory.data(), memory.size() * sizeof(uint32_t));
    cuda::Launches launches(device.facts());
    launches.add(wrapper.kernel, dim3(1), dim3(32), 0, WrapperParams{results.as<uint32_t>(), global.as<uint32_t>()});
    device.run(launches);
    results.read(out.data(), out.size() * sizeof(uint32_t));
    std::printf("%s  {\"name\": \"%s\", \"ulp_of_each\": %d, \"ulp_of_largest\": %d, \"words\": [", separator, wrapper.name,
                wrapper.ulp_of_each, wrapper.ulp_of_largest);
    for (size_t i = 0; i < out.size(); ++i) std::printf("%s%u", i == 0 ? "" : ", ", out[i]);
    std::printf("]}");
    separator = ",\n";
  }
  std::printf("\n]}\n");
}

void print_ceilings(Device& device, bool quick) {
  const std::vector<Ceiling> ceilings = measure_ceilings(device, quick);
  print_device(device);
  std::printf(", \"ceilings\": [");
  for (size_t i = 0; i < ceilings.size(); ++i)
    std::printf("%s{\"name\": \"%s\", \"unit\": \"%s\", \"value\": %.6g}", i == 0 ? "" : ", ", ceilings[i].name, ceilings[i].unit,
                ceilings[i].value);
  std::printf("]}\n");
}

}  // namespace

int main(int count, char** arguments) {
  try {
    if (count == 2 && std::strcmp(arguments[1], "wrappers") == 0) {
      const Device device;
      print_wrappers(device);
      return 0;
    }
    if ((count == 2 || (count == 3 && std::strcmp(arguments[2], "quick") == 0)) && std::strcmp(arguments[1], "ceilings") == 0) {
      Device device;
      print_ceilings(device, count == 3);
      return 0;
    }
  } catch (const Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return error.code() == ErrorCode::kBackendUnavailable ? kNoDevice : 1;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
  std::fputs("Usage: lowrank_cuda_selftest wrappers | ceilings [quick]\n", stderr);
  return 2;
}
