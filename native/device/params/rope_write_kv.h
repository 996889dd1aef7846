// See ops/rope_write_kv.h.
#pragma once

#include "device/params/common.h"
#include "ops/rope_write_kv.h"

namespace lowrank::device {

struct RopeAnglesParams {
  const int32_t* positions;  // [rows]
  const float* frequencies;  // [half_dim]
  float* cosine;             // [rows, half_dim]
  float* sine;               // [rows, half_dim]
  int32_t rows;
  int32_t half_dim;
  float attention_factor;
};

struct RopeWriteKvParams {
  float* qkv;                       // [rows, stride]
  const float* cosine;              // [rows, head_dim / 2], or null: no rotation
  const float* sine;                // [rows, head_dim / 2]
  const float* q_norm;              // [head_dim] or null; [heads, head_dim] where joint_norms
  const float* k_norm;              // [head_dim] or null; [kv_heads, head_dim] where joint_norms
  const float* const* q_norm_rows;  // [rows] or null
  const float* const* k_norm_rows;  // [rows] or null
  BlockTables tables;
  KvLayer cache;
  int32_t stride;
  int32_t rows;
  int32_t heads;
  int32_t kv_heads;
  int32_t head_dim;
  float norm_epsilon;
  int32_t joint_norms;
};

}  // namespace lowrank::device
