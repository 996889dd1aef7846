// The ops that a plugin runs, by number: part of the interface between addon and plugin.
#pragma once

#include <cstdint>

#include "ops/op_list.h"

namespace lowrank::device {

#define LOWRANK_OP_CODE(name, Name) k##Name,
enum class OpCode : uint32_t { LOWRANK_INFERENCE_OPS(LOWRANK_OP_CODE) };
#undef LOWRANK_OP_CODE

#define LOWRANK_COUNT_OP(name, Name) +1
inline constexpr uint32_t kOpCodes = 0 LOWRANK_INFERENCE_OPS(LOWRANK_COUNT_OP);
#undef LOWRANK_COUNT_OP

#define LOWRANK_OP_NAME(name, Name) #name,
inline constexpr const char* kOpNames[kOpCodes] = {LOWRANK_INFERENCE_OPS(LOWRANK_OP_NAME)};
#undef LOWRANK_OP_NAME

}  // namespace lowrank::device
