// The words in which a layer is written: which ops each half of a layer records, and products whose matrices are packed when the
// recorder comes to them.
#include "model/recorder.h"

#include <algorithm>
#include <cstring>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "check.h"
#include "model/architectures/architecture.h"
#include "ops/op_case.h"

using namespace lowrank;
using namespace lowrank::test;

namespace {

constexpr int32_t kRows = 5;
using Names = std::vector<std::string>;

// A layer of random float32 weights, and a step of some rows with any numbers in x.
class OneLayer final : private InputObserver {
 public:
  explicit OneLayer(const std::vector<LayerNorm>& norms) : cache_(backend_, {1, 1, 6, KvFormat::kFloat32, 1}), table_(cache_) {
    config_.layer_count = 1;
    config_.hidden_size = 24;
    config_.intermediate_size = 42;
    config_.heads = 3;
    config_.kv_heads = 1;
    config_.head_dim = 6;
    config_.vocabulary_size = 7;
    config_.attention_scale = 0.5f;
    config_.layers.resize(1);
    config_.ropes = {plain_rope(6, 10000, 1)};
    weights_.layers.resize(1);
    Random random(1);
    for (const LayerNorm norm : norms)
      weights_.layers[0].norms[static_cast<size_t>(norm)] =
          BackendVector(backend_, random.floats(static_cast<size_t>(config_.norm_size(norm)), 0.5f, 2.0f));
    scratch_ = std::make_unique<Scratch>(backend_, config_, kRows, 1, kRows);
    table_.reserve(kRows);
    for (int32_t i = 0; i < kRows; ++i) {
      batch_.tokens.push_back(0);
      batch_.positions.push_back(i);
      batch_.block_tables.push_back(table_.pages());
    }
  }

  // Packs every matrix that is missing, here and not when the recorder comes to it.
  OneLayer& packed() {
    for (int site = 0; site < kSites; ++site) pack(static_cast<Site>(site));
    return *this;
  }

  template <class Record>
  Names names_of(Record record) {
    program_.clear();
    Recorder recorder(context());
    record(recorder);
    Names names;
    for (size_t i = 0; i < program_.size(); ++i) names.push_back(op_name(backend_.ops(), program_.step(i).op));
    return names;
  }

  // x behind the layer.
  std::vector<float> run(const LayerHalves& layer) {
    const std::vector<float> x = Random(2).floats(static_cast<size_t>(kRows * config_.hidden_size), -1.0f, 1.0f);
    std::copy(x.begin(), x.end(), scratch_->x.as<float>());
    program_.clear();
    Recorder recorder(context(), this);
    recorder.angles();
    layer.to_keys(recorder);
    layer.from_attention(recorder);
    program_.run(1);
    return {scratch_->x.as<float>(), scratch_->x.as<float>() + x.size()};
  }

  template <class Args>
  const Args& args(size_t step) const {
    return *static_cast<const Args*>(program_.step(step).args);
  }
  const Scratch& scratch() const { return *scratch_; }
  const std::vector<Site>& observed() const { return observed_; }
  const std::vector<float>& first_input() const { return first_input_; }

 private:
  StepContext context() { return {program_, backend_.ops(), config_, weights_, cache_, *scratch_, batch_}; }

  void observe(int32_t layer, Site site, const float* input, int32_t stride) override {
    CHECK_EQ(layer, 0);
    program_.run(1);
    program_.clear();
    if (observed_.empty())
      for (int32_t i = 0; i < kRows; ++i)
        first_input_.insert(first_input_.end(), input + i * stride, input + i * stride + config_.cols(site));
    observed_.push_back(site);
    pack(site);
  }

  void pack(Site site) {
    const int32_t rows = config_.rows(site), cols = config_.cols(site);
    const auto values = Random(10 + static_cast<uint64_t>(site)).floats(static_cast<size_t>(rows * cols), -0.5f, 0.5f);
    weights_.layers[0].products[static_cast<size_t>(site)] = backend_.pack(
        {rows, cols, WeightFormat::kFloat32, ActivationFormat::kFloat32},
        [&](int32_t begin, int32_t count, float* out) { std::copy_n(values.begin() + begin * cols, count * cols, out); }, 1);
  }

