#include "cuda/logits_candidates.h"

#include "cuda/logits_order.h"

namespace lowrank::cuda {

// Grid: (blocks of ids, rows).
LOWRANK_KERNEL(kLogitsBlockThreads, 4) logits_blocks(device::LogitsBlocksParams p) {
  constexpr int kWarps = kLogitsBlockThreads / kWarpLanes;
  constexpr int kGroups = kLogitBlock / kLogitGroup / kWarps;  // of a warp
  static_assert(kLogitGroup == 64);
  LOWRANK_SHARED(uint32_t, warp_peak, kWarps);
  LOWRANK_SHARED(uint32_t, warp_nan, kWarps);
  LOWRANK_SHARED(float, warp_sum, kWarps);
  LOWRANK_SHARED(float, warp_weighted, kWarps);
  const device::LogitsRow row = p.rows[blockIdx.y];
  const int32_t lane = lane_index(), warp = warp_index();
  const int32_t first_group = (static_cast<int32_t>(blockIdx.x) * kWarps + warp) * kGroups;

  float x[kGroups][2];
  bool nan = false;
  uint32_t peak = order_of(-INFINITY);
#pragma unroll
  for (int g = 0; g < kGroups; ++g) {
    uint32_t group_peak = order_of(-INFINITY);
#pragma unroll
    for (int e = 0; e < 2; ++e) {
      const int32_t id = (first_group + g) * kLogitGroup + kWarpLanes * e + lane;
      x[g][e] = id < p.vocabulary ? adjusted_logit(row, id) : -INFINITY;
      const bool is_nan = x[g][e] != x[g][e];
      nan = nan || is_nan;
      if (!is_nan) group_peak = max(group_peak, order_of(x[g][e]));
    }
    group_peak = __reduce_max_sync(kWholeWarp, group_peak);
    if (lane == 0 && (first_group + g) * kLogitGroup < p.vocabulary) row.group_peaks[first_group + g] = logit_of(group_peak);
    peak = max(peak, group_peak);
  }
  const bool warp_has_nan = __any_sync(kWholeWarp, nan) != 0;
  if (lane == 0) {
    warp_peak[warp] = peak;
    warp_nan[warp] = warp_has_nan ? 1 : 0;
  }
  __syncthreads();
  LogitsBlock block{};
#pragma unroll
  for (int w = 0; w < kWarps; ++w) {
    peak = max(peak, warp_peak[w]);
    if (warp_nan[w] != 0) block.has_nan = 1;
  }
  block.peak = logit_of(peak);
  if (row.factor != 0.0f && block.has_nan == 0 && block.peak > -INFINITY && block.peak < INFINITY) {
    float sum = 0.0f, weighted = 0.0f;
#pragma unroll
    for (int g = 0; g < kGroups; ++g)
#pragma unroll
      for (int e = 0; e < 2; ++e) {
        const float exponent = (x[g][e] - block.peak) * row.factor;
        const float weight = expf(exponent);
        sum += weight;
        if (weight > 0.0f) weighted = __fmaf_rn(exponent, weight, weighted);
      }
#pragma unroll
    for (int distance = kWarpLanes / 2; distance > 0; distance /= 2) {
      sum += __shfl_xor_sync(kWholeWarp, sum, distance);
      weighted += __shfl_xor_sync(kWholeWarp, weighted, distance);
    }
    if (lane == 0) {
      warp_sum[warp] = sum;
      warp_weighted[warp] = weighted;
    }
    __syncthreads();
    for (int w = 0; w < kWarps; ++w) {
      block.sum += warp_sum[w];
      block.weighted += warp_weighted[w];
    }
  }
  if (threadIdx.x == 0) row.blocks[blockIdx.x] = block;
}

namespace {

constexpr int32_t kWarps = kCandidateThreads / kWarpLanes;
constexpr int32_t kDigits = 256;

// What a row's block of threads shares.
struct RowMemory {
  double* sums;         // [2 * kCandidateThreads]
  uint64_t* collected;  // [kCollectedIds]
  int32_t* histogram;   // [kDigits]
  int32_t* values;      // [kWarps]
};

// The row's peak, and whether all of its logits are finite or -inf and one is finite; the same in every thread.
LOWRANK_DEVICE LogitsSummary find_peak(const device::LogitsRow& row, int32_t blocks, const RowMemory& memory) {
  const int32_t lane = lane_index(), warp = warp_index();
  uint32_t peak = order_of(-INFINITY);
  bool nan = false;
  for (auto i = static_cast<int32_t>(threadIdx.x); i < blocks; i += kCandidateThreads) {
    nan = nan || row.blocks[i].has_nan != 0;
    peak = max(peak, order_of(row.blocks[i].peak));
  }
  // No logit has a larger order than infinity has, so a NaN may have.
  peak = __reduce_max_sync(kWholeWarp, nan ? 0xffffffffu : peak);
  if (lane == 0) memory.values[warp] = static_cast<int32_t>(peak);
  __syncthreads();
  for (int32_t w = 0; w < kWarps; ++w) peak = max(peak, static_cast<uint32_t>(memory.values[w]));
  LogitsSummary all{};
  const bool any_nan = peak == 0xffffffffu;
  all.peak = any_nan ? NAN : logit_of(peak);
  all.finite = !any_nan && all.peak > -INFINITY && all.peak < INFINITY ? 1 : 0;
  return all;
}

// Blocks i, i + kCandidateThreads, … in their order, then a tree of the threads. The sums are thread 0's alone.
LOWRANK_DEVICE void add_blocks(const device::LogitsRow& row, int32_t blocks, const RowMemory& memory, LogitsSummary& all) {
  const auto thread = static_cast<int32_t>(threadIdx.x);
  const auto factor = static_cast<double>(row.factor);
  double sum = 0, weighted = 0;
  for (int32_t i = thread; i < blocks; i += kCandidateThreads) {
    const LogitsBlock block = row.blocks[i];
    const double distance = (static_cast<double>(block.peak) - static_cast<double>(all.peak)) * factor;
    const double scale = exp(distance);
    if (scale == 0) continue;  // also of a block that is forbidden as a whole
    sum += scale * static_cast<double>(block.sum);
    weighted += scale * (static_cast<double>(block.weighted) + distance * static_cast<double>(block.sum));
  }
  double* sums = memory.sums;
  double* weights = memory.sums + kCandidateThreads;
  sums[thread] = sum;
  weights[thread] = weighted;
  for (int32_t half = kCandidateThreads / 2; half > 0; half /= 2) {
    __syncthreads();
    if (thread < half) {
      sums[thread] += sums[thread + half];
      weights[thread] += weights[thread + half];
    }
  }
  if (thread == 0) {
    all.sum = sums[0];
    all.weighted = weights[0];
  }
}

// Calls visit(there, rank) for the group peaks, as whole warps.
template <class Visit>
LOWRANK_DEVICE void each_group(const device::LogitsRow& row, int32_t groups, Visit&& visit) {
  for (int32_t base = warp_index() * kWarpLanes; base < groups; base += kCandidateThreads) {
    const int32_t group = base + lane_index();
    const bool there = group < groups;
    visit(there, there ? rank_of(row.group_peaks[group], 0) : 0);
  }
}

// The same for the ids whose logit has an order from `bound` on, which only groups with such a peak have.
template <class Visit>
LOWRANK_DEVICE void each_id(const device::LogitsRow& row, int32_t vocabulary, uint32_t bound, Visit&& visit) {
  const int32_t groups = logit_groups(vocabulary);
  const int32_t lane = lane_index();
  for (int32_t base = warp_index() * kWarpLanes; base < groups; base += kCandidateThreads) {
    const int32_t group = base + lane;
    uint32_t wanted = __ballot_sync(kWholeWarp, group < groups && order_of(row.group_peaks[group]) >= bound);
    for (; wanted != 0; wanted &= wanted - 1) {
      const int32_t first = (base + __ffs(static_cast<int>(wanted)) - 1) * kLogitGroup + lane;
#pragma unroll
      for (int e = 0; e < kLogitGroup / kWarpLanes; ++e) {
        const int32_t id = first + kWarpLanes * e;
        const uint64_t rank = id < vocabulary ? rank_of(adjusted_logit(row, id), id) : 0;
        visit(rank >> 32 >= bound, rank);
      }
    }
  }
}

// The `place`-th largest of the ranks that each(visit) visits, by its leading `bytes`: a radix selection, a byte a round. The
// same in every thread.
template <class Each>
LOWRANK_DEVICE uint64_t select(Each&& each, int32_t place, int32_t bytes, const RowMemory& memory) {
  const auto thread = static_cast<int32_t>(threadIdx.x);
  const int32_t lane = lane_index();
  uint64_t prefix = 0;
  for (int32_t shift = 56; shift > 56 - 8 * bytes; shift -= 8) {
    // The last round ended with a barrier behind its last look at the histogram.
    if (thread < kDigits) memory.histogram[thread] = 0;
    __syncthreads();
    const uint64_t above = shift == 56 ? 0 : prefix >> (shift + 8);
    each([&](bool there, uint64_t rank) {
      there = there && (shift == 56 || rank >> (shift + 8) == above);
      const uint32_t lanes = __ballot_sync(kWholeWarp, there);
      if (!there) return;
      // Lanes with one digit count as one: ties are common.
      const auto digit = static_cast<uint32_t>(rank >> shift) & (kDigits - 1);
      const uint32_t equal = __match_any_sync(lanes, digit);
      if (lane == __ffs(static_cast<int>(equal)) - 1) atomicAdd(&memory.histogram[digit], __popc(equal));
    });
    __syncthreads();
    if (thread < kWarpLanes) {
      // Lane 0 has the eight highest digits. `up_to`: ranks with a digit of this lane or a higher one.
      constexpr int32_t kEach = kDigits / kWarpLanes;
      const int32_t highest = kDigits - 1 - kEach * lane;
      int32_t own = 0;
      for (int32_t i = 0; i < kEach; ++i) own += memory.histogram[highest - i];
      int32_t up_to = own;
      for (int distance = 1; distance < kWarpLanes; distance *= 2) {
        const int32_t before = __shfl_up_sync(kWholeWarp, up_to, static_cast<unsigned>(distance));
        if (lane >= distance) up_to += before;
      }
      const uint32_t enough = __ballot_sync(kWholeWarp, up_to >= place);
      if (lane == __ffs(static_cast<int>(enough)) - 1) {
        int32_t left = place - (up_to - own);
        int32_t digit = highest;
        while (memory.histogram[digit] < left) left -= memory.histogram[digit--];
        memory.values[0] = digit;
        memory.values[1] = left;
      }
    }
    __syncthreads();
    prefix |= static_cast<uint64_t>(memory.values[0]) << shift;
    place = memory.values[1];
  }
  return prefix;
}

// Puts the ranks from `least` on into memory.collected, in no order, as far as they fit. Returns how many there are.
template <class Each>
LOWRANK_DEVICE int32_t collect(Each&& each, uint64_t least, const RowMemory& memory) {
  const int32_t lane = lane_index();
  __syncthreads();
  if (threadIdx.x == 0) memory.values[0] = 0;
  __syncthreads();
  each([&](bool there, uint64_t rank) {
    there = there && rank >= least;
    const uint32_t lanes = __ballot_sync(kWholeWarp, there);
    if (lanes == 0) return;
    int32_t at = 0;
    if (lane == 0) at = atomicAdd(&memory.values[0], __popc(lanes));
    at = __shfl_sync(kWholeWarp, at, 0) + __popc(lanes & ((1u << lane) - 1u));
    if (there && at < kCollectedIds) memory.collected[at] = rank;
  });
  __syncthreads();
  return memory.values[0];
}

// Bitonic sort (Batcher 1968), the largest first. Returns with all threads in step.
LOWRANK_DEVICE void sort(uint64_t* ranks, int32_t count) {
  int32_t size = 2;
  while (size < count) size *= 2;
  const auto thread = static_cast<int32_t>(threadIdx.x);
  for (int32_t i = count + thread; i < size; i += kCandidateThreads) ranks[i] = 0;
  __syncthreads();
  for (int32_t run = 2; run <= size; run *= 2)
    for (int32_t distance = run / 2; distance > 0; distance /= 2) {
      for (int32_t pair = thread; pair < size / 2; pair += kCandidateThreads) {
        const int32_t low = pair / distance * 2 * distance + pair % distance;
        const int32_t high = low + distance;
        const bool descending = (low & run) == 0;
        const uint64_t a = ranks[low], b = ranks[high];
        if (descending == (a < b)) {
          ranks[low] = b;
          ranks[high] = a;
        }
      }
      __syncthreads();
    }
}

}  // namespace

// Grid: rows.
LOWRANK_KERNEL(kCandidateThreads, 1) logits_candidates(device::LogitsCandidatesParams p) {
  LOWRANK_SHARED(double, sums, 2 * kCandidateThreads);
  LOWRANK_SHARED(uint64_t, collected, kCollectedIds);
  LOWRANK_SHARED(int32_t, histogram, kDigits);
  LOWRANK_SHARED(int32_t, values, kWarps);
  const RowMemory memory = {sums, collected, histogram, values};
  const device::LogitsRow row = p.rows[blockIdx.x];
  const int32_t groups = logit_groups(p.vocabulary);
  const int32_t blocks = logit_blocks(p.vocabulary);
  const int32_t limit = row.candidate_limit;

  LogitsSummary all = find_peak(row, blocks, memory);
  if (all.finite != 0 && row.factor != 0.0f) add_blocks(row, blocks, memory, all);
  if (threadIdx.x == 0) *row.summary = all;
  if (all.finite == 0 || limit == 0) return;

  // So many groups have a peak from here on, so so many ids have a logit from here on.
  uint32_t bound = order_of(-INFINITY);
  if (limit == 1) {
    bound = order_of(all.peak);
  } else if (limit <= groups) {
    const auto each = [&](auto&& visit) { each_group(row, groups, visit); };
    bound = static_cast<uint32_t>(select(each, limit, 4, memory) >> 32);
  }
  const auto each = [&](auto&& visit) { each_id(row, p.vocabulary, bound, visit); };
  int32_t count = collect(each, 0, memory);
  if (count > kCollectedIds) {
    const uint64_t last = select(each, limit, 8, memory);
    count = collect(each, last, memory);
  }
  sort(collected, count);
  for (auto i = static_cast<int32_t>(threadIdx.x); i < limit; i += kCandidateThreads)
    row.candidates[i] = candidate_of(collected[i]);
}

void enqueue(Launches& launches, const device::LogitsBlocksParams& params) {
  const dim3 grid(static_cast<uint32_t>(logit_blocks(params.vocabulary)), static_cast<uint32_t>(params.row_count));
  launches.add(logits_blocks, grid, dim3(kLogitsBlockThreads), 0, params);
}

void enqueue(Launches& launches, const device::LogitsCandidatesParams& params) {
  launches.add(logits_candidates, dim3(static_cast<uint32_t>(params.row_count)), dim3(kCandidateThreads), 0, params);
}

}  // namespace lowrank::cuda
