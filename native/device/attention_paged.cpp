#include "device/params/attention_paged.h"

#include <algorithm>
#include <bit>
#include <cstdint>

#include "device/ops.h"
#include "device/staging.h"

namespace lowrank::device {
namespace {

constexpr size_t kMaxPartialBytes = size_t{64} << 20;
constexpr double kLog2E = 1.4426950408889634;

bool aligned(const void* address) { return reinterpret_cast<uintptr_t>(address) % 16 == 0; }

// Whether tiles can be copied in pieces of 16 bytes, and multiplied by tensor cores.
bool fits_tiles(const AttentionPagedArgs& args) {
  const KvLayer& cache = args.cache;
  if (cache.format == KvFormat::kFloat32 || args.head_dim % kTileDims != 0 || args.head_dim > kMaxTileDim) return false;
  const auto element = static_cast<int64_t>(kv_element_bytes(cache.format));
  if (!aligned(cache.k) || !aligned(cache.v) || cache.page_elements * element % 16 != 0) return false;
  return cache.format != KvFormat::kInt8 || (aligned(cache.k_scale) && aligned(cache.v_scale) && cache.page_scales % 4 == 0);
}

// Calls `visit` for the tiles of at most `slots` slots in ascending order.
template <class Visit>
void for_each_tile(const AttentionPagedArgs& args, int32_t slots, Visit&& visit) {
  const int32_t group = args.heads / args.kv_heads;
  for (int32_t row = 0; row < args.rows;) {
    int32_t end = row + 1;
    while (end < args.rows && args.block_tables[end] == args.block_tables[row]) ++end;
    for (int32_t slot = row * group; slot < end * group; slot += slots)
      visit(AttentionTile{slot, std::min(slot + slots, end * group)});
    row = end;
  }
}

int32_t tiles_at_most(const AttentionPagedArgs& args, int32_t slots) {
  const int32_t group = args.heads / args.kv_heads;
  return args.rows * ((group + slots - 1) / slots);
}

// Once a step for all layers: their rows and heads are the same. The last rows of a prompt see most, so they come first.
const AttentionTile* stage_tiles(Recorder& recorder, const AttentionPagedArgs& args, int32_t slots) {
  const auto places = static_cast<size_t>(tiles_at_most(args, slots));
  // The tables themselves go by their address.
  const char* key = reinterpret_cast<const char*>(args.block_tables) + (slots == kNarrowTile ? 1 : 2);
  const Staged<AttentionTile> tiles = recorder.stage_once<AttentionTile>(key, places);
  if (tiles.host == nullptr) return tiles.device;
  std::fill_n(tiles.host, places, AttentionTile{0, 0});
  size_t count = 0;
  for_each_tile(args, slots, [&](const AttentionTile& tile) { tiles.host[count++] = tile; });
  std::reverse(tiles.host, tiles.host + count);
  return tiles.device;
}

// Splits that a tile of one of these sizes touches at most.
int32_t touched_splits(const AttentionPagedArgs& args, int32_t slots) {
  const int32_t group = args.heads / args.kv_heads;
  int32_t most = 1;
  for_each_tile(args, slots, [&](const AttentionTile& tile) {
    const int32_t* begin = args.positions + tile.begin / group;
    const auto [lowest, highest] = std::minmax_element(begin, args.positions + (tile.end - 1) / group + 1);
    const int32_t first = args.window > 0 ? std::max(0, *lowest - args.window + 1) : 0;
    most = std::max(most, *highest / kAttentionSplit - first / kAttentionSplit + 1);
  });
  return most;
}

// Blocks along a context: as many as the longest context of the batch needs, rounded up to a power of two, or as many as a
// window can touch. So a decode is captured anew when its context has doubled and not with each split that it enters.
int32_t launched_splits(const AttentionPagedArgs& args, int32_t slots) {
  const int32_t last = *std::max_element(args.positions, args.positions + args.rows);
  const auto longest = static_cast<int32_t>(std::bit_ceil(static_cast<uint32_t>(last / kAttentionSplit + 1)));
  const int64_t in_window = (int64_t{args.window} + kAttentionSplit - 2) / kAttentionSplit + 1;
  const int32_t usual = args.window > 0 ? static_cast<int32_t>(std::min<int64_t>(longest, in_window)) : longest;
  return std::max(usual, touched_splits(args, slots));
}

}  // namespace

void attention_paged(const AttentionPagedArgs& args, int, int) {
  Recorder& recorder = Recorder::current();
  AttentionPagedParams params{};
  params.q = args.q;
  params.tables = stage_tables(recorder, args.block_tables, args.positions, args.rows);
  params.cache = args.cache;
  params.out = args.out;
  params.q_stride = args.q_stride;
  params.out_stride = args.out_stride;
  params.rows = args.rows;
  params.heads = args.heads;
  params.kv_heads = args.kv_heads;
  params.head_dim = args.head_dim;
  params.window = args.window;
  const double cap = static_cast<double>(args.soft_cap);
  params.score_scale = static_cast<float>(static_cast<double>(args.scale) * kLog2E * (cap == 0 ? 1 : 2 / cap));
  params.score_cap = static_cast<float>(cap * kLog2E);

  const bool tiles = fits_tiles(args);
  const int32_t group = args.heads / args.kv_heads;
  if (args.rows <= kSplitRows) {
    const int32_t splits = launched_splits(args, tiles ? kNarrowTile : group);
    const size_t states = static_cast<size_t>(args.rows) * static_cast<size_t>(args.heads) * static_cast<size_t>(splits);
    const size_t values = states * static_cast<size_t>(args.head_dim);
    const size_t bytes = (values + 2 * states) * sizeof(float);
    if (bytes <= kMaxPartialBytes) {
      params.splits = splits;
      if (splits > 1) {
        params.partial_values = static_cast<float*>(recorder.workspace(bytes));
        params.partial_sums = params.partial_values + values;
      }
    }
  }
  if (tiles) {
    params.tile_slots = params.splits > 0 ? kNarrowTile : wide_tile(args.head_dim);
    params.tile_count = tiles_at_most(args, params.tile_slots);
    params.tiles = stage_tiles(recorder, args, params.tile_slots);
  }
  recorder.add(OpCode::kAttentionPaged, params);
}

}  // namespace lowrank::device
