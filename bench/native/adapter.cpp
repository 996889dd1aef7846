#include "adapter.h"

#include <array>
#include <memory>
#include <vector>

#include "backend/backend.h"
#include "backend/program.h"
#include "core/buffer.h"
#include "core/float16.h"
#include "core/philox.h"
#include "timing.h"
#include "unfused.h"

namespace lowrank::bench {
namespace {

constexpr int32_t kRank = 16;
constexpr int32_t kHidden = 576, kIntermediate = 1536, kKv = 192;
constexpr int kLayers = 30;    // so that the weights of a step come from memory, as they do there
constexpr int kOutliers = 8;   // of each product's input, as int8 has them
constexpr int32_t kHStride = 64;
constexpr int kShared = 3;     // parts a thread, as a step of many rows has them

// One product of a layer: its projections lie stacked in one matrix.
struct Site {
  int32_t k;
  std::array<int32_t, kMaxProjections> columns;  // of each projection, 0 after the last
  int32_t n() const { return columns[0] + columns[1] + columns[2]; }
  int32_t projections() const { return columns[1] == 0 ? 1 : columns[2] == 0 ? 2 : 3; }
};
constexpr Site kSites[] = {{kHidden, {kHidden, kKv, kKv}},
                           {kHidden, {kHidden, 0, 0}},
                           {kHidden, {kIntermediate, kIntermediate, 0}},
                           {kIntermediate, {kHidden, 0, 0}}};
enum SiteIndex { kQkv, kO, kGateUp, kDown };

std::vector<float> random_floats(uint64_t seed, size_t count, float magnitude) {
  std::vector<float> values(count);
  for (size_t i = 0; i < count; ++i) values[i] = magnitude * static_cast<float>(2 * uniform_draw(seed, i) - 1);
  return values;
}

// The weights of one product of one layer, and the adapter on it in both forms.
struct SiteWeights {
  std::unique_ptr<Matrix> base;
  std::vector<std::unique_ptr<LoraFactor>> a, b;
  std::vector<ShrinkTerm> shrink;
  std::vector<ExpandTerm> expand;
  AdapterRows fused = {};
  std::unique_ptr<Matrix> a_stacked;  // [rank of all projections, K] bfloat16: x is read once for them
  Buffer b_alone;                     // bfloat16, [rank, columns] of one projection after another

  SiteWeights(const Backend& backend, const Site& site, int32_t rows, uint64_t seed, int threads) {
    MatrixSpec spec{site.n(), site.k, {WeightFormat::kInt8, ActivationFormat::kInt8}};
    std::vector<int32_t> outliers;
    for (int i = 0; i < kOutliers; ++i) outliers.push_back(i * site.k / kOutliers);
    spec.set_transform(true, std::move(outliers), {});
    const auto some = random_floats(seed, static_cast<size_t>(site.k) * 16, 0.5f);  // every 16th row is the same
    base = backend.pack(spec, row_reader(some, site.k), threads);
    const int32_t ranks = kRank * site.projections();
    const auto a_values = random_floats(seed + 1, static_cast<size_t>(ranks) * static_cast<size_t>(site.k), 0.01f);
    a_stacked = backend.pack({ranks, site.k, WeightFormat::kBFloat16, ActivationFormat::kFloat32},
                             row_reader(a_values, site.k), threads);
    const auto b_values = random_floats(seed + 2, static_cast<size_t>(site.n()) * kRank, 0.01f);  // [N, rank]
    b_alone = Buffer(b_values.size() * sizeof(uint16_t));
    int32_t n_begin = 0;
    for (int32_t p = 0; p < site.projections(); ++p) {
      const int32_t columns = site.columns[static_cast<size_t>(p)];
      const float* b_rows = b_values.data() + int64_t{n_begin} * kRank;
      a.push_back(backend.pack_lora_a(a_values.data() + int64_t{p} * kRank * site.k, kRank, site.k, LoraDType::kBFloat16));
      b.push_back(backend.pack_lora_b(b_rows, columns, kRank, LoraDType::kBFloat16));
      shrink.push_back({a.back().get(), p * kRank, 1.0f});
      expand.push_back({b.back().get(), p * kRank, n_begin});
      uint16_t* alone = b_alone.as<uint16_t>() + int64_t{n_begin} * kRank;
      for (int32_t r = 0; r < kRank; ++r)
        for (int32_t n = 0; n < columns; ++n) alone[int64_t{r} * columns + n] = float32_to_bfloat16(b_rows[int64_t{n} * kRank + r]);
      n_begin += columns;
    }
    fused = {0, rows, shrink.data(), site.projections(), expand.data(), site.projections(), nullptr, nullptr, nullptr};
  }
  SiteWeights(SiteWeights&&) = delete;

