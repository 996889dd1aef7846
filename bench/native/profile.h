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
};

// Prints the time of a step of `rows` new tokens after `context` others, and of each kind of op in it.
void profile(const std::string& path, const ProfileOptions& options);

}  // namespace lowrank::bench
