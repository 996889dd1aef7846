#pragma once

#include <cstdint>
#include <string>

namespace lowrank::bench {

struct ProfileOptions {
  int32_t rows;
  int32_t context;  // tokens before
  int threads;
  bool int8_kv = false;
  bool decode = false;  // each row the next token of its own sequence; else all of them one sequence's prompt
  int32_t adapters = 0;  // rank-16 bfloat16 adapters on all projections, dealt out to runs of rows
  int32_t blocks = -1;   // rows of a block that a thread takes through the layers; 0: whole batches; -1: as the engine does it
  int32_t runs = 30;     // of the step, and of each op
};

// Prints the time of a step of `rows` new tokens after `context` others, and of each kind of op in it. An op of a block is
// timed alone, cut into parts like any other.
void profile(const std::string& path, const ProfileOptions& options);

}  // namespace lowrank::bench
