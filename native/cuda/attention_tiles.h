// The attention kernel by tensor cores: brings pages of the cache to shared memory, a few ahead, for the warps of
// attention_warp.h.
#pragma once

#include "cuda/attention_warp.h"

namespace lowrank::cuda {

// One page of one kv head on its way to shared memory.
template <class Tiling>
LOWRANK_DEVICE void copy_page(const device::AttentionPagedParams& p, int64_t page, unsigned char* stage) {
  constexpr int kChunks = (Tiling::kRowBytes - 16) / 16;
  constexpr int kAcross = kChunks < 8 ? kChunks : 8;  // threads along a row
  constexpr int kDown = Tiling::kThreads / kAcross;
  const auto thread = static_cast<int32_t>(threadIdx.x);
  const auto kv_head = static_cast<int32_t>(blockIdx.y);
  const int32_t row_bytes = p.head_dim * Tiling::kElementBytes;
  const int64_t from = (page * p.cache.page_elements + int64_t{kv_head} * kPageTokens * p.head_dim) * Tiling::kElementBytes;
  const unsigned char* sources[2] = {static_cast<const unsigned char*>(p.cache.k) + from,
                                     static_cast<const unsigned char*>(p.cache.v) + from};
#pragma unroll
  for (int kind = 0; kind < 2; ++kind)
#pragma unroll Tiling::kLarge ? 1 : 4
    for (int32_t row = 0; row < kPageTokens; row += kDown)
#pragma unroll
      for (int i = 0; i < kChunks / kAcross; ++i) {
        const int32_t key = row + thread / kAcross;
        const int32_t at = (thread % kAcross + i * kAcross) * 16;
        if (at < row_bytes && key < kPageTokens)
          ptx::cp_async_16(stage + kind * Tiling::kPageBytes + key * Tiling::kRowBytes + at,
                           sources[kind] + int64_t{key} * row_bytes + at);
      }
  if constexpr (Tiling::kScaleBytes > 0) {
    constexpr int kPieces = Tiling::kScaleBytes / 16;
    if (thread < 2 * kPieces) {
      const int64_t scales = page * p.cache.page_scales + int64_t{kv_head} * kPageTokens + thread % kPieces * 4;
      ptx::cp_async_16(stage + 2 * Tiling::kPageBytes + thread * 16,
                       (thread < kPieces ? p.cache.k_scale : p.cache.v_scale) + scales);
    }
  }
}

// Grid: (places for tiles, kv_heads, splits or 1). Narrow: a warp for one split of a tile. Else a block for a whole context.
template <int kWidth, bool kInt8, bool kNarrow>
LOWRANK_KERNEL((AttentionTiling<kWidth, kInt8, kNarrow>::kThreads), (AttentionTiling<kWidth, kInt8, kNarrow>::kMinBlocks))
attention_tiles(device::AttentionPagedParams p) {
  using Tiling = AttentionTiling<kWidth, kInt8, kNarrow>;
  constexpr int kStages = Tiling::kStages;
  LOWRANK_DYNAMIC_SHARED(unsigned char, shared);
  const device::AttentionTile tile = p.tiles[blockIdx.x];
  if (tile.begin == tile.end) return;
  const TileView view = view_slots(p, tile.begin, tile.end, lane_index());
  int32_t page = view.begin / kPageTokens;
  int32_t end = view.last / kPageTokens + 1;
  const int32_t split = page / kPagesPerSplit + (kNarrow ? static_cast<int32_t>(blockIdx.z) : 0);
  if constexpr (kNarrow) {
    page = max(page, split * kPagesPerSplit);
    end = min(end, (split + 1) * kPagesPerSplit);
    if (page >= end) return;
  }
  const int32_t* pages = p.tables.pages + p.tables.first[tile.begin / (p.heads / p.kv_heads)];
  const auto stage_of = [&](int32_t number) { return shared + number % kStages * Tiling::kStageBytes; };
  const auto barrier = [] {
    if constexpr (kNarrow) __syncwarp(); else __syncthreads();
  };

#pragma unroll
  for (int ahead = 0; ahead < kStages - 1; ++ahead) {
    if (page + ahead < end) copy_page<Tiling>(p, pages[page + ahead], stage_of(ahead));
    ptx::cp_async_commit();
  }

  const int32_t slot = tile.begin + warp_index() * 16;
  AttentionWarp<Tiling, kWidth, kInt8> warp(p, min(slot, tile.end), min(slot + 16, tile.end),
                                            shared + kStages * Tiling::kStageBytes);
  float largest[2] = {-INFINITY, -INFINITY}, sum[2] = {0.0f, 0.0f};
  float* totals = reinterpret_cast<float*>(shared + kStages * Tiling::kStageBytes + Tiling::kQueryBytes) + threadIdx.x;
  if constexpr (!kNarrow)
    for (int i = 0; i < kWidth / 2; ++i) totals[i * Tiling::kThreads] = 0.0f;

  for (int32_t done = 0; page < end; ++done, ++page) {
    if constexpr (kStages > 1) {
      ptx::cp_async_wait<kStages - 2>();
      barrier();  // the page is there for all, and what the next copy overwrites was read by all
      if (page + kStages - 1 < end) copy_page<Tiling>(p, pages[page + kStages - 1], stage_of(done + kStages - 1));
      ptx::cp_async_commit();
    } else {
      barrier();
      copy_page<Tiling>(p, pages[page], shared);
      ptx::cp_async_commit();
      ptx::cp_async_wait<0>();
      barrier();
    }
    if (warp.sees(page)) {
      const unsigned char* stage = stage_of(done);
      const auto* scales = reinterpret_cast<const float*>(stage + 2 * Tiling::kPageBytes);
      warp.add_page(page, stage, stage + Tiling::kPageBytes, scales, scales + kPageTokens);
    }
    if constexpr (!kNarrow)
      if ((page + 1) % kPagesPerSplit == 0 || page + 1 == end) warp.merge_into(largest, sum, totals);
  }
  if constexpr (kNarrow) {
    warp.finish_split();
    if (p.splits > 1)
      warp.store_partial(split);
    else
      warp.store_alone();
  } else {
    warp.store(sum, [&](int n, int e) { return totals[(4 * n + e) * Tiling::kThreads]; });
  }
}

}  // namespace lowrank::cuda
