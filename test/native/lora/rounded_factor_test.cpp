#include "lora/rounded_factor.h"

#include <cmath>
#include <limits>

#include "check.h"
#include "lora/adapter_case.h"

using namespace lowrank;
using namespace lowrank::test;

namespace {

using Role = AdapterEntry::Role;

constexpr int32_t kIn = 67, kOut = 19;

FloatMatrix random_matrix(Random& random, int32_t rows, int32_t cols) {
  return {rows, cols, random.floats(static_cast<size_t>(rows * cols), -1.0f, 1.0f)};
}

// A pair whose values became what `base` keeps of them.
Pair rounded(const Pair& pair, const TinyBase& base, Projection projection) {
  const int32_t in = base.model.in_features(projection), out = base.model.out_features(projection);
  return {a_times_scale(round_a({pair.rank, in, pair.a}, base.model.lora_dtype, "A")).values,
          b_times_scale(round_b({out, pair.rank, pair.b}, base.model.lora_dtype, "B")).values, pair.rank};
}

}  // namespace

TEST("lora/rounded_factor: int8 keeps A by rows and B by columns, each value within half a step") {
  Random random(1);
  for (const int32_t rank : {1, 3, 16}) {
    FloatMatrix a = random_matrix(random, rank, kIn), b = random_matrix(random, kOut, rank);
    // Ranks of very different sizes, one of them zero, lose nothing to each other.
    for (int32_t r = 0; r < rank; ++r) {
      const float size = r == 1 ? 0.0f : std::ldexp(1.0f, 5 * (r % 4) - 8);
      for (int32_t k = 0; k < kIn; ++k) a.values[static_cast<size_t>(r * kIn + k)] *= size;
      for (int32_t n = 0; n < kOut; ++n) b.values[static_cast<size_t>(n * rank + r)] *= size;
    }
    const RoundedFactor int8_a = round_a(a, LoraDType::kInt8, "A"), int8_b = round_b(b, LoraDType::kInt8, "B");
    const FloatMatrix held_a = a_times_scale(int8_a), held_b = b_times_scale(int8_b);
    const std::vector<float> scale = rank_scale(int8_a, int8_b, "B");
    for (int32_t r = 0; r < rank; ++r) {
      const auto at = static_cast<size_t>(r);
      float a_absmax = 0, b_absmax = 0;
      const auto check = [](float value, float held, float q, float step, float& absmax) {
        CHECK_NEAR(held, value, 0.5001f * step);
        CHECK_EQ(q, std::nearbyint(q));
        absmax = std::max(absmax, std::fabs(q));
      };
      for (int32_t k = 0; k < kIn; ++k) {
        const auto i = static_cast<size_t>(r * kIn + k);
        check(a.values[i], held_a.values[i], int8_a.values.values[i], int8_a.scale[at], a_absmax);
      }
      for (int32_t n = 0; n < kOut; ++n) {
        const auto i = static_cast<size_t>(n * rank + r);
        check(b.values[i], held_b.values[i], int8_b.values.values[i], int8_b.scale[at], b_absmax);
      }
      CHECK_EQ(a_absmax, r == 1 ? 0.0f : 127.0f);
      CHECK_EQ(b_absmax, r == 1 ? 0.0f : 127.0f);
      CHECK_EQ(scale[at], int8_a.scale[at] * int8_b.scale[at]);
    }
  }
}

TEST("lora/rounded_factor: the other formats have no scale; what leaves a format's range is refused by name") {
  Random random(2);
  const FloatMatrix a = random_matrix(random, 3, kIn), b = random_matrix(random, kOut, 3);
  for (const LoraDType dtype : {LoraDType::kFloat32, LoraDType::kBFloat16}) {
    const RoundedFactor held_a = round_a(a, dtype, "A"), held_b = round_b(b, dtype, "B");
    CHECK(held_a.scale.empty() && held_b.scale.empty() && rank_scale(held_a, held_b, "B").empty());
    CHECK(a_times_scale(held_a).values == held_a.values.values && b_times_scale(held_b).values == held_b.values.values);
    CHECK_EQ(held_a.values.values == a.values, dtype == LoraDType::kFloat32);
  }
  const float largest = std::numeric_limits<float>::max();
  const auto refused = [](const auto& body) {
    return message_of(ErrorCode::kAdapterFormat, body).find("some.A") != std::string::npos;
  };
  CHECK(refused([&] { round_a({1, 1, {largest}}, LoraDType::kBFloat16, "some.A"); }));
  CHECK(refused([&] {
    rank_scale(round_a({1, 1, {largest}}, LoraDType::kInt8, "A"), round_b({1, 1, {largest}}, LoraDType::kInt8, "B"), "some.A");
  }));
}

