#include "layers/step_comparison.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string_view>
#include <utility>
#include <vector>

#include "core/error.h"
#include "core/float16.h"

namespace lowrank::test {
namespace {

// Shares of a row's largest value. Products: some ulp of the sum of the magnitudes of their terms, which cancel.
constexpr double kProductBound = 2e-6;
constexpr double kQuantiseBound = 2e-6;
// Softmax weights and q may be rounded to bfloat16 on one side and not on the other.
constexpr double kAttentionBound = 1.0 / 256;
constexpr double kCacheBound = 1.0 / 128;  // one step of bfloat16
constexpr double kAngleBound = 2e-6;
constexpr double kFlips = 1e-3;  // of int8 activations, the share that may round to the other side

struct Buffers {
  const char* name;
  BackendMemory Scratch::*memory;
  double bound;
};
constexpr Buffers kFloats[] = {
    {"x", &Scratch::x, kProductBound},           {"y", &Scratch::y, kProductBound},
    {"wide", &Scratch::wide, kProductBound},     {"heads", &Scratch::heads, kAttentionBound},
    {"scale", &Scratch::scale, kQuantiseBound},  {"outliers", &Scratch::outliers, kQuantiseBound},
    {"angles", &Scratch::angles, kAngleBound},   {"h", &Scratch::h, kProductBound},
};

void note(Difference& into, const char* what, double share) {
  if (!(share <= into.worst)) {  // NaN, too
    into.worst = std::isnan(share) ? INFINITY : share;
    into.worst_at = what;
  }
}

}  // namespace

StepComparison::StepComparison(const Model& cpu, const Model& other, const device::DeviceBackend& device, int32_t rows,
                               int32_t pages, int threads)
    : cpu_(cpu, rows, pages), other_(other, rows, pages), device_(device), threads_(threads), blocks_(cpu_.cache),
      other_blocks_(other_.cache) {
  if (!blocks_.reserve(pages * kPageTokens) || !other_blocks_.reserve(pages * kPageTokens))
    throw Error(ErrorCode::kOutOfMemory, "Expected pages for the step.");
}

std::string StepComparison::name_of(const Program::Step& step) const {
  const char* name = op_name(cpu_.model.backend().ops(), step.op);
  return name == nullptr || std::string_view(name).starts_with("logits") ? "logits" : name;
}

void StepComparison::hand_over() {
  const auto give = [this](const BackendMemory& from, const BackendMemory& to) {
    device_.write(to.as<void>(), from.as<void>(), from.bytes());
  };
  for (const Buffers& one : kFloats) give(cpu_.scratch.*one.memory, other_.scratch.*one.memory);
  give(cpu_.scratch.q, other_.scratch.q);
  give(cpu_.scratch.logits, other_.scratch.logits);
  device_.write(other_.cache.layer(0).k, cpu_.cache.layer(0).k, cpu_.cache.bytes());
}

void StepComparison::compare_floats(Difference& into, const char* what, const BackendMemory& expected,
                                    const BackendMemory& actual, const Rows& rows, double bound) {
  std::vector<float> there(rows.count * rows.stride);
  device_.read(there.data(), actual.as<void>(), there.size() * sizeof(float));
  const float* here = expected.as<float>();
  for (size_t row = 0; row < rows.count; ++row) {
    double largest = 0, difference = 0;
    for (size_t i = row * rows.stride; i < row * rows.stride + rows.columns; ++i) {
      largest = std::max(largest, std::fabs(double{here[i]}));
      difference = std::max(difference, std::fabs(double{here[i]} - double{there[i]}));
      if (std::isnan(there[i])) difference = INFINITY;
    }
    if (difference > 0) note(into, what, largest > 0 ? difference / (bound * largest) : INFINITY);
  }
  into.values += static_cast<int64_t>(rows.count * rows.columns);
}

void StepComparison::compare_int8(Difference& into, int32_t rows) {
  const BackendMemory& expected = cpu_.scratch.q;
  std::vector<int8_t> there(expected.bytes());
  device_.read(there.data(), other_.scratch.q.as<void>(), there.size());
  int64_t flips = 0;
  for (size_t i = 0; i < there.size(); ++i) {
    const int apart = std::abs(int{expected.as<int8_t>()[i]} - int{there[i]});
    if (apart > 1) note(into, "q", apart);
    flips += apart;
  }
  into.flips += flips;
  into.values += static_cast<int64_t>(there.size());
  // A few flips in a small step are no sign of anything.
  const double allowed = std::max(3.0, kFlips * static_cast<double>(there.size()) / cpu_.scratch.max_rows * rows);
  if (flips > 0) note(into, "q", static_cast<double>(flips) / allowed);
}

void StepComparison::compare_cache(Difference& into) {
  const size_t bytes = cpu_.cache.bytes();
  std::vector<uint16_t> there(bytes / sizeof(uint16_t));
  device_.read(there.data(), other_.cache.layer(0).k, bytes);
  const auto* here = static_cast<const uint16_t*>(cpu_.cache.layer(0).k);
  for (size_t i = 0; i < there.size(); ++i) {
    if (here[i] == there[i]) continue;
    const double a = bfloat16_to_float32(here[i]), b = bfloat16_to_float32(there[i]);
    // Of values next to zero the bound is that of an ordinary one's rounding.
    note(into, "keys and values", std::fabs(a - b) / (kCacheBound * std::max(std::fabs(a), 1e-4)));
  }
  into.values += static_cast<int64_t>(there.size());
}

void StepComparison::compare(Difference& into, int32_t rows, int32_t logit_rows, bool rope) {
  const ModelConfig& config = cpu_.model.config();
  const auto whole = [](const BackendMemory& memory, int32_t count) -> Rows {
    const size_t width = memory.bytes() / sizeof(float) / static_cast<size_t>(count);
    return {static_cast<size_t>(count), width, width};
  };
  for (const Buffers& one : kFloats) {
    const BackendMemory& expected = cpu_.scratch.*one.memory;
    // Of the angles a row is the whole.
    Rows shape = whole(expected, one.memory == &Scratch::angles ? 1 : cpu_.scratch.max_rows);
    // Of q|k|v the queries alone: what is left of keys and values there, once they are in the cache, is nobody's business.
    if (rope && one.memory == &Scratch::wide)
      shape = {static_cast<size_t>(rows), static_cast<size_t>(config.rows(Site::kQkv)),
               static_cast<size_t>(config.heads) * static_cast<size_t>(config.head_dim)};
    compare_floats(into, one.name, expected, other_.scratch.*one.memory, shape, one.bound);
  }
  compare_int8(into, rows);
  compare_cache(into);
  if (logit_rows > 0)
    compare_floats(into, "logits", cpu_.scratch.logits, other_.scratch.logits,
                   {static_cast<size_t>(logit_rows), static_cast<size_t>(config.vocabulary_size),
                    static_cast<size_t>(config.vocabulary_size)},
                   kProductBound);
}

void StepComparison::run(const Batch& batch, const Batch& device_batch, const std::vector<int32_t>& rows) {
  const int32_t vocabulary = cpu_.model.config().vocabulary_size;
  const auto record = [&](Side& side, const Batch& of) {
    side.program.clear();
    DecoderGraph graph(side.program, side.model.backend().ops(), side.model.config(), side.model.weights(), side.cache, side.scratch, of);
    graph.embed();
    graph.layers();
    graph.logits(rows);
    std::vector<LogitsRow> asked;
    for (size_t i = 0; i < rows.size(); ++i) {
      asked.push_back({});
      asked.back().logits = side.scratch.logits.as<float>() + static_cast<int64_t>(i) * vocabulary;
      asked.back().factor = 1;
      asked.back().candidate_limit = std::min(16, vocabulary);
    }
    return graph.candidates(asked);
  };
  const LogitsRow* expected = record(cpu_, batch);
  const LogitsRow* actual = record(other_, device_batch);
  const size_t count = cpu_.program.size();
  if (count != other_.program.size()) throw Error(ErrorCode::kInternal, "Expected the same ops on both sides.");
  for (size_t i = 0; i < count;) {
    const std::string name = name_of(cpu_.program.step(i));
    // The second op of logits goes on from what the first one found, which lives for a step.
    const size_t end = name == "logits" ? count : i + 1;
    hand_over();
    device_.run_step([&] {
      for (size_t op = i; op < end; ++op) {
        const Program::Step& step = other_.program.step(op);
        step.run(0, 1);
      }
    });
    for (; i < end; ++i) cpu_.program.run_step(i, threads_);
    Difference& difference = differences_[name];
    ++difference.ops;
    const bool head = name == "matmul_expand" && i + 2 == count;
    compare(difference, batch.rows(), head ? static_cast<int32_t>(rows.size()) : 0, name == "rope_write_kv");
  }
  Difference& found = differences_["logits"];
  for (size_t i = 0; i < rows.size(); ++i) {
    note(found, "sum", std::fabs(expected[i].summary->sum - actual[i].summary->sum) / (4e-6 * expected[i].summary->sum));
    for (int32_t k = 0; k < expected[i].candidate_limit; ++k)
      if (expected[i].candidates[k].id != actual[i].candidates[k].id) note(found, "candidates", INFINITY);
  }
}

}  // namespace lowrank::test
