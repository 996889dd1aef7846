#include "lora/dora.h"

#include <cmath>

#include "check.h"
#include "lora/adapter_case.h"
#include "lora/rounded_factor.h"

using namespace lowrank;
using namespace lowrank::test;

namespace {

using Role = AdapterEntry::Role;

// m / |W + scale B A| per row, in float64.
std::vector<double> expected_gain(const TinyBase& base, Projection projection, const Pair& pair,
                                  const std::vector<float>& magnitude, double scale) {
  const auto in = static_cast<size_t>(base.model.in_features(projection));
  const auto rank = static_cast<size_t>(pair.rank);
  const std::vector<float>& w = base.weight(0, projection);
  std::vector<double> gain(magnitude.size());
  for (size_t n = 0; n < gain.size(); ++n) {
    double square = 0;
    for (size_t k = 0; k < in; ++k) {
      double value = w[n * in + k];
      for (size_t r = 0; r < rank; ++r) value += scale * pair.b[n * rank + r] * pair.a[r * in + k];
      square += value * value;
    }
    gain[n] = magnitude[n] / std::sqrt(square);
  }
  return gain;
}

}  // namespace

TEST("lora/dora: y = m / |W + tsBA| * (W + tsBA) x + bias at every scale, with PEFT's norm of the scaled pair") {
  for (const LoraDType dtype : {LoraDType::kFloat32, LoraDType::kBFloat16, LoraDType::kInt8}) {
    const TinyBase base(dtype);
    const int32_t out = base.model.out_features(Projection::kQ);
    AdapterFile file;
    std::vector<AdapterEntry> entries;
    Pair pair = add_pair(file, entries, base, 0, Projection::kQ, 3, 2.0f);
    const auto magnitude = file.add_random("magnitude", {out});
    entries.push_back(projection_entry("magnitude", Role::kMagnitude, 0, Projection::kQ));
    const auto adapter = load(file, entries, base.model);
    CHECK(adapter->has_dora);
    // The norms are those of the numbers that the ops multiply.
    pair.a = a_times_scale(round_a({pair.rank, base.model.hidden_size, pair.a}, dtype, "A")).values;
    pair.b = b_times_scale(round_b({out, pair.rank, pair.b}, dtype, "B")).values;

    const auto x = Random(5).floats(static_cast<size_t>(2 * base.model.hidden_size), -1.0f, 1.0f);
    for (const float scale : {1.0f, 0.25f, 0.0f, -1.5f}) {
      const Composition composition({{adapter, scale}}, base.model);
      const SitePlan& plan = composition.site(0, Site::kQkv);
      const auto gain = expected_gain(base, Projection::kQ, pair, magnitude, 2.0 * scale);
      const auto held = plan.output_gain.values();
      for (size_t n = 0; n < gain.size(); ++n) CHECK_NEAR(held[n], gain[n], 2e-6 * std::fabs(gain[n]));
      const auto y = run_site(base, plan, 0, Site::kQkv, x, 2);
      const std::vector<float> bias(base.qkv_bias.begin(), base.qkv_bias.begin() + out);
      check_columns(y, out + 2 * base.model.out_features(Projection::kK), 0,
                    expected_projection(base, 0, Projection::kQ, x, 2, &pair, 2.0 * scale, gain, bias), out);
    }
  }
}

TEST("lora/dora: lm_head takes DoRA over its own table") {
  const TinyBase base;
  const int32_t vocabulary = base.model.vocabulary_size, hidden = base.model.hidden_size;
  AdapterFile file;
  file.add("A", {1, hidden}, std::vector<float>(static_cast<size_t>(hidden), 0.5f));
  file.add("B", {vocabulary, 1}, std::vector<float>(static_cast<size_t>(vocabulary), 0.25f));
  const auto magnitude = file.add_random("magnitude", {vocabulary});
  const auto place = AdapterEntry::Place::kLmHead;
  const auto adapter = load(file, {place_entry("A", Role::kLoraA, place), place_entry("B", Role::kLoraB, place),
                                   place_entry("magnitude", Role::kMagnitude, place)},
                            base.model);
  const Composition composition({{adapter, 1.0f}}, base.model);
  const auto gain = composition.lm_head().output_gain.values();
  CHECK_EQ(gain.size(), static_cast<size_t>(vocabulary));
  for (size_t n = 0; n < gain.size(); ++n) {
    double square = 0;
    for (size_t k = 0; k < static_cast<size_t>(hidden); ++k) {
      const double value = base.lm_head[n * static_cast<size_t>(hidden) + k] + 0.125;
      square += value * value;
    }
    CHECK_NEAR(gain[n], magnitude[n] / std::sqrt(square), 2e-6 * std::fabs(gain[n]));
  }
}

TEST("lora/dora: rows longer than a chunk and more rows than a block, the same on any number of threads") {
  constexpr int32_t kOut = 150, kIn = 517, kRank = 3;
  Random random(9);
  const FloatMatrix a{kRank, kIn, random.floats(kRank * kIn, -1.0f, 1.0f)};
  const FloatMatrix b{kOut, kRank, random.floats(kOut * kRank, -1.0f, 1.0f)};
  const auto w = random.floats(kOut * kIn, -1.0f, 1.0f);
  const RowReader read = [&](int32_t begin, int32_t count, float* out) { std::copy_n(w.begin() + begin * kIn, count * kIn, out); };
  const DoraNorms one = dora_norms(a, b, std::vector<float>(kOut, 1.0f), read, 1);
  const DoraNorms three = dora_norms(a, b, std::vector<float>(kOut, 1.0f), read, 3);
  CHECK(one.n0 == three.n0 && one.n1 == three.n1 && one.n2 == three.n2);
  for (size_t n = 0; n < kOut; ++n) {
    double n0 = 0, n1 = 0, n2 = 0;
    for (size_t k = 0; k < kIn; ++k) {
      const double weight = w[n * kIn + k];
      double delta = 0;
      for (size_t r = 0; r < kRank; ++r) delta += double{b.values[n * kRank + r]} * a.values[r * kIn + k];
      n0 += weight * weight;
      n1 += weight * delta;
      n2 += delta * delta;
    }
    CHECK_NEAR(one.n0[n], n0, 1e-6 * n0);
    CHECK_NEAR(one.n1[n], n1, 1e-6 * std::sqrt(n0 * n2));
    CHECK_NEAR(one.n2[n], n2, 1e-6 * n2);
  }
}

TEST("lora/dora: what the base's reader throws reaches the caller, from any thread") {
  const FloatMatrix a{1, 8, std::vector<float>(8, 1.0f)};
  const FloatMatrix b{640, 1, std::vector<float>(640, 1.0f)};
  const RowReader read = [](int32_t begin, int32_t count, float* out) {
    if (begin >= 320) throw Error(ErrorCode::kIo, "cut short");
    std::fill_n(out, count * 8, 1.0f);
  };
  for (const int threads : {1, 4})
    CHECK_THROWS_CODE(dora_norms(a, b, std::vector<float>(640, 1.0f), read, threads), ErrorCode::kIo);
}

TEST("lora/dora: a row whose norm vanishes has no gain instead of a NaN") {
  const DoraNorms norms{{2.0f, 2.0f}, {0.0f, 4.0f}, {0.0f, -4.0f}, {0.0f, 4.0f}};
  float gain[2];
  dora_gain(norms, 1.0f, gain);  // W = 0, and W = -BA
  CHECK_EQ(gain[0], 0.0f);
  CHECK_EQ(gain[1], 0.0f);
  dora_gain(norms, 0.0f, gain);
  CHECK_EQ(gain[1], 1.0f);
}
