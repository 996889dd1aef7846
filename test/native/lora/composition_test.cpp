#include "lora/composition.h"

#include "check.h"
#include "lora/adapter_case.h"

using namespace lowrank;
using namespace lowrank::test;

namespace {

using Role = AdapterEntry::Role;
using Place = AdapterEntry::Place;

constexpr int32_t kRows = 3;

std::vector<float> some_x(int32_t cols) { return Random(11).floats(static_cast<size_t>(kRows * cols), -1.0f, 1.0f); }

struct One {
  AdapterFile file;
  std::vector<AdapterEntry> entries;
  std::shared_ptr<const Adapter> load(const TinyBase& base) const { return test::load(file, entries, base.model); }
};

std::shared_ptr<const Adapter> plain_on(const TinyBase& base, Projection projection, int32_t rank = 2) {
  One one;
  add_pair(one.file, one.entries, base, 0, projection, rank, 1.0f);
  return one.load(base);
}

std::shared_ptr<const Adapter> dora_on(const TinyBase& base, Projection projection) {
  One one;
  add_pair(one.file, one.entries, base, 0, projection, 2, 1.0f);
  one.file.add_random("magnitude", {base.model.out_features(projection)});
  one.entries.push_back(projection_entry("magnitude", Role::kMagnitude, 0, projection));
  return one.load(base);
}

std::shared_ptr<const Adapter> replacing(const TinyBase& base, AdapterEntry entry, const std::vector<int64_t>& shape) {
  One one;
  one.file.add_random(entry.tensor, shape);
  one.entries = {std::move(entry)};
  return one.load(base);
}

void refused(std::vector<AppliedAdapter> applied, const TinyBase& base, const std::string& what) {
  const std::string message = message_of(ErrorCode::kAdapterUnsupported, [&] { Composition(std::move(applied), base.model); });
  CHECK(message.find(what) != std::string::npos);
}

}  // namespace

TEST("lora/composition: stacked projections of different ranks, and those without a module stay the base's") {
  const TinyBase base;
  One one;
  const Pair q = add_pair(one.file, one.entries, base, 1, Projection::kQ, 2, 0.5f);
  const Pair v = add_pair(one.file, one.entries, base, 1, Projection::kV, 5, 2.0f);
  const Composition composition({{one.load(base), 0.5f}}, base.model);
  const SitePlan& plan = composition.site(1, Site::kQkv);
  CHECK_EQ(plan.h_width, 7);
  CHECK_EQ(composition.max_h_width(), 7);
  CHECK(plan.bias.empty() && plan.output_gain.empty() && plan.norm_gain == nullptr);
  CHECK(composition.site(0, Site::kQkv).empty() && composition.site(1, Site::kDown).empty() && composition.lm_head().empty());

  const auto x = some_x(base.model.hidden_size);
  const auto y = run_site(base, plan, 1, Site::kQkv, x, kRows);
  const int32_t q_out = base.model.out_features(Projection::kQ), kv_out = base.model.out_features(Projection::kK);
  const int32_t n = q_out + 2 * kv_out;
  const auto bias = [&](int32_t begin, int32_t count) {
    return std::vector<float>(base.qkv_bias.begin() + begin, base.qkv_bias.begin() + begin + count);
  };
  check_columns(y, n, 0, expected_projection(base, 1, Projection::kQ, x, kRows, &q, 0.25, {}, bias(0, q_out)), q_out);
  check_columns(y, n, q_out,
                expected_projection(base, 1, Projection::kK, x, kRows, nullptr, 0, {}, bias(q_out, kv_out)), kv_out);
  check_columns(y, n, q_out + kv_out,
                expected_projection(base, 1, Projection::kV, x, kRows, &v, 1.0, {}, bias(q_out + kv_out, kv_out)), kv_out);
}

TEST("lora/composition: two adapters add up, each at its own scale") {
  const TinyBase base;
  One one, other;
  Pair first = add_pair(one.file, one.entries, base, 0, Projection::kUp, 2, 1.0f);
  other.file.add_random("something else", {5});  // so that the second adapter's numbers differ
  const Pair second = add_pair(other.file, other.entries, base, 0, Projection::kUp, 3, 0.5f);
  CHECK(first.a[0] != second.a[0]);
  const Composition composition({{one.load(base), 0.75f}, {other.load(base), -2.0f}}, base.model);
  const SitePlan& plan = composition.site(0, Site::kGateUp);
  CHECK_EQ(plan.h_width, 5);
  const auto x = some_x(base.model.hidden_size);
  const auto y = run_site(base, plan, 0, Site::kGateUp, x, kRows);
  const int32_t out = base.model.intermediate_size;
  const auto base_only = expected_projection(base, 0, Projection::kUp, x, kRows, nullptr, 0, {}, {});
  auto expected = expected_projection(base, 0, Projection::kUp, x, kRows, &first, 0.75, {}, {});
  const auto with_second = expected_projection(base, 0, Projection::kUp, x, kRows, &second, -1.0, {}, {});
  for (size_t i = 0; i < expected.size(); ++i) expected[i] += with_second[i] - base_only[i];
  check_columns(y, 2 * out, out, expected, out);
  check_columns(y, 2 * out, 0, expected_projection(base, 0, Projection::kGate, x, kRows, nullptr, 0, {}, {}), out);
}

