// Where the contracts of ops leave the rounding open: what a backend does there. Tests hold it to this.
#pragma once

namespace lowrank {

struct NumericTraits {
  const char* rounding;     // equal names: every op gives the same bits; packed weights, which are calibrated by ops, are shared
  bool bfloat16_attention;  // attention rounds what it multiplies with bfloat16 keys and values to bfloat16
  bool bfloat16_low_rank;   // shrink and expand round what they multiply with bfloat16 factors and outlier columns to bfloat16
  bool byte_attention;      // attention multiplies an int8 cache of head_dim % 4 == 0 as bytes: see ops/attention_paged.h
};

}  // namespace lowrank