 private:
  static RowReader row_reader(const std::vector<float>& values, int32_t k) {
    const auto rows = static_cast<int32_t>(values.size() / static_cast<size_t>(k));
    return [&values, k, rows](int32_t begin, int32_t count, float* out) {
      for (int32_t i = 0; i < count; ++i) {
        const float* row = values.data() + int64_t{(begin + i) % rows} * k;
        std::copy(row, row + k, out + int64_t{i} * k);
      }
    };
  }
};

enum class Adapter { kNone, kFused, kUnfused };

// The ops of a layer on scratch memory that all layers share. Values do not matter, so every layer reads the same input.
class Layers {
 public:
  Layers(const Backend& backend, int32_t rows, int threads)
      : ops_(backend.ops()),
        rows_(rows),
        x_(floats(kHidden)),
        wide_(floats(2 * kIntermediate)),
        y_(floats(kHidden)),
        values_(floats(kIntermediate)),
        q_(size(rows) * kIntermediate),
        scale_(floats(scale_groups(kIntermediate, kDefaultScaleGroup))),
        compensation_(floats(scale_groups(kIntermediate, kDefaultScaleGroup))),
        outliers_(floats(kMaxOutliers)),
        h_(floats(kHStride)),
        t_(floats(2 * kIntermediate)),
        gain_(kHidden, 1.0f) {
    const auto x = random_floats(1, size(rows) * kHidden, 1.0f);
    std::copy(x.begin(), x.end(), x_.as<float>());
    for (uint64_t i = 0; i < kLayers * std::size(kSites); ++i)
      weights_.push_back(std::make_unique<SiteWeights>(backend, kSites[i % std::size(kSites)], rows, 10 + 3 * i, threads));
  }

  void record(Program& program, Adapter adapter) const {
    program.set_parts_per_thread(rows_ > 16 ? kShared : 1);
    for (int layer = 0; layer < kLayers; ++layer)
      for (const SiteIndex site : {kQkv, kO, kGateUp, kDown})
        record_site(program, site, *weights_[static_cast<size_t>(layer) * std::size(kSites) + site], adapter);
  }

 private:
  static size_t size(int32_t value) { return static_cast<size_t>(value); }
  Buffer floats(int32_t columns) const { return Buffer(size(rows_) * size(columns) * sizeof(float)); }

  Activations quantized(int32_t k) const {
    return {ActivationFormat::kInt8, k, k, q_.as<int8_t>(), scale_.as<float>(), compensation_.as<int32_t>(),
            outliers_.as<float>(), nullptr};
  }
  Activations in_float(int32_t k) const {
    return {ActivationFormat::kFloat32, k, k, nullptr, nullptr, nullptr, nullptr, values_.as<float>()};
  }

  // The input of the site as it is, to `out`: quantised (and shrunk), or in float32.
  void record_input(Program& program, SiteIndex site, const InputTransform& input, const Activations& out,
                    const AdapterSegments& adapters) const {
    if (site == kO)
      program.add<QuantizeShrinkArgs>(ops_.quantize_shrink, {x_.as<float>(), kHidden, rows_, input, out, adapters});
    else if (site == kDown)
      program.add<GluQuantizeShrinkArgs>(
          ops_.glu_quantize_shrink, {wide_.as<float>(), 2 * kIntermediate, rows_, Activation::kSilu, input, out, adapters});
    else
      program.add<RmsNormQuantizeShrinkArgs>(
          ops_.rmsnorm_quantize_shrink,
          {x_.as<float>(), kHidden, nullptr, rows_, gain_.data(), 1e-5f, input, out, adapters});
  }