  const Backend& backend_ = cpu_backend("reference");
  ModelConfig config_;
  DecoderWeights weights_;
  KvCache cache_;
  BlockTable table_;
  std::unique_ptr<Scratch> scratch_;
  Batch batch_;
  Program program_;
  std::vector<Site> observed_;
  std::vector<float> first_input_;  // of the first product that was observed
};

// Norms behind the blocks alone.
void unnormed_to_keys(Recorder& layer) {
  layer.project_qkv(std::nullopt);
  layer.rope_write_kv();
}
void unnormed_from_attention(Recorder& layer) {
  layer.attend();
  layer.add_attention(LayerNorm::kAfterAttention);
  layer.project_gate_up(std::nullopt);
  layer.add_feed_forward(LayerNorm::kAfterFeedForward);
}
constexpr LayerHalves kUnnormed = {unnormed_to_keys, unnormed_from_attention};

}  // namespace

TEST("model/recorder: the halves of Llama's layer") {
  OneLayer layer({LayerNorm::kBeforeAttention, LayerNorm::kBeforeFeedForward});
  layer.packed();
  CHECK(layer.names_of(kLlamaLayer.to_keys) == Names({"rmsnorm_quantize_shrink", "matmul_expand", "rope_write_kv"}));
  CHECK(layer.names_of(kLlamaLayer.from_attention) ==
        Names({"attention_paged", "quantize_shrink", "matmul_expand", "rmsnorm_quantize_shrink", "matmul_expand", "glu_quantize_shrink",
               "matmul_expand"}));
  // The residual is added by the product itself.
  CHECK(layer.args<MatmulExpandArgs>(2).residual == layer.scratch().x.as<float>());
  CHECK(layer.args<MatmulExpandArgs>(4).residual == nullptr);
  CHECK(layer.args<MatmulExpandArgs>(6).y == layer.scratch().x.as<float>());
}

TEST("model/recorder: a layer with norms behind the blocks alone multiplies x itself") {
  OneLayer layer({LayerNorm::kAfterAttention, LayerNorm::kAfterFeedForward});
  layer.packed();
  CHECK(layer.names_of(kUnnormed.to_keys) == Names({"quantize_shrink", "matmul_expand", "rope_write_kv"}));
  CHECK(layer.args<QuantizeShrinkArgs>(0).x == layer.scratch().x.as<float>());
  CHECK(layer.names_of(kUnnormed.from_attention) ==
        Names({"attention_paged", "quantize_shrink", "matmul_expand", "rmsnorm_add", "quantize_shrink", "matmul_expand",
               "glu_quantize_shrink", "matmul_expand", "rmsnorm_add"}));
  CHECK(layer.args<MatmulExpandArgs>(2).residual == nullptr);
  CHECK(layer.args<RmsNormAddArgs>(3).x == layer.scratch().x.as<float>());
}

TEST("model/recorder: rows of a block begin where those of the whole batch do") {
  OneLayer layer({LayerNorm::kBeforeAttention, LayerNorm::kBeforeFeedForward});
  layer.packed();
  layer.names_of([](Recorder& recorder) {
    recorder.set_rows({2, 4});
    kLlamaLayer.to_keys(recorder);
  });
  CHECK(layer.args<RmsNormQuantizeShrinkArgs>(0).x == layer.scratch().x.as<float>() + 2 * 24);
  CHECK_EQ(layer.args<RmsNormQuantizeShrinkArgs>(0).rows, 2);
  CHECK_EQ(layer.args<RopeWriteKvArgs>(2).positions[0], 2);
}

TEST("model/recorder: matrices that are packed on the way give what packed ones give") {
  const std::vector<LayerNorm> all = {LayerNorm::kBeforeAttention, LayerNorm::kAfterAttention, LayerNorm::kBeforeFeedForward,
                                      LayerNorm::kAfterFeedForward};
  for (const LayerHalves& halves : {kLlamaLayer, kUnnormed}) {
    OneLayer before(all), on_the_way(all);
    const std::vector<float> expected = before.packed().run(halves);
    const std::vector<float> actual = on_the_way.run(halves);
    CHECK(std::memcmp(actual.data(), expected.data(), expected.size() * sizeof(float)) == 0);
    CHECK(before.observed().empty());
    CHECK(on_the_way.observed() == std::vector<Site>({Site::kQkv, Site::kO, Site::kGateUp, Site::kDown}));
  }
}

TEST("model/recorder: an observer sees what a product multiplies, in float32") {
  OneLayer layer({LayerNorm::kAfterAttention, LayerNorm::kAfterFeedForward});
  layer.run(kUnnormed);
  CHECK(layer.first_input() == Random(2).floats(static_cast<size_t>(kRows * 24), -1.0f, 1.0f));
}
