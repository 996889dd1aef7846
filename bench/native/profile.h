#pragma once

#include <cstdint>
#include <string>

namespace lowrank::bench {

// Prints the time of a step of `rows` new tokens after `context` others, and of each kind of op in it.
void profile(const std::string& path, int32_t rows, int32_t context, int threads, bool int8_kv);

}  // namespace lowrank::bench
