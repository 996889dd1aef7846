// What a step stages for its kernels: segments of adapters and block tables, over a recorder whose device is a second memory of
// the host.
#include "device/staging.h"

#include <map>
#include <memory>
#include <set>
#include <vector>

#include "check.h"
#include "device/storage.h"
#include "ops/rope_write_kv.h"

using namespace lowrank;

namespace {

// Gives each piece an address of its own, the same for the same sequence of sizes, and carries pieces over when asked.
class HostRecorder final : public device::Recorder {
 public:
  static constexpr size_t kBytes = size_t{1} << 20;
  void begin_step() {
    used_ = 0;
    kept_.clear();
  }
  void carry() { there_ = here_; }
  size_t used() const { return used_; }
  void* workspace(size_t) override { return nullptr; }

 protected:
  Room stage_bytes(size_t bytes, const void* key) override {
    if (key != nullptr && kept_.count(key) != 0) return {nullptr, kept_[key]};
    const Room room = {here_.data() + used_, there_.data() + used_};
    used_ += (bytes + 255) / 256 * 256;
    CHECK(used_ <= kBytes);
    if (key != nullptr) kept_[key] = room.device;
    return room;
  }
  void* download_bytes(size_t, void*) override { return nullptr; }
  void add_op(device::OpCode, const void*, size_t) override {}

 private:
  std::vector<uint8_t> here_ = std::vector<uint8_t>(kBytes), there_ = std::vector<uint8_t>(kBytes, 0xff);
  std::map<const void*, void*> kept_;
  size_t used_ = 0;
};

// Adapters as the layers above describe them: `terms` ranks' factors of its own for each segment.
struct Described {
  Described(const std::vector<std::pair<int32_t, int32_t>>& runs, int32_t terms) {
    for (const auto& [begin, end] : runs) {
      auto& shrink = shrink_.emplace_back();
      auto& expand = expand_.emplace_back();
      for (int32_t t = 0; t < terms; ++t) {
        const auto factor = [&](int32_t dimension) {
          auto& made = factors_.emplace_back(std::make_unique<device::DeviceFactor>());
          made->view = {made.get(), 8 + t, dimension, LoraDType::kBFloat16};
          return made.get();
        };
        shrink.push_back({factor(64), 10 * t, 0.5f + static_cast<float>(begin), nullptr});
        expand.push_back({factor(96), 10 * t, 100 * t});
      }
      rows_.push_back({begin, end, shrink.data(), terms, expand.data(), terms, gains_, gains_ + 1, gains_ + 2});
    }
  }
  AdapterSegments view() { return {rows_.data(), static_cast<int32_t>(rows_.size()), h_, 40}; }
  const std::vector<AdapterRows>& rows() const { return rows_; }

 private:
  std::vector<std::unique_ptr<device::DeviceFactor>> factors_;
  std::vector<std::vector<ShrinkTerm>> shrink_;
  std::vector<std::vector<ExpandTerm>> expand_;
  std::vector<AdapterRows> rows_;
  float gains_[3] = {};
  float h_[1] = {};
};

void check_segments(Described& described, const device::AdapterSegments& there, int32_t rows) {
  CHECK_EQ(*there.count, described.view().count);
  CHECK(there.h == described.view().h && there.h_stride == 40);
  for (int32_t m = 0; m < rows; ++m) {
    int32_t expected = -1;
    for (int32_t i = 0; i < described.view().count; ++i) {
      const AdapterRows& run = described.rows()[static_cast<size_t>(i)];
      if (m >= run.row_begin && m < run.row_end) expected = i;
    }
    CHECK_EQ(there.segment_of_row[m], expected);
  }
  for (int32_t i = 0; i < described.view().count; ++i) {
    const AdapterRows& in = described.rows()[static_cast<size_t>(i)];
    const device::AdapterRows& out = there.rows[i];
    CHECK(out.row_begin == in.row_begin && out.row_end == in.row_end);
    CHECK(out.output_gain == in.output_gain && out.bias == in.bias && out.norm_gain == in.norm_gain);
    CHECK(out.shrink_count == in.shrink_count && out.expand_count == in.expand_count);
    for (int32_t t = 0; t < in.shrink_count; ++t) {
      CHECK(out.shrink[t].a.data == in.shrink[t].a && out.shrink[t].a.rank == 8 + t && out.shrink[t].a.dimension == 64);
      CHECK(out.shrink[t].h_offset == in.shrink[t].h_offset && out.shrink[t].scale == in.shrink[t].scale);
    }
    for (int32_t t = 0; t < in.expand_count; ++t) {
      CHECK(out.expand[t].b.data == in.expand[t].b && out.expand[t].b.dimension == 96);
      CHECK(out.expand[t].h_offset == in.expand[t].h_offset && out.expand[t].n_begin == in.expand[t].n_begin);
    }
  }
}

// What a kernel reads for row m.
std::vector<int32_t> pages_of(const device::BlockTables& tables, int32_t m) {
  const int32_t* first = tables.pages + tables.first[m];
  return {first, first + tables.positions[m] / kPageTokens + 1};
}

}  // namespace

