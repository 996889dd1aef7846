#include "host_call.h"

#include "core/error.h"

namespace lowrank::test {

void* HostCall::copy_of(void* host, size_t bytes, bool written) {
  if (host == nullptr) return nullptr;
  const device::DeviceBackend& backend = device_under_test();
  const auto found = copies_.find(host);
  if (found != copies_.end()) {
    if (found->second.device.bytes() < bytes) throw Error(ErrorCode::kInternal, "Expected one length for an array of a call.");
    found->second.written = found->second.written || written;
    return found->second.device.as<void>();
  }
  Copy copy{backend.reserve(bytes, Buffer::Pages::kOwn), written};
  backend.write(copy.device.as<void>(), host, bytes);
  return copies_.emplace(host, std::move(copy)).first->second.device.as<void>();
}

Activations HostCall::activations(const Activations& in, int32_t rows) {
  const auto count = static_cast<size_t>(rows);
  Activations there = in;
  there.q = in_out(in.q, count * static_cast<size_t>(in.stride));
  there.scale = in_out(in.scale, count * static_cast<size_t>(in.groups()));
  there.compensation = nullptr;
  there.outliers = in_out(in.outliers, count * kMaxOutliers);
  there.values = in_out(in.values, count * static_cast<size_t>(in.stride));
  return there;
}

AdapterSegments HostCall::adapters(const AdapterSegments& segments, int32_t rows, int32_t in_cols, int32_t out_cols) {
  if (segments.rows == nullptr) return {};
  AdapterSegments there = segments;
  there.h = in_out(segments.h, static_cast<size_t>(rows) * static_cast<size_t>(segments.h_stride));
  rows_.assign(segments.rows, segments.rows + segments.count);
  for (AdapterRows& one : rows_) {
    std::vector<ShrinkTerm>& shrink = shrink_.emplace_back(one.shrink, one.shrink + one.shrink_count);
    for (ShrinkTerm& term : shrink) term.rank_scale = in(term.rank_scale, static_cast<size_t>(term.a->rank));
    one.shrink = shrink.data();
    one.norm_gain = in(one.norm_gain, static_cast<size_t>(in_cols));
    one.output_gain = out_cols == 0 ? nullptr : in(one.output_gain, static_cast<size_t>(out_cols));
    one.bias = out_cols == 0 ? nullptr : in(one.bias, static_cast<size_t>(out_cols));
  }
  there.rows = rows_.data();
  return there;
}

void HostCall::run(const std::function<void()>& op) {
  const device::DeviceBackend& backend = device_under_test();
  backend.run_step(op);
  for (const auto& [host, copy] : copies_)
    if (copy.written) backend.read(host, copy.device.as<void>(), copy.device.bytes());
}

}  // namespace lowrank::test
