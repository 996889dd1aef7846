#include "paper_plugin.h"

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "core/error.h"
#include "device/op_params.h"

namespace lowrank::bench {
namespace {

using device::PluginDevice;
using device::PluginMessage;
using device::Status;

constexpr uintptr_t kFirstAddress = uintptr_t{1} << 44;  // no pointer of this process
constexpr size_t kAlignment = 256;
constexpr uint64_t kMemory = uint64_t{80} << 30;

thread_local PaperStep step;

Status probe(int32_t* devices, PluginMessage*) {
  *devices = 1;
  return Status::kOk;
}

Status describe(int32_t, device::DeviceDescription* out, PluginMessage*) {
  *out = {};
  std::snprintf(out->name, sizeof out->name, "paper");
  out->memory_bytes = kMemory;
  out->compute_major = 8;
  out->multiprocessors = 1;
  out->usable = 1;
  return Status::kOk;
}

Status open(int32_t, PluginDevice** device, PluginMessage*) {
  static char one;
  *device = reinterpret_cast<PluginDevice*>(&one);
  return Status::kOk;
}
void close(PluginDevice*) {}

Status memory(PluginDevice*, device::DeviceMemory* facts, PluginMessage*) {
  *facts = {kMemory, kMemory, 0, 0};
  return Status::kOk;
}
Status counters(PluginDevice*, device::DeviceCounters* out, PluginMessage*) {
  *out = {};
  return Status::kOk;
}

Status allocate(PluginDevice*, size_t bytes, void** out, PluginMessage*) {
  static std::atomic<uintptr_t> next{kFirstAddress};
  *out = reinterpret_cast<void*>(next.fetch_add((bytes + kAlignment - 1) / kAlignment * kAlignment + kAlignment));
  return Status::kOk;
}
void release(PluginDevice*, void*) {}

Status allocate_host(PluginDevice*, size_t bytes, void** out, PluginMessage*) {
  *out = std::aligned_alloc(kAlignment, (bytes + kAlignment - 1) / kAlignment * kAlignment);
  return *out == nullptr ? Status::kOutOfMemory : Status::kOk;
}
void free_host(PluginDevice*, void* host) { std::free(host); }

Status fill(PluginDevice*, void*, uint8_t, size_t, PluginMessage*) { return Status::kOk; }
Status copy_in(PluginDevice*, void*, const void*, size_t, PluginMessage*) { return Status::kOk; }
Status copy_out(PluginDevice*, void* host, const void*, size_t bytes, PluginMessage*) {
  std::memset(host, 0, bytes);
  return Status::kOk;
}
Status copy_within(PluginDevice*, void*, const void*, size_t, PluginMessage*) { return Status::kOk; }
Status finish_uploads(PluginDevice*, PluginMessage*) { return Status::kOk; }

Status run(PluginDevice*, const device::StepRecord* record, PluginMessage*) {
  step.take(*record);
  return Status::kOk;
}

}  // namespace

void PaperStep::take(const device::StepRecord& record) {
  ops_.clear();
  ranges_.clear();
  for (size_t i = 0; i < record.op_count; ++i) {
    const auto* params = static_cast<const std::byte*>(record.ops[i].params);
    ops_.push_back({record.ops[i].code, {params, params + record.ops[i].params_bytes}});
  }
  for (size_t i = 0; i < record.copies_in_count; ++i) {
    const device::HostCopy& copy = record.copies_in[i];
    const auto* bytes = static_cast<const std::byte*>(copy.host);
    ranges_[reinterpret_cast<uintptr_t>(copy.device)] = {{bytes, bytes + copy.bytes}};
  }
}

const void* PaperStep::at(const void* address) const {
  const auto wanted = reinterpret_cast<uintptr_t>(address);
  auto range = ranges_.upper_bound(wanted);
  if (range != ranges_.begin()) {
    --range;
    if (wanted - range->first < range->second.bytes.size()) return range->second.bytes.data() + (wanted - range->first);
  }
  throw Error(ErrorCode::kInternal, "Expected an address that the step copies to.");
}

const device::PluginTable& paper_plugin() {
  static const device::PluginTable table = {device::kPluginVersion,
                                            sizeof(device::PluginTable),
                                            "paper",
                                            "addresses without memory",
                                            device::kOpParamsBytes,
                                            probe,
                                            describe,
                                            open,
                                            close,
                                            memory,
                                            counters,
                                            allocate,
                                            release,
                                            allocate_host,
                                            free_host,
                                            fill,
                                            copy_in,
                                            copy_out,
                                            copy_within,
                                            copy_in,
                                            finish_uploads,
                                            run};
  return table;
}

const PaperStep& last_step() { return step; }

}  // namespace lowrank::bench
