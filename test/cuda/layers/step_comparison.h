// One step on the CPU and on a device, op by op: before each op the device gets what the CPU's ops have left, after it all of
// the memory that ops write is compared. So no op answers for the rounding of another.
#pragma once

#include <map>
#include <string>

#include "device/device_backend.h"
#include "kv_cache/kv_cache.h"
#include "model/decoder_graph.h"
#include "model/model.h"

namespace lowrank::test {

// What the ops of one kind differ by, as shares of the bounds: at most 1 passes.
struct Difference {
  int ops = 0;
  int64_t values = 0;    // compared
  double worst = 0;
  int64_t flips = 0;     // of int8 activations: off by one
  std::string worst_at;  // which memory
};

// A model on one backend with the memory of its steps.
struct Side {
  Side(const Model& of, int32_t rows, int32_t pages)
      : model(of),
        cache(of.backend(), {static_cast<int32_t>(of.config().layers.size()), of.config().kv_heads, of.config().head_dim,
                             kv_format(of.precision()), pages}),
        scratch(of.backend(), of.config(), rows, rows, pages * kPageTokens) {}
  const Model& model;
  KvCache cache;
  Scratch scratch;
  Program program;
};

class StepComparison {
 public:
  // The same model on both; `device` is the backend of the second.
  StepComparison(const Model& cpu, const Model& other, const device::DeviceBackend& device, int32_t rows, int32_t pages, int threads);

  // A page table for the sequence, the same on both sides.
  BlockTable& blocks() { return blocks_; }
  // `batch` and `device_batch` differ in their compositions alone; `rows` are those whose logits are wanted.
  void run(const Batch& batch, const Batch& device_batch, const std::vector<int32_t>& rows);

  const std::map<std::string, Difference>& differences() const { return differences_; }

 private:
  // Of float32 values; of each row the first columns count.
  struct Rows {
    size_t count, stride, columns;
  };
  void hand_over();
  void compare(Difference& into, int32_t rows, int32_t logit_rows, bool rope);
  void compare_floats(Difference& into, const char* what, const BackendMemory& expected, const BackendMemory& actual,
                      const Rows& rows, double bound);
  void compare_int8(Difference& into, int32_t rows);
  void compare_cache(Difference& into);
  std::string name_of(const Program::Step& step) const;

  Side cpu_, other_;
  const device::DeviceBackend& device_;
  const int threads_;
  BlockTable blocks_, other_blocks_;
  std::map<std::string, Difference> differences_;
};

}  // namespace lowrank::test