TEST("lora/rounded_factor: an int8 adapter multiplies what int8 keeps, in about a quarter of float32's memory") {
  const TinyBase base(LoraDType::kInt8), plain(LoraDType::kFloat32);
  AdapterFile file;
  std::vector<AdapterEntry> entries;
  const Pair q = add_pair(file, entries, base, 0, Projection::kQ, 5, 0.5f);
  const Pair v = add_pair(file, entries, base, 0, Projection::kV, 3, 2.0f);
  const auto adapter = load(file, entries, base.model);
  CHECK(adapter->dtype == LoraDType::kInt8);
  CHECK_EQ(4 * (adapter->bytes - 8 * sizeof(float)), load(file, entries, plain.model)->bytes);  // 8 ranks with a scale each

  const int32_t rows = 3, q_out = base.model.out_features(Projection::kQ), kv_out = base.model.out_features(Projection::kK);
  const auto x = Random(11).floats(static_cast<size_t>(rows * base.model.hidden_size), -1.0f, 1.0f);
  const Composition composition({{adapter, 0.5f}}, base.model);
  const auto y = run_site(base, composition.site(0, Site::kQkv), 0, Site::kQkv, x, rows);
  const Pair held_q = rounded(q, base, Projection::kQ), held_v = rounded(v, base, Projection::kV);
  CHECK(held_q.a != q.a && held_v.b != v.b);
  const auto bias = [&](int32_t begin, int32_t count) {
    return std::vector<float>(base.qkv_bias.begin() + begin, base.qkv_bias.begin() + begin + count);
  };
  const int32_t n = q_out + 2 * kv_out;
  check_columns(y, n, 0, expected_projection(base, 0, Projection::kQ, x, rows, &held_q, 0.25, {}, bias(0, q_out)), q_out);
  check_columns(y, n, q_out + kv_out,
                expected_projection(base, 0, Projection::kV, x, rows, &held_v, 1.0, {}, bias(q_out + kv_out, kv_out)), kv_out);
}

TEST("lora/rounded_factor: adapters of different formats add up in one composition") {
  const TinyBase base(LoraDType::kBFloat16);
  BaseModel int8 = base.model;
  int8.lora_dtype = LoraDType::kInt8;
  AdapterFile one, other;
  std::vector<AdapterEntry> one_entries, other_entries;
  const Pair first = add_pair(one, one_entries, base, 0, Projection::kUp, 2, 1.0f);
  other.add_random("something else", {5});  // so that the second adapter's numbers differ
  const Pair second = add_pair(other, other_entries, base, 0, Projection::kUp, 3, 0.5f);
  const Composition composition({{load(one, one_entries, base.model), 0.75f}, {load(other, other_entries, int8), -2.0f}},
                                base.model);
  const int32_t rows = 2, out = base.model.intermediate_size;
  const auto x = Random(12).floats(static_cast<size_t>(rows * base.model.hidden_size), -1.0f, 1.0f);
  const auto y = run_site(base, composition.site(0, Site::kGateUp), 0, Site::kGateUp, x, rows);
  const Pair held_first = rounded(first, base, Projection::kUp);
  const TinyBase int8_base(LoraDType::kInt8);
  const Pair held_second = rounded(second, int8_base, Projection::kUp);
  const auto up = [&](const Pair* pair, double scale) {
    return expected_projection(base, 0, Projection::kUp, x, rows, pair, scale, {}, {});
  };
  auto expected = up(&held_first, 0.75);
  const auto with_second = up(&held_second, -1.0), base_only = up(nullptr, 0);
  for (size_t i = 0; i < expected.size(); ++i) expected[i] += with_second[i] - base_only[i];
  check_columns(y, 2 * out, out, expected, out);
}

TEST("lora/rounded_factor: modules that share A have each the scales of their own B") {
  const TinyBase base(LoraDType::kInt8);
  const int32_t kv_out = base.model.out_features(Projection::kK), hidden = base.model.hidden_size;
  AdapterFile file;
  Pair pair;
  pair.rank = 2;
  pair.a = file.add_random("kv.A", {2, hidden});
  pair.b = file.add_random("kv.B", {2 * kv_out, 2});
  for (int32_t i = 0; i < 2 * kv_out; ++i) CHECK(std::fabs(pair.b[static_cast<size_t>(i)]) <= 1.0f);
  std::vector<AdapterEntry> entries;
  for (const Projection projection : {Projection::kK, Projection::kV}) {
    entries.push_back(projection_entry("kv.A", Role::kLoraA, 0, projection));
    entries.push_back(projection_entry("kv.B", Role::kLoraB, 0, projection));
    entries.back().row_begin = projection == Projection::kK ? 0 : kv_out;
    entries.back().row_count = kv_out;
  }
  const auto adapter = load(file, entries, base.model);
  const auto& modules = adapter->layers[0].modules;
  CHECK(modules[static_cast<size_t>(Projection::kK)]->a == modules[static_cast<size_t>(Projection::kV)]->a);
  const Composition composition({{adapter, 1.0f}}, base.model);
  const auto x = Random(13).floats(static_cast<size_t>(hidden), -1.0f, 1.0f);
  const auto y = run_site(base, composition.site(0, Site::kQkv), 0, Site::kQkv, x, 1);
  const int32_t q_out = base.model.out_features(Projection::kQ);
  for (const Projection projection : {Projection::kK, Projection::kV}) {
    const int32_t begin = projection == Projection::kK ? 0 : kv_out;
    const Pair part{pair.a, {pair.b.begin() + begin * 2, pair.b.begin() + (begin + kv_out) * 2}, 2};
    const Pair held = rounded(part, base, projection);
    const auto bias_begin = base.qkv_bias.begin() + q_out + begin;
    check_columns(y, q_out + 2 * kv_out, q_out + begin,
                  expected_projection(base, 0, projection, x, 1, &held, 1.0, {}, {bias_begin, bias_begin + kv_out}), kv_out);
  }
}
