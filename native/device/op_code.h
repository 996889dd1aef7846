// The ops that a plugin runs, by number: part of the interface between addon and plugin.
#pragma once

#include <cstdint>

namespace lowrank::device {

enum class OpCode : uint32_t {
  kEmbedGather,
  kRmsNormQuantizeShrink,
  kQuantizeShrink,
  kGluQuantizeShrink,
  kMatmulExpand,
  kRopeAngles,
  kRopeWriteKv,
  kAttentionPaged,
  kRmsNormAdd,
  kLogitsBlocks,
  kLogitsCandidates,
};
inline constexpr uint32_t kOpCodes = 11;

}  // namespace lowrank::device