TEST("lora/composition: a plain LoRA at scale 0 is the base") {
  const TinyBase base;
  const Composition composition({{plain_on(base, Projection::kO), 0.0f}}, base.model);
  for (int32_t layer = 0; layer < base.model.layer_count; ++layer)
    for (int site = 0; site < kSites; ++site) CHECK(composition.site(layer, static_cast<Site>(site)).empty());
  CHECK_EQ(composition.max_h_width(), 0);
}

TEST("lora/composition: a replaced bias stays whole, lora_B's bias follows the scale") {
  const TinyBase base;
  const int32_t q_out = base.model.out_features(Projection::kQ), k_out = base.model.out_features(Projection::kK);
  One one;
  const Pair k = add_pair(one.file, one.entries, base, 0, Projection::kK, 2, 3.0f);
  const auto b_bias = one.file.add_random("k.B.bias", {k_out});
  one.entries.push_back(projection_entry("k.B.bias", Role::kLoraBBias, 0, Projection::kK));
  const auto q_bias = one.file.add_random("q.bias", {q_out});
  one.entries.push_back(projection_entry("q.bias", Role::kBias, 0, Projection::kQ));
  const Composition composition({{one.load(base), 0.5f}}, base.model);
  const SitePlan& plan = composition.site(0, Site::kQkv);
  const auto x = some_x(base.model.hidden_size);
  const auto y = run_site(base, plan, 0, Site::kQkv, x, kRows);
  const int32_t n = q_out + 2 * k_out;
  check_columns(y, n, 0, expected_projection(base, 0, Projection::kQ, x, kRows, nullptr, 0, {}, q_bias), q_out);
  std::vector<float> k_bias(base.qkv_bias.begin() + q_out, base.qkv_bias.begin() + q_out + k_out);
  for (size_t i = 0; i < k_bias.size(); ++i) k_bias[i] += 1.5f * b_bias[i];
  check_columns(y, n, q_out, expected_projection(base, 0, Projection::kK, x, kRows, &k, 1.5, {}, k_bias), k_out);
  const std::vector<float> v_bias(base.qkv_bias.begin() + q_out + k_out, base.qkv_bias.end());
  check_columns(y, n, q_out + k_out, expected_projection(base, 0, Projection::kV, x, kRows, nullptr, 0, {}, v_bias), k_out);
}

TEST("lora/composition: lora_B's bias on a module whose base has none") {
  const TinyBase base;
  const int32_t out = base.model.hidden_size;
  One one;
  const Pair down = add_pair(one.file, one.entries, base, 1, Projection::kDown, 2, 1.0f);
  const auto bias = one.file.add_random("down.B.bias", {out});
  one.entries.push_back(projection_entry("down.B.bias", Role::kLoraBBias, 1, Projection::kDown));
  const Composition composition({{one.load(base), 1.0f}}, base.model);
  const auto x = some_x(base.model.intermediate_size);
  const auto y = run_site(base, composition.site(1, Site::kDown), 1, Site::kDown, x, kRows);
  check_columns(y, out, 0, expected_projection(base, 1, Projection::kDown, x, kRows, &down, 1.0, {}, bias), out);
}

TEST("lora/composition: norms go to the product they feed, or stand alone") {
  const auto gain_of = [](const TinyBase& base, LayerNorm norm) {
    return replacing(base, norm_entry("norm", 1, norm), {base.model.norm_size(norm)});
  };
  const TinyBase llama;
  const TinyBase gemma(LoraDType::kFloat32, true);
  {
    const auto adapter = gain_of(llama, LayerNorm::kBeforeAttention);
    const Composition composition({{adapter, 0.0f}}, llama.model);
    CHECK(composition.site(1, Site::kQkv).norm_gain == adapter->layers[1].norms[0].data());
    CHECK(composition.site(0, Site::kQkv).norm_gain == nullptr);
    CHECK(composition.norm(1, LayerNorm::kBeforeAttention) == nullptr);
  }
  {
    const Composition composition({{gain_of(llama, LayerNorm::kBeforeFeedForward), 1.0f}}, llama.model);
    CHECK(composition.site(1, Site::kGateUp).norm_gain != nullptr);
    CHECK(composition.norm(1, LayerNorm::kBeforeFeedForward) == nullptr);
  }
  {
    const Composition composition({{gain_of(gemma, LayerNorm::kAfterAttention), 1.0f}}, gemma.model);
    CHECK(composition.site(1, Site::kGateUp).norm_gain == nullptr);
    CHECK(composition.norm(1, LayerNorm::kAfterAttention) != nullptr);
  }
  {
    const Composition composition({{gain_of(gemma, LayerNorm::kBeforeFeedForward), 1.0f}}, gemma.model);
    CHECK(composition.site(1, Site::kGateUp).norm_gain != nullptr);
  }
  {
    const Composition composition({{gain_of(llama, LayerNorm::kQ), 1.0f}}, llama.model);
    CHECK(composition.norm(1, LayerNorm::kQ) != nullptr && composition.norm(0, LayerNorm::kQ) == nullptr);
  }
  {
    const auto adapter = replacing(llama, place_entry("norm", Role::kWeight, Place::kFinalNorm), {llama.model.hidden_size});
    CHECK(Composition({{adapter, 1.0f}}, llama.model).lm_head().norm_gain == adapter->final_norm.data());
  }
}

