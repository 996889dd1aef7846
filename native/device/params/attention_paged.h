// See ops/attention_paged.h. A slot is a pair of row and query head within one kv head's group:
// slot = row * group + h, with group = heads / kv_heads and h the head's place in the group.
#pragma once

#include "device/params/common.h"
#include "ops/attention_paged.h"

namespace lowrank::device {

// Consecutive slots whose rows have one block table. None where begin == end.
struct AttentionTile {
  int32_t begin;
  int32_t end;
};

// Slots of a tile. Narrow: one warp. Wide: a block whose warps share what they read of the cache.
inline constexpr int32_t kNarrowTile = 16;
inline constexpr int32_t wide_tile(int32_t head_dim) { return head_dim <= 128 ? 64 : 32; }
// Tiles by tensor cores are for a bfloat16 or an int8 cache and multiples of kTileDims up to kMaxTileDim; what is not runs row
// by row.
inline constexpr int32_t kTileDims = 16;
inline constexpr int32_t kMaxTileDim = 256;
// Up to so many rows, tiles are narrow, and different blocks take different splits of a context. Beyond, a block goes through
// the whole context.
inline constexpr int32_t kSplitRows = 64;

struct AttentionPagedParams {
  const float* q;  // [rows, q_stride]
  BlockTables tables;
  KvLayer cache;
  float* out;  // [rows, out_stride]
  // [tiles], or null: row by row. They depend on the launch's data; how many there are at most does not.
  const AttentionTile* tiles;
  // Softmax states of splits, which a second kernel merges. Split s of a row lies at place s % splits:
  float* partial_values;  // [rows * heads, splits, head_dim]
  float* partial_sums;    // [rows * heads, splits, 2]: the largest score, the sum
  int32_t q_stride;
  int32_t out_stride;
  int32_t rows;
  int32_t heads;
  int32_t kv_heads;
  int32_t head_dim;
  int32_t window;
  int32_t tile_count;  // places in `tiles`
  int32_t tile_slots;  // 0: row by row
  int32_t splits;      // blocks along a context; 0: one goes through all of it
  float score_scale;   // scale * log2(e): weights are powers of two; or 2 / soft_cap times that, see capped_score
  float score_cap;     // soft_cap * log2(e), or 0: none
};

}  // namespace lowrank::device
