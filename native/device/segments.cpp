#include "device/staging.h"
#include "device/storage.h"

namespace lowrank::device {
namespace {

constexpr size_t kFewSegments = 4;
constexpr size_t kFewTerms = 8;  // of each kind: q, k and v of two adapters

// One block: rows, terms, count, segment_of_row, each aligned as the first is.
struct Layout {
  size_t shrink;
  size_t expand;
  size_t count;
  size_t segment_of_row;

  explicit Layout(const lowrank::AdapterSegments& adapters) {
    size_t shrink_terms = 0, expand_terms = 0;
    for (int32_t i = 0; i < adapters.count; ++i) {
      shrink_terms += static_cast<size_t>(adapters.rows[i].shrink_count);
      expand_terms += static_cast<size_t>(adapters.rows[i].expand_count);
    }
    shrink = room_for(static_cast<size_t>(adapters.count), kFewSegments) * sizeof(AdapterRows);
    expand = shrink + room_for(shrink_terms, kFewTerms) * sizeof(ShrinkTerm);
    count = expand + room_for(expand_terms, kFewTerms) * sizeof(ExpandTerm);
    segment_of_row = count + alignof(AdapterRows);
  }
  size_t bytes(int32_t rows) const { return segment_of_row + static_cast<size_t>(rows) * sizeof(int32_t); }
};
static_assert(sizeof(AdapterRows) % alignof(ShrinkTerm) == 0 && sizeof(ShrinkTerm) % alignof(ExpandTerm) == 0 &&
              sizeof(ExpandTerm) % alignof(AdapterRows) == 0);

template <class T>
T* at(uint8_t* block, size_t offset) {
  return reinterpret_cast<T*>(block + offset);
}
template <class T>
const T* at(const uint8_t* block, size_t offset) {
  return reinterpret_cast<const T*>(block + offset);
}

void fill(const lowrank::AdapterSegments& adapters, const Layout& layout, int32_t rows, const Staged<uint8_t>& block) {
  auto* segments = at<AdapterRows>(block.host, 0);
  auto* shrink = at<ShrinkTerm>(block.host, layout.shrink);
  auto* expand = at<ExpandTerm>(block.host, layout.expand);
  const auto* shrink_there = at<ShrinkTerm>(block.device, layout.shrink);
  const auto* expand_there = at<ExpandTerm>(block.device, layout.expand);
  auto* segment_of_row = at<int32_t>(block.host, layout.segment_of_row);
  *at<int32_t>(block.host, layout.count) = adapters.count;
  std::fill_n(segment_of_row, rows, -1);
  for (int32_t i = 0; i < adapters.count; ++i) {
    const lowrank::AdapterRows& in = adapters.rows[i];
    segments[i] = {in.row_begin,    in.row_end,      shrink_there,   expand_there, in.shrink_count,
                   in.expand_count, in.output_gain, in.bias, in.norm_gain};
    shrink_there += in.shrink_count;
    expand_there += in.expand_count;
    for (int32_t t = 0; t < in.shrink_count; ++t)
      *shrink++ = {view_of(*in.shrink[t].a), in.shrink[t].rank_scale, in.shrink[t].h_offset, in.shrink[t].scale};
    for (int32_t t = 0; t < in.expand_count; ++t)
      *expand++ = {view_of(*in.expand[t].b), in.expand[t].h_offset, in.expand[t].n_begin};
    std::fill(segment_of_row + std::min(in.row_begin, rows), segment_of_row + std::min(in.row_end, rows), i);
  }
}

}  // namespace

AdapterSegments stage_segments(Recorder& recorder, const lowrank::AdapterSegments& adapters, int32_t rows) {
  if (adapters.rows == nullptr) return {};
  const Layout layout(adapters);
  const Staged<uint8_t> block = recorder.stage_once<uint8_t>(adapters.rows, layout.bytes(rows));
  if (block.host != nullptr) fill(adapters, layout, rows, block);
  return {at<AdapterRows>(block.device, 0), at<int32_t>(block.device, layout.count),
          at<int32_t>(block.device, layout.segment_of_row), adapters.h, adapters.h_stride};
}

}  // namespace lowrank::device
