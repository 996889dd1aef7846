#include "lora/adapter_case.h"

#include <algorithm>

#include "lora/adapter_source.h"

namespace lowrank::test {
namespace {

size_t product(const std::vector<int64_t>& shape) {
  size_t all = 1;
  for (const int64_t size : shape) all *= static_cast<size_t>(size);
  return all;
}

}  // namespace

TinyBase::TinyBase(LoraDType dtype, bool sandwich_norms) {
  model.layer_count = 2;
  model.hidden_size = 24;
  model.intermediate_size = 42;
  model.heads = 3;
  model.kv_heads = 1;
  model.head_dim = 6;
  model.vocabulary_size = 37;
  model.norm_gain_offset = sandwich_norms ? 1.0f : 0.0f;
  for (const LayerNorm norm : {LayerNorm::kBeforeAttention, LayerNorm::kBeforeFeedForward, LayerNorm::kQ}) model.norms.set(norm);
  for (const LayerNorm norm : {LayerNorm::kAfterAttention, LayerNorm::kAfterFeedForward}) model.norms.set(norm, sandwich_norms);

  Random random(3);
  for (int32_t layer = 0; layer < model.layer_count; ++layer)
    for (int i = 0; i < kProjections; ++i) {
      const auto projection = static_cast<Projection>(i);
      const auto count = static_cast<size_t>(model.out_features(projection)) * static_cast<size_t>(model.in_features(projection));
      weights.push_back(random.floats(count, -1.0f, 1.0f));
    }
  const int32_t qkv = model.out_features(Projection::kQ) + 2 * model.out_features(Projection::kK);
  qkv_bias = random.floats(static_cast<size_t>(qkv), -1.0f, 1.0f);
  const auto table = static_cast<size_t>(model.vocabulary_size) * static_cast<size_t>(model.hidden_size);
  lm_head = random.floats(table, -1.0f, 1.0f);

  model.backend = &cpu_backend("reference");
  model.lora_dtype = dtype;
  model.threads = 2;
  model.weights = &packed;
  packed.layers.resize(static_cast<size_t>(model.layer_count));
  for (int32_t layer = 0; layer < model.layer_count; ++layer) {
    LayerWeights& out = packed.layers[static_cast<size_t>(layer)];
    for (int i = 0; i < kSites; ++i) {
      const auto site = static_cast<Site>(i);
      out.products[static_cast<size_t>(i)] = pack(model.rows(site), model.cols(site), stacked(layer, site));
    }
    out.biases[static_cast<size_t>(Site::kQkv)] = BackendVector(*model.backend, qkv_bias);
  }
  packed.embed_tokens = pack(model.vocabulary_size, model.hidden_size, lm_head);
  packed.lm_head = packed.embed_tokens.get();
}

std::vector<float> TinyBase::stacked(int32_t layer, Site site) const {
  std::vector<float> all;
  for (const Projection projection : projections_of(site))
    all.insert(all.end(), weight(layer, projection).begin(), weight(layer, projection).end());
  return all;
}

std::unique_ptr<Matrix> TinyBase::pack(int32_t rows, int32_t cols, const std::vector<float>& values) const {
  return model.backend->pack(
      {rows, cols, {WeightFormat::kFloat32, ActivationFormat::kFloat32}},
      [&](int32_t begin, int32_t count, float* out) { std::copy_n(values.begin() + begin * cols, count * cols, out); }, 1);
}

void AdapterFile::add_bytes(const std::string& name, const std::string& dtype, const std::vector<int64_t>& shape,
                            const Bytes& data) {
  std::string text;
  for (const int64_t size : shape) text += (text.empty() ? "" : ",") + std::to_string(size);
  if (!header_.empty()) header_ += ",";
  header_ += safetensors_entry(name, dtype, "[" + text + "]", data_.size(), data_.size() + data.size());
  append(data_, data);
}

std::vector<float> AdapterFile::add(const std::string& name, const std::vector<int64_t>& shape, std::vector<float> values) {
  add_bytes(name, "F32", shape, bytes_of(values));
  return values;
}

std::vector<float> AdapterFile::add_random(const std::string& name, const std::vector<int64_t>& shape) {
  return add(name, shape, random_.floats(product(shape), -1.0f, 1.0f));
}

Bytes AdapterFile::build() const { return safetensors_file("{" + header_ + "}", data_); }

AdapterEntry projection_entry(const std::string& tensor, AdapterEntry::Role role, int32_t layer, Projection projection) {
  AdapterEntry entry;
  entry.tensor = tensor;
  entry.role = role;
  entry.place = AdapterEntry::Place::kProjection;
  entry.layer = layer;
  entry.projection = projection;
  return entry;
}

AdapterEntry place_entry(const std::string& tensor, AdapterEntry::Role role, AdapterEntry::Place place) {
  AdapterEntry entry;
  entry.tensor = tensor;
  entry.role = role;
  entry.place = place;
  return entry;
}

AdapterEntry norm_entry(const std::string& tensor, int32_t layer, LayerNorm norm) {
  AdapterEntry entry = place_entry(tensor, AdapterEntry::Role::kWeight, AdapterEntry::Place::kLayerNorm);
  entry.layer = layer;
  entry.norm = norm;
  return entry;
}

std::shared_ptr<const Adapter> load(const AdapterFile& file, const std::vector<AdapterEntry>& entries, const BaseModel& base) {
  const auto source = open_adapter(file.build());
  return build_adapter(*source, entries, base);
}

Pair add_pair(AdapterFile& file, std::vector<AdapterEntry>& entries, const TinyBase& base, int32_t layer, Projection projection,
              int32_t rank, float scaling) {
  const std::string prefix = "layers." + std::to_string(layer) + ".projection_" + std::to_string(static_cast<int>(projection));
  Pair pair;
  pair.rank = rank;
  pair.a = file.add_random(prefix + ".A", {rank, base.model.in_features(projection)});
  pair.b = file.add_random(prefix + ".B", {base.model.out_features(projection), rank});
  entries.push_back(projection_entry(prefix + ".A", AdapterEntry::Role::kLoraA, layer, projection));
  entries.back().scaling = scaling;
  entries.push_back(projection_entry(prefix + ".B", AdapterEntry::Role::kLoraB, layer, projection));
  return pair;
}

std::vector<float> run_site(const TinyBase& base, const SitePlan& plan, int32_t layer, Site site, const std::vector<float>& x,
                            int32_t rows) {
  const Backend& backend = *base.model.backend;
  std::vector<float> bias;
  const int32_t n = base.model.rows(site), cols = base.model.cols(site);
  if (site == Site::kQkv) bias = base.qkv_bias;
  const TestMatrix matrix =
      make_matrix(backend, {n, cols, WeightFormat::kFloat32, ActivationFormat::kFloat32}, base.stacked(layer, site));

  const AdapterRows segment{0,
                            rows,
                            plan.shrink.data(),
                            static_cast<int32_t>(plan.shrink.size()),
                            plan.expand.data(),
                            static_cast<int32_t>(plan.expand.size()),
                            plan.output_gain.data(),
                            plan.bias.data(),
                            plan.norm_gain};
  std::vector<float> h(static_cast<size_t>(rows * std::max(plan.h_width, 1)));
  const AdapterSegments adapters{&segment, plan.empty() ? 0 : 1, h.data(), plan.h_width};
  ActivationStore in(ActivationFormat::kFloat32, rows, cols);
  const QuantizeShrinkArgs shrink{x.data(), cols, rows, {}, in.view, adapters};
  backend.ops().quantize_shrink(shrink, 0, 1);
  std::vector<float> y(static_cast<size_t>(rows * n));
  const MatmulExpandArgs expand{in.view, matrix.packed.get(), 0,        rows, bias.empty() ? nullptr : bias.data(),
                                nullptr, y.data(),            n, adapters};
  backend.ops().matmul_expand(expand, 0, 1);
  return y;
}

std::vector<double> expected_projection(const TinyBase& base, int32_t layer, Projection projection, const std::vector<float>& x,
                                        int32_t rows, const Pair* pair, double scale, const std::vector<double>& gain,
                                        const std::vector<float>& bias) {
  const auto out = static_cast<size_t>(base.model.out_features(projection));
  const auto in = static_cast<size_t>(base.model.in_features(projection));
  const std::vector<float>& w = base.weight(layer, projection);
  std::vector<double> y(static_cast<size_t>(rows) * out);
  for (size_t m = 0; m < static_cast<size_t>(rows); ++m)
    for (size_t n = 0; n < out; ++n) {
      double sum = 0;
      for (size_t k = 0; k < in; ++k) {
        double value = w[n * in + k];
        if (pair != nullptr)
          for (size_t r = 0; r < static_cast<size_t>(pair->rank); ++r)
            value += scale * pair->b[n * static_cast<size_t>(pair->rank) + r] * pair->a[r * in + k];
        sum += value * x[m * in + k];
      }
      if (!gain.empty()) sum *= gain[n];
      if (!bias.empty()) sum += bias[n];
      y[m * out + n] = sum;
    }
  return y;
}

void check_columns(const std::vector<float>& y, int32_t n, int32_t begin, const std::vector<double>& expected, int32_t out) {
  for (size_t i = 0; i < expected.size(); ++i) {
    const auto row = static_cast<int32_t>(i) / out;
    const auto column = static_cast<int32_t>(i) % out;
    CHECK_NEAR(y[static_cast<size_t>(row * n + begin + column)], expected[i], 1e-4);
  }
}

}  // namespace lowrank::test