  void record_site(Program& program, SiteIndex index, const SiteWeights& weights, Adapter adapter) const {
    const Site& site = kSites[index];
    const Activations in = quantized(site.k);
    const AdapterSegments fused{&weights.fused, 1, h_.as<float>(), kHStride};
    const AdapterSegments adapters = adapter == Adapter::kFused ? fused : AdapterSegments{};
    const float* u = values_.as<float>();
    if (adapter == Adapter::kUnfused) {
      // A x needs the input in float32, which is in memory before o alone.
      if (index == kO)
        u = x_.as<float>();
      else
        record_input(program, index, {}, in_float(site.k), {});
      program.add<QuantizeShrinkArgs>(ops_.quantize_shrink, {u, site.k, rows_, weights.base->input, in, {}});
    } else {
      record_input(program, index, weights.base->input, in, adapters);
    }
    const bool to_residual = index == kO || index == kDown;
    float* y = to_residual ? y_.as<float>() : wide_.as<float>();
    program.add<MatmulExpandArgs>(ops_.matmul_expand, {in, weights.base.get(), 0, rows_, nullptr,
                                                       to_residual ? x_.as<float>() : nullptr, y, site.n(), adapters});
    if (adapter == Adapter::kUnfused) record_unfused(program, site, weights, u, y);
  }

  void record_unfused(Program& program, const Site& site, const SiteWeights& weights, const float* u, float* y) const {
    Activations in = in_float(site.k);
    in.values = const_cast<float*>(u);
    program.add<ShrinkAloneArgs>(shrink_alone, {ops_.matmul_expand,
                                                {in, weights.a_stacked.get(), 0, rows_, nullptr, nullptr, h_.as<float>(), kHStride, {}}});
    ExpandsAloneArgs expands = {};
    int32_t n_begin = 0;
    for (; expands.count < site.projections(); ++expands.count) {
      const int32_t columns = site.columns[size(expands.count)];
      expands.projections[expands.count] = {h_.as<float>() + expands.count * kRank,
                                            kHStride,
                                            weights.b_alone.as<uint16_t>() + int64_t{n_begin} * kRank,
                                            kRank,
                                            columns,
                                            rows_,
                                            t_.as<float>() + n_begin,
                                            site.n()};
      n_begin += columns;
    }
    program.add<ExpandsAloneArgs>(expands_alone, expands);
    program.add<AddArgs>(add, {t_.as<float>(), y, int64_t{rows_} * site.n()});
  }

  const OpTable& ops_;
  const int32_t rows_;
  // [rows, …] float32, but q_ int8 and compensation_ int32
  const Buffer x_, wide_, y_, values_, q_, scale_, compensation_, outliers_, h_, t_;
  const std::vector<float> gain_;
  std::vector<std::unique_ptr<SiteWeights>> weights_;
};

}  // namespace

AdapterCost measure_adapter_cost(int32_t rows, int threads) {
  const Layers layers(cpu_backend(), rows, threads);
  constexpr Adapter kKinds[] = {Adapter::kNone, Adapter::kFused, Adapter::kUnfused};
  Program programs[std::size(kKinds)];
  for (size_t i = 0; i < std::size(kKinds); ++i) layers.record(programs[i], kKinds[i]);
  // In turn, so that all see the same moods of the machine.
  constexpr int kRepeats = 7;
  std::vector<double> times[std::size(kKinds)];
  for (int repeat = 0; repeat < kRepeats; ++repeat)
    for (size_t i = 0; i < std::size(kKinds); ++i)
      times[i].push_back(measure([&] { programs[i].run(threads); }, 1).median * 1e6 / kLayers);
  return {spread_of(times[0]).median, spread_of(times[1]).median, spread_of(times[2]).median};
}

}  // namespace lowrank::bench
