// A step whose rows go through the layers in blocks, or whose attention is shared out over the threads, has the bits of one whose
// ops take the whole batch on one thread. Built with the thread sanitizer, too.
#include <cstring>
#include <memory>
#include <vector>

#include "check.h"
#include "engine/engine_case.h"
#include "kv_cache/kv_cache.h"
#include "lora/random_adapter.h"
#include "model/decoder_graph.h"
#include "model/model.h"

using namespace lowrank;
using namespace lowrank::test;

namespace {

struct Setting {
  const char* model;
  Precision precision;
  KvFormat cache;
};

// Rows of one sequence, after so many tokens before.
struct Rows {
  int32_t count, before;
};

// Some rows run with adapters: in segments [first, second) of one and of another adapter.
struct Shape {
  std::vector<Rows> sequences;
  std::vector<Range> adapted;
  int32_t rows() const {
    int32_t sum = 0;
    for (const Rows& one : sequences) sum += one.count;
    return sum;
  }
  int32_t pages() const {
    int32_t sum = 0;
    for (const Rows& one : sequences) sum += pages_for(one.count + one.before);
    return sum;
  }
};
const Shape kPrompts = {{{75, 5}, {52, 40}}, {{3, 35}, {60, 100}, {101, 102}}};
// Decodes, one of them with a draft, whose pairs of row and kv head no number of threads shares out evenly.
const Shape kDecodes = {{{1, 700}, {6, 300}, {1, 40}, {1, 511}}, {{0, 1}, {3, 8}}};

class Step {
 public:
  Step(const Setting& setting, const Shape& shape)
      : model_(load(setting)),
        cache_(model_->backend(), {static_cast<int32_t>(config().layers.size()), config().kv_heads, config().head_dim, setting.cache,
                                   shape.pages()}),
        scratch_(model_->backend(), config(), shape.rows(), 1, shape.pages() * kPageTokens) {
    const BaseModel base = model_->base(1);
    const auto plain = RandomAdapter(base).pairs(4).norms().build(base.lora_dtype);
    const auto dora = RandomAdapter(base).pairs(3).magnitudes().build(base.lora_dtype);
    adapters_.push_back(std::make_unique<Composition>(std::vector<AppliedAdapter>{{plain, 1.0f}}, base));
    adapters_.push_back(std::make_unique<Composition>(std::vector<AppliedAdapter>{{dora, 0.5f}}, base));
    for (const Rows& one : shape.sequences) add_sequence(one.count, one.before);
    for (size_t i = 0; i < shape.adapted.size(); ++i)
      batch_.segments.push_back({shape.adapted[i].begin, shape.adapted[i].end, adapters_[i % 2].get()});
  }

  // The residual stream behind the last layer, then the cache's keys and values that the step wrote.
  std::vector<uint8_t> run(const RowBlocks& blocks, int threads) {
    for (size_t i = 0; i < tables_.size(); ++i) fill(*tables_[i], static_cast<uint8_t>(i + 1));
    Program program;
    DecoderGraph graph(program, model_->backend().ops(), config(), model_->weights(), cache_, scratch_, batch_);
    graph.embed();
    graph.layers(blocks);
    program.run(threads);
    std::vector<uint8_t> bits(static_cast<size_t>(batch_.rows()) * static_cast<size_t>(config().hidden_size) * sizeof(float));
    std::memcpy(bits.data(), scratch_.x.as<float>(), bits.size());
    for (const auto& table : tables_)
      for (int32_t page = 0; page < table->size(); ++page) append_page(table->pages()[page], bits);
    return bits;
  }

 private:
  static std::unique_ptr<Model> load(const Setting& setting) {
    WeightsOptions options;
    options.precision = setting.precision;
    return Model::load(tiny_path(setting.model), cpu_backend(), options);
  }
  const ModelConfig& config() const { return model_->config(); }

  void add_sequence(int32_t rows, int32_t before) {
    tables_.push_back(std::make_unique<BlockTable>(cache_));
    tables_.back()->reserve(before + rows);
    for (int32_t i = 0; i < rows; ++i) {
      batch_.tokens.push_back((7 * i + rows) % config().vocabulary_size);
      batch_.positions.push_back(before + i);
      batch_.block_tables.push_back(tables_.back()->pages());
    }
  }