TEST("lora/composition: lm_head's rank counts for the width of h") {
  const TinyBase base;
  One one;
  add_pair(one.file, one.entries, base, 0, Projection::kQ, 2, 1.0f);
  one.file.add_random("head.A", {9, base.model.hidden_size});
  one.file.add_random("head.B", {base.model.vocabulary_size, 9});
  one.entries.push_back(place_entry("head.A", Role::kLoraA, Place::kLmHead));
  one.entries.back().scaling = 2.0f;
  one.entries.push_back(place_entry("head.B", Role::kLoraB, Place::kLmHead));
  const Composition composition({{one.load(base), 0.5f}}, base.model);
  CHECK_EQ(composition.max_h_width(), 9);
  CHECK_EQ(composition.lm_head().shrink.size(), size_t{1});
  CHECK_EQ(composition.lm_head().shrink[0].scale, 1.0f);
  CHECK_EQ(composition.lm_head().expand[0].b->dimension, base.model.vocabulary_size);
}

TEST("lora/composition: what two adapters cannot share is refused") {
  const TinyBase base;
  const int32_t hidden = base.model.hidden_size, vocabulary = base.model.vocabulary_size;
  refused({{dora_on(base, Projection::kQ), 1.0f}, {dora_on(base, Projection::kO), 1.0f}}, base, "DoRA");
  refused({{dora_on(base, Projection::kQ), 1.0f}, {plain_on(base, Projection::kQ), 1.0f}}, base, "layers.0.self_attn.q_proj");
  refused({{plain_on(base, Projection::kQ), 1.0f}, {dora_on(base, Projection::kQ), 1.0f}}, base, "layers.0.self_attn.q_proj");
  const auto twice = [&](const AdapterEntry& entry, const std::vector<int64_t>& shape, const std::string& what) {
    refused({{replacing(base, entry, shape), 1.0f}, {replacing(base, entry, shape), 1.0f}}, base, what);
  };
  twice(projection_entry("bias", Role::kBias, 1, Projection::kV), {base.model.out_features(Projection::kV)},
        "layers.1.self_attn.v_proj");
  twice(norm_entry("norm", 1, LayerNorm::kBeforeAttention), {hidden}, "layer 1");
  twice(place_entry("norm", Role::kWeight, Place::kFinalNorm), {hidden}, "final norm");
  twice(place_entry("head", Role::kWeight, Place::kLmHead), {vocabulary, hidden}, "lm_head");
  twice(place_entry("embedding", Role::kWeight, Place::kEmbedTokens), {vocabulary, hidden}, "embed_tokens");

  One head;
  head.file.add_random("A", {2, hidden});
  head.file.add_random("B", {vocabulary, 2});
  head.entries = {place_entry("A", Role::kLoraA, Place::kLmHead), place_entry("B", Role::kLoraB, Place::kLmHead)};
  refused({{head.load(base), 1.0f},
           {replacing(base, place_entry("head", Role::kWeight, Place::kLmHead), {vocabulary, hidden}), 1.0f}},
          base, "lm_head");
}

TEST("lora/composition: DoRA and a plain adapter on other modules go together") {
  const TinyBase base;
  const Composition composition({{dora_on(base, Projection::kQ), 1.0f}, {plain_on(base, Projection::kK), 1.0f}}, base.model);
  const SitePlan& plan = composition.site(0, Site::kQkv);
  CHECK_EQ(plan.expand.size(), size_t{2});
  const auto q_out = static_cast<size_t>(base.model.out_features(Projection::kQ));
  const auto gain = plan.output_gain.values();
  CHECK(gain.size() > q_out);
  for (size_t n = q_out; n < gain.size(); ++n) CHECK_EQ(gain[n], 1.0f);
}
