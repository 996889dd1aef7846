// lowrank_cuda_roofline NAME:MULTIPROCESSORS:SHARED_BYTES …: JSON with the ops, their costs and kernel launches for each of some
// models' steps on each of those devices. Kernels are named by their address in the file `library`, as `nm` has it.
#include <dlfcn.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <map>
#include <string>
#include <vector>

#include "core/error.h"
#include "cost.h"
#include "cuda/dispatch.h"
#include "paper_model.h"

namespace {

using namespace lowrank;
using namespace lowrank::bench;

struct Device {
  std::string name;
  cuda::DeviceFacts facts;
};

struct NamedStep {
  const char* name;
  StepShape shape;
};

// A decode is one token each of some sequences, a prefill one whole prompt.
const NamedStep kSteps[] = {
    {"decode", {1, 1, 512, 0}},  {"decode", {1, 1, 2048, 0}},  {"decode", {16, 1, 512, 0}},
    {"decode", {16, 1, 2048, 0}}, {"prefill", {1, 512, 0, 0}}, {"prefill", {1, 2048, 0, 0}},
};
constexpr int32_t kRank = 16;

// Ops that are alike, with their launches.
struct Kind {
  std::string label;
  int count = 0;
  Cost cost;  // of all
  std::string launches;  // of one
};

// The library of a kernel, and its address there.
Dl_info library_of(const void* kernel) {
  Dl_info info{};
  if (dladdr(kernel, &info) == 0) throw Error(ErrorCode::kInternal, "Expected every kernel to lie in a library.");
  return info;
}
uintptr_t address_of(const void* kernel) {
  return reinterpret_cast<uintptr_t>(kernel) - reinterpret_cast<uintptr_t>(library_of(kernel).dli_fbase);
}

std::string launches_of(const cuda::Launches& launches) {
  std::string text;
  for (const auto& one : launches.all()) {
    char line[256];
    std::snprintf(line, sizeof line, "%s{\"kernel\": %lu, \"blocks\": %.0f, \"threads\": %u, \"shared\": %zu}", text.empty() ? "" : ", ",
                  static_cast<unsigned long>(address_of(one.kernel)),
                  double{1} * one.grid.x * one.grid.y * one.grid.z, one.block.x * one.block.y * one.block.z, one.shared_bytes);
    text += line;
  }
  return text;
}

void print_step(const ModelShape& model, const NamedStep& named, int32_t rank, const PaperStep& step, const Device& device) {
  std::map<std::string, Kind> kinds;
  std::vector<std::string> order;
  for (const PaperStep::Op& op : step.ops()) {
    cuda::Launches launches(device.facts);
    cuda::enqueue_op(launches, {op.code, static_cast<uint32_t>(op.params.size()), op.params.data()});
    const std::string text = launches_of(launches);
    const std::string key = label_of(op) + '\n' + text;
    Kind& kind = kinds[key];
    if (kind.count == 0) {
      order.push_back(key);
      kind.label = label_of(op);
      kind.launches = text;
    }
    ++kind.count;
    kind.cost += cost_of(step, op, device.facts);
  }
  std::printf("{\"model\": \"%s\", \"step\": \"%s\", \"sequences\": %d, \"rows\": %d, \"context\": %d, \"rank\": %d, \"device\": \"%s\", \"ops\": [",
              model.name, named.name, named.shape.sequences, named.shape.rows, named.shape.context, rank, device.name.c_str());
  for (size_t i = 0; i < order.size(); ++i) {
    const Kind& kind = kinds[order[i]];
    const Cost& cost = kind.cost;
    std::printf("%s\n  {\"op\": \"%s\", \"count\": %d, \"read\": %.0f, \"written\": %.0f, \"int8_mma\": %.0f, \"bf16_mma\": %.0f, "
                "\"dp4a\": %.0f, \"float32\": %.0f, \"launches\": [%s]}",
                i == 0 ? "" : ",", kind.label.c_str(), kind.count, cost.read, cost.written, cost.int8_mma, cost.bf16_mma, cost.dp4a,
                cost.float32, kind.launches.c_str());
  }
  std::printf("]}");
}

Device parsed(const char* text) {
  char name[64];
  int multiprocessors = 0, shared = 0;
  if (std::sscanf(text, "%63[^:]:%d:%d", name, &multiprocessors, &shared) != 3 || multiprocessors < 1 || shared < 1) {
    std::fprintf(stderr, "Expected NAME:MULTIPROCESSORS:SHARED_BYTES, received %s.\n", text);
    std::exit(2);
  }
  return {name, {multiprocessors, shared}};
}

}  // namespace

int main(int count, char** arguments) {
  std::vector<Device> devices;
  for (int i = 1; i < count; ++i) devices.push_back(parsed(arguments[i]));
  try {
    void (*const enqueue)(cuda::Launches&, const device::OpRecord&) = cuda::enqueue_op;
    std::printf("{\"library\": \"%s\", \"models\": [", library_of(reinterpret_cast<const void*>(enqueue)).dli_fname);
    const char* separator = "";
    for (const ModelShape& shape : model_shapes()) {
      const PaperModel model(shape);
      std::printf("%s\n{\"name\": \"%s\", \"like\": \"%s\", \"weight_bytes\": %zu, \"adapter_bytes\": %zu}", separator, shape.name, shape.like,
                  model.weight_bytes(), model.adapter_bytes(kRank));
      separator = ",";
    }
    std::printf("],\n\"rank\": %d, \"steps\": [", kRank);
    separator = "";
    for (const ModelShape& shape : model_shapes()) {
      const PaperModel model(shape);
      for (const NamedStep& named : kSteps)
        for (const int32_t rank : {0, kRank}) {
          StepShape step = named.shape;
          step.rank = rank;
          const PaperStep& recorded = model.record(step);
          for (const Device& device : devices) {
            std::printf("%s\n", separator);
            print_step(shape, named, rank, recorded, device);
            separator = ",";
          }
        }
    }
    std::printf("]}\n");
  } catch (const std::exception& error) {
    std::fprintf(stderr, "lowrank_cuda_roofline: %s\n", error.what());
    return 1;
  }
  return 0;
}
