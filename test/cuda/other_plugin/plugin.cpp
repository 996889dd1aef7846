// A plugin that this version must refuse: of another interface, or built from other sources.
#include "device/plugin.h"
#include "device/op_params.h"

namespace {

#if defined(OTHER_VERSION)
constexpr uint32_t kVersion = lowrank::device::kPluginVersion + 1;
#else
constexpr uint32_t kVersion = lowrank::device::kPluginVersion;
#endif

const lowrank::device::PluginTable* make_table() {
  static uint32_t sizes[lowrank::device::kOpCodes];
  for (uint32_t i = 0; i < lowrank::device::kOpCodes; ++i) sizes[i] = lowrank::device::kOpParamsBytes[i];
  sizes[lowrank::device::kOpCodes - 1] += 8;
  static lowrank::device::PluginTable table{};
  table.version = kVersion;
  table.table_bytes = sizeof table;
  table.kind = "cuda";
  table.op_params_bytes = sizes;
  return &table;
}

}  // namespace

extern "C" __attribute__((visibility("default"))) const lowrank::device::PluginTable* lowrank_cuda_plugin() {
  return make_table();
}