TEST("device/staging: segments arrive as they were described") {
  for (const int32_t terms : {0, 1, 3, 20}) {
    HostRecorder recorder;
    Described described({{0, 1}, {1, 4}, {6, 9}, {9, 10}, {12, 13}}, terms);
    const device::AdapterSegments there = stage_segments(recorder, described.view(), 13);
    recorder.carry();
    check_segments(described, there, 13);
  }
}

TEST("device/staging: no segments, and segments that do nothing at this place") {
  HostRecorder recorder;
  float h = 0;
  const device::AdapterSegments none = stage_segments(recorder, {nullptr, 0, &h, 4}, 5);
  CHECK(none.count == nullptr && none.h == nullptr);
  CHECK_EQ(recorder.used(), size_t{0});
  Described described({{0, 1}}, 1);
  AdapterSegments empty = described.view();
  empty.count = 0;
  const device::AdapterSegments there = stage_segments(recorder, empty, 5);
  recorder.carry();
  CHECK_EQ(*there.count, 0);
  for (int32_t m = 0; m < 5; ++m) CHECK_EQ(there.segment_of_row[m], -1);
}

TEST("device/staging: the same segments are staged once a step, also for fewer rows") {
  HostRecorder recorder;
  Described described({{0, 2}, {3, 5}}, 3);
  const device::AdapterSegments first = stage_segments(recorder, described.view(), 5);
  const size_t used = recorder.used();
  const device::AdapterSegments second = stage_segments(recorder, described.view(), 4);
  CHECK_EQ(recorder.used(), used);
  recorder.carry();
  CHECK(first.rows == second.rows && first.count == second.count && first.segment_of_row == second.segment_of_row);
  check_segments(described, second, 4);
}

TEST("device/staging: other adapters of other rows lie at the same addresses") {
  HostRecorder recorder;
  std::set<std::vector<const void*>> addresses;
  for (const auto& runs : std::vector<std::vector<std::pair<int32_t, int32_t>>>{{{0, 8}}, {{0, 3}, {4, 8}}, {{7, 8}}}) {
    recorder.begin_step();
    Described one(runs, 3), other(runs, 1);
    const device::AdapterSegments a = stage_segments(recorder, one.view(), 8);
    const device::AdapterSegments b = stage_segments(recorder, other.view(), 8);
    recorder.carry();
    check_segments(one, a, 8);
    check_segments(other, b, 8);
    addresses.insert({a.rows, a.count, a.segment_of_row, b.rows, b.count, b.segment_of_row});
  }
  CHECK_EQ(addresses.size(), size_t{1});
}

TEST("device/staging: each row finds the pages of its sequence, and addresses stay as sequences grow") {
  std::vector<std::vector<int32_t>> sequences(3);
  for (int32_t i = 0; i < 300; ++i) sequences[static_cast<size_t>(i % 3)].push_back(7 * i % 301);
  HostRecorder recorder;
  std::set<std::vector<const void*>> addresses;
  for (const int32_t step : {0, 40, 1000}) {
    // Two chunks of prompts, a sequence that comes twice, and positions that do not ascend.
    const std::vector<int32_t> positions = {step, step + 1, step + 33, 5, 4, step + 200, 64, 31, 32};
    const size_t of[] = {0, 0, 0, 1, 1, 2, 0, 1, 1};
    std::vector<const int32_t*> block_tables;
    for (const size_t sequence : of) block_tables.push_back(sequences[sequence].data());
    recorder.begin_step();
    const device::BlockTables tables = stage_tables(recorder, block_tables.data(), positions.data(), 9);
    const size_t used = recorder.used();
    const device::BlockTables again = stage_tables(recorder, block_tables.data(), positions.data(), 9);
    CHECK_EQ(recorder.used(), used);
    CHECK(again.pages == tables.pages && again.first == tables.first && again.positions == tables.positions);
    recorder.carry();
    for (int32_t m = 0; m < 9; ++m) {
      CHECK_EQ(tables.positions[m], positions[static_cast<size_t>(m)]);
      const std::vector<int32_t>& all = sequences[of[m]];
      const auto count = static_cast<std::ptrdiff_t>(positions[static_cast<size_t>(m)] / kPageTokens + 1);
      CHECK(pages_of(tables, m) == std::vector<int32_t>(all.begin(), all.begin() + count));
    }
    addresses.insert({tables.positions, tables.first, tables.pages});
  }
  CHECK_EQ(addresses.size(), size_t{1});
}
