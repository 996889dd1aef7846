// The descriptors of a step, staged for its kernels. What several ops of a step share (the adapters of one product's input, the
// block tables) is staged by the first of them, and known again by its address in host memory.
//
// Sizes: rooms for as many descriptors as the next power of two, from a minimum on. So the device addresses, which are
// parameters of launches, stay as they are while the rows of a step are as many as before and its descriptors in the same rooms:
// with other adapters, other positions, and as sequences grow, a step is mostly the same CUDA graph.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>

#include "device/params/common.h"
#include "device/recorder.h"

namespace lowrank::device {

// Descriptors that get room where `count` are staged.
inline size_t room_for(size_t count, size_t minimum) { return std::bit_ceil(std::max(count, minimum)); }

// The segments of a batch of at most `rows` rows; a later call with the same segments may name fewer. Device memory:
// adapters.h, and norm_gain, output_gain, bias and rank_scale of its rows.
AdapterSegments stage_segments(Recorder& recorder, const lowrank::AdapterSegments& adapters, int32_t rows);

// block_tables [rows], each the pages of a sequence up to its position at least; positions [rows]. Every op of a step gives the
// same.
BlockTables stage_tables(Recorder& recorder, const int32_t* const* block_tables, const int32_t* positions, int32_t rows);

}  // namespace lowrank::device
