// Where the time of one step goes: each op of the recorded program run alone, again and again, by kind.
#include "profile.h"

#include <algorithm>
#include <cstdio>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "backend/program.h"
#include "kv_cache/kv_cache.h"
#include "model/decoder_graph.h"
#include "model/model.h"
#include "timing.h"

namespace lowrank::bench {
namespace {

std::string name_of(const OpTable& ops, const Program::Step& step) {
  if (step.op != reinterpret_cast<const void*>(ops.matmul_expand)) return op_name(ops, step.op);
  const auto& args = *static_cast<const MatmulExpandArgs*>(step.args);
  return "matmul " + std::to_string(args.w->rows) + " x " + std::to_string(args.w->cols);
}

constexpr int32_t kRank = 16;

// An adapter on all seven projections. What its numbers are does not matter, but that no two adapters share memory.
std::shared_ptr<const Adapter> plain_adapter(const BaseModel& base) {
  auto adapter = std::make_shared<Adapter>();
  for (int32_t layer = 0; layer < base.layer_count; ++layer) {
    AdapterLayer& modules = adapter->layers.emplace_back();
    for (int i = 0; i < kProjections; ++i) {
      const auto projection = static_cast<Projection>(i);
      const int32_t in = base.in_features(projection), out = base.out_features(projection);
      const std::vector<float> values(static_cast<size_t>(std::max(in, out)) * kRank, 0.01f);
      auto module = std::make_unique<LoraModule>();
      module->a = base.backend->pack_lora_a(values.data(), kRank, in, base.lora_dtype);
      module->b = base.backend->pack_lora_b(values.data(), out, kRank, base.lora_dtype);
      modules.modules[static_cast<size_t>(i)] = std::move(module);
    }
  }
  return adapter;
}

// Deals `rows` rows out to `count` adapters, as even as can be.
std::vector<RowSegment> deal_out(const std::vector<std::unique_ptr<Composition>>& compositions, int32_t rows) {
  std::vector<RowSegment> segments;
  const auto count = static_cast<int32_t>(compositions.size());
  for (int32_t i = 0; i < count; ++i) {
    const int32_t begin = rows * i / count, end = rows * (i + 1) / count;
    if (begin < end) segments.push_back({begin, end, compositions[static_cast<size_t>(i)].get()});
  }
  return segments;
}

}  // namespace

void profile(const std::string& path, const ProfileOptions& options) {
  const auto [rows, context, threads, int8_kv, decode, adapters, blocks, runs] = options;
  WeightsOptions weights;
  weights.threads = threads;
  const auto model = Model::load(path, cpu_backend(), weights);
  const ModelConfig& config = model->config();
  const int32_t sequences = decode ? rows : 1;
  const int32_t length = context + rows / sequences;
  KvCache cache(model->backend(), {static_cast<int32_t>(config.layers.size()), config.kv_heads, config.head_dim,
                                   int8_kv ? KvFormat::kInt8 : KvFormat::kBFloat16, sequences * pages_for(length)});
  std::vector<std::unique_ptr<BlockTable>> tables;
  for (int32_t i = 0; i < sequences; ++i) {
    tables.push_back(std::make_unique<BlockTable>(cache));
    tables.back()->reserve(length);
  }
  Scratch scratch(model->backend(), config, rows, sequences, length);
  Program program;
  Batch batch;
  for (int32_t i = 0; i < rows; ++i) {
    batch.tokens.push_back(1000 + i);
    batch.positions.push_back(decode ? context : context + i);
    batch.block_tables.push_back(tables[static_cast<size_t>(decode ? i : 0)]->pages());
  }
  const BaseModel base = model->base(threads);
  std::vector<std::unique_ptr<Composition>> compositions;
  for (int32_t i = 0; i < adapters; ++i)
    compositions.push_back(std::make_unique<Composition>(std::vector<AppliedAdapter>{{plain_adapter(base), 1.0f}}, base));
  batch.segments = deal_out(compositions, rows);
  std::vector<int32_t> outputs;
  std::vector<LogitsRow> asked;
  for (int32_t i = 0; i < sequences; ++i) {
    outputs.push_back(rows - sequences + i);
    LogitsRow row{};
    row.logits = scratch.logits.as<float>() + int64_t{i} * config.vocabulary_size;
    row.candidate_limit = 1;
    asked.push_back(row);
  }
  const auto record = [&](Program& into, const Batch& of) {
    DecoderGraph graph(into, model->backend().ops(), config, model->weights(), cache, scratch, of);
    graph.embed();
    graph.layers(blocks >= 0 ? RowBlocks{blocks, threads} : row_blocks(model->backend(), config, rows, threads));
    graph.logits(outputs);
    graph.candidates(asked);
  };
  record(program, batch);
  // In turn with the same step without adapters, since the machine's speed moves.
  Batch plain = batch;
  plain.segments.clear();
  Program plain_program;
  record(plain_program, plain);

  struct Kind {
    double seconds = 0;
    int count = 0;
  };
  std::map<std::string, Kind> kinds;
  std::vector<double> whole, without, ratios;
  const auto timed = [&](Program& of) {
    const double begin = seconds_now();
    of.run(threads);
    return seconds_now() - begin;
  };
  for (int run = 0; run < runs; ++run) {
    whole.push_back(timed(program));
    if (adapters == 0) continue;
    without.push_back(timed(plain_program));
    ratios.push_back(whole.back() / without.back());
  }
  // In the order of a step, so that every matrix comes from memory as it does there.
  std::vector<std::vector<double>> times(program.size());
  for (int run = 0; run < runs; ++run)
    for (size_t i = 0; i < program.size(); ++i) {
      const double begin = seconds_now();
      program.run_step(i, threads);
      times[i].push_back(seconds_now() - begin);
    }
  for (size_t i = 0; i < program.size(); ++i) {
    Kind& kind = kinds[name_of(model->backend().ops(), program.step(i))];
    kind.seconds += spread_of(times[i]).median;
    ++kind.count;
  }
  const double step = spread_of(whole).median;
  std::printf("%d rows of %d sequences at context %d, %d adapters, %d threads: %.3f ms a step (%.1f tokens/s)\n", rows, sequences,
              context, adapters, threads, step * 1e3, rows / step);
  if (adapters > 0)
    std::printf("  without adapters, in turn: %.3f ms, %.2f %% of the speed\n", spread_of(without).median * 1e3,
                100 / spread_of(ratios).median);
  for (const auto& [name, kind] : kinds)
    std::printf("  %-28s %4d x %9.2f us = %8.3f ms  %5.1f %%\n", name.c_str(), kind.count, kind.seconds / kind.count * 1e6,
                kind.seconds * 1e3, 100 * kind.seconds / step);
}

}  // namespace lowrank::bench