  size_t page_elements() const {
    return static_cast<size_t>(config().kv_heads) * kPageTokens * static_cast<size_t>(config().head_dim);
  }
  template <class Visit>
  void for_each_part(int32_t page, Visit visit) {
    for (size_t layer = 0; layer < config().layers.size(); ++layer) {
      const KvLayer of = cache_.layer(static_cast<int32_t>(layer));
      const size_t bytes = page_elements() * kv_element_bytes(of.format);
      const size_t at = static_cast<size_t>(page) * static_cast<size_t>(of.page_elements) * kv_element_bytes(of.format);
      visit(static_cast<uint8_t*>(of.k) + at, bytes, false);
      visit(static_cast<uint8_t*>(of.v) + at, bytes, false);
      if (of.k_scale == nullptr) continue;
      const size_t scales = static_cast<size_t>(config().kv_heads) * kPageTokens * sizeof(float);
      const size_t scale_at = static_cast<size_t>(page) * static_cast<size_t>(of.page_scales);
      visit(reinterpret_cast<uint8_t*>(of.k_scale + scale_at), scales, true);
      visit(reinterpret_cast<uint8_t*>(of.v_scale + scale_at), scales, true);
    }
  }
  // The tokens before the step: any numbers, the same each time.
  void fill(const BlockTable& table, uint8_t seed) {
    for (int32_t page = 0; page < table.size(); ++page)
      for_each_part(table.pages()[page], [&](uint8_t* bytes, size_t count, bool scales) {
        for (size_t i = 0; i < count; ++i)
          bytes[i] = static_cast<uint8_t>(scales && i % 4 == 3 ? 0x3c : (seed * 31 + i * 7) % 0x3c);
      });
  }
  void append_page(int32_t page, std::vector<uint8_t>& bits) {
    for_each_part(page, [&](const uint8_t* bytes, size_t count, bool) { bits.insert(bits.end(), bytes, bytes + count); });
  }

  std::unique_ptr<Model> model_;
  KvCache cache_;
  Scratch scratch_;
  std::vector<std::unique_ptr<Composition>> adapters_;
  std::vector<std::unique_ptr<BlockTable>> tables_;
  Batch batch_;
};

}  // namespace

TEST("model/row blocks: the bits of a step on whole batches, whatever the blocks and the threads") {
  for (const Setting& setting : {Setting{"tiny-models/llama", Precision::kInt8, KvFormat::kBFloat16},
                                 Setting{"tiny-models/qwen3", Precision::kInt8, KvFormat::kInt8},
                                 Setting{"tiny-models/gemma3", Precision::kFloat32, KvFormat::kFloat32}}) {
    Step step(setting, kPrompts);
    const std::vector<uint8_t> expected = step.run({}, 1);
    for (const int32_t rows : {32, 40, 64})
      for (const int threads : {1, 2, 3, 4}) CHECK(step.run({rows, threads}, threads) == expected);
  }
}

TEST("model/row blocks: few rows with long contexts have their bits whatever the threads that share them out") {
  for (const Setting& setting : {Setting{"tiny-models/llama", Precision::kInt8, KvFormat::kBFloat16},
                                 Setting{"tiny-models/qwen3", Precision::kInt8, KvFormat::kInt8},
                                 Setting{"tiny-models/gemma3", Precision::kFloat32, KvFormat::kFloat32}}) {
    Step step(setting, kDecodes);
    const std::vector<uint8_t> expected = step.run({}, 1);
    // Shared out for more threads than run, too.
    for (const int wanted : {2, 3, 4})
      for (int threads = 1; threads <= wanted; ++threads) CHECK(step.run({0, wanted}, threads) == expected);
  }
}

TEST("model/row blocks: as many as threads can use, none for few rows or where a backend wants whole batches") {
  ModelConfig config;
  config.hidden_size = 64;
  config.intermediate_size = 128;
  config.heads = config.kv_heads = 2;
  config.head_dim = 32;
  CHECK_EQ(row_blocks(cpu_backend(), config, 63, 1).rows, 0);
  CHECK_EQ(row_blocks(cpu_backend(), config, 127, 4).rows, 0);
  for (const int threads : {1, 2, 4}) {
    for (const int32_t rows : {128, 200, 512, 2048}) {
      const RowBlocks blocks = row_blocks(cpu_backend(), config, rows, threads);
      CHECK_EQ(blocks.threads, threads);
      CHECK(blocks.rows >= kPageTokens && blocks.rows % 8 == 0);
      CHECK((rows + blocks.rows - 1) / blocks.rows >= threads);
    }
  }
  // Rows so wide that few fit a cache.
  config.intermediate_size = 1 << 16;
  CHECK_EQ(row_blocks(cpu_backend(), config, 512, 2).rows, 32);
}
