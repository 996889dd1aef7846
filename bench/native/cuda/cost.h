// What an op of a step asks of a GPU, counted from its parameters as its kernels read them: the bytes that must come from and go
// to the device's memory (what a step reads again, by other blocks of the same kernel, comes from the caches and is counted
// once), and operations, two for a multiply-add, of tiles padded as the kernels pad them.
#pragma once

#include <string>

#include "cuda/launches.h"
#include "paper_plugin.h"

namespace lowrank::bench {

struct Cost {
  double read = 0;      // bytes
  double written = 0;   // bytes
  double int8_mma = 0;  // operations of int8 tensor cores
  double bf16_mma = 0;  // of bfloat16 tensor cores
  double dp4a = 0;      // of int8 dot products
  double float32 = 0;   // of float32 arithmetic; but for products and the shrink, about: so many for each element
  Cost& operator+=(const Cost& other);
};

// Throws where the op is none that a decoder's step has.
Cost cost_of(const PaperStep& step, const PaperStep::Op& op, const cuda::DeviceFacts& device);

// "matmul_expand 1536 x 576"
std::string label_of(const PaperStep::Op& op);

}  // namespace lowrank::bench
