// A device plugin on paper: memory is addresses with nothing behind them, and a step is kept instead of run. So the engine's own
// graph and the device's own ops give the launches and costs of a model of any size, on any machine.
#pragma once

#include <cstdint>
#include <map>
#include <vector>

#include "device/plugin.h"

namespace lowrank::bench {

// A step as the plugin was given it; `params` of its ops are copies.
class PaperStep {
 public:
  struct Op {
    device::OpCode code;
    std::vector<std::byte> params;
    template <class Params>
    const Params& as() const {
      return *reinterpret_cast<const Params*>(params.data());
    }
  };

  void take(const device::StepRecord& step);
  const std::vector<Op>& ops() const { return ops_; }

  // What the step would have copied to this address of the device, as the host has it. Throws where nothing was.
  template <class T>
  const T* staged(const T* address) const {
    return address == nullptr ? nullptr : static_cast<const T*>(at(address));
  }

 private:
  struct Range {
    std::vector<std::byte> bytes;
  };
  const void* at(const void* address) const;

  std::vector<Op> ops_;
  std::map<uintptr_t, Range> ranges_;  // by their begin on the device
};

// The table, for DeviceBackend; there is one device. `last_step` is what its `run` was called with last, on this thread.
const device::PluginTable& paper_plugin();
const PaperStep& last_step();

}  // namespace lowrank::bench
