// What this machine can do at most, measured: the limits beside which the benchmarks print their figures.
#pragma once

#include <string>

namespace lowrank::bench {

struct Ceilings {
  double read_gb_per_s;    // streaming reads of memory, 10^9 bytes
  double int8_gop_per_s;   // multiplications and additions of int8 products, 10^9: vpdpbusd, or vpmaddwd without it
  double float_gop_per_s;  // those of float32 fused multiply-adds
};

// The best of several kernels on `threads` threads, each by its median over a few runs: those of the instruction set, or of what it
// extends.
Ceilings measure_ceilings(int threads, const std::string& instruction_set);

}  // namespace lowrank::bench
