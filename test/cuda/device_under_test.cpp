#include "device_under_test.h"

#include "device/plugin_loader.h"
#include "host_ops/ops.h"
#include "ops/op_case.h"

namespace lowrank::test {

std::string plugin_under_test() {
  std::string why;
  return device::plugin_path(LOWRANK_EMULATED_PLUGIN, why);
}

const device::DeviceBackend& device_under_test() {
  static const auto& backend =
      *new device::DeviceBackend(device::load_plugin(plugin_under_test()), 0, host_ops::op_table());
  return backend;
}

std::vector<const Backend*> available_backends() { return {&device_under_test()}; }
std::vector<const Backend*> product_backends() { return available_backends(); }

}  // namespace lowrank::test
