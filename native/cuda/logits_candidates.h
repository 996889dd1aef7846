// ops/logits_candidates.h on CUDA.
//
// logits_blocks      a block of threads for each row and block of kLogitBlock ids; a warp takes two groups of it, a lane every
//                    32nd id of a group. Sums go up trees of one shape.
// logits_candidates  a block of threads for each row. The candidate_limit-th highest group peak is found by radix selection, the
//                    ids from there on are collected and sorted. Where ties are too many to collect, radix selection over
//                    logits and ids finds the last candidate first.
#pragma once

#include "cuda/launches.h"
#include "device/params/logits_candidates.h"

namespace lowrank::cuda {

void enqueue(Launches& launches, const device::LogitsBlocksParams& params);
void enqueue(Launches& launches, const device::LogitsCandidatesParams& params);

inline constexpr int32_t kLogitsBlockThreads = 256;
inline constexpr int32_t kCandidateThreads = 512;
// Ids that are collected and sorted, a power of two.
inline constexpr int32_t kCollectedIds = 1024;

}  // namespace lowrank::cuda
