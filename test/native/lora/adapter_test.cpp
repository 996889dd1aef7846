#include "lora/adapter.h"

#include <limits>

#include "check.h"
#include "lora/adapter_case.h"

using namespace lowrank;
using namespace lowrank::test;

namespace {

using Role = AdapterEntry::Role;
using Place = AdapterEntry::Place;

constexpr int32_t kRows = 3;

std::vector<float> some_x(int32_t cols) { return Random(11).floats(static_cast<size_t>(kRows * cols), -1.0f, 1.0f); }

// A valid pair on layer 1's v, which the tests below spoil.
struct Spoiled {
  TinyBase base;
  AdapterFile file;
  std::vector<AdapterEntry> entries;

  std::string fails(ErrorCode code) {
    return message_of(code, [&] { load(file, entries, base.model); });
  }
  AdapterEntry& add(const std::string& name, Role role, const std::vector<int64_t>& shape) {
    file.add_random(name, shape);
    entries.push_back(projection_entry(name, role, 1, Projection::kV));
    return entries.back();
  }
};

bool names(const std::string& message, const std::string& what) { return message.find(what) != std::string::npos; }

}  // namespace

TEST("lora/adapter: ranks differ from module to module, facts are counted") {
  const TinyBase base;
  AdapterFile file;
  std::vector<AdapterEntry> entries;
  add_pair(file, entries, base, 0, Projection::kQ, 2, 0.5f);
  add_pair(file, entries, base, 1, Projection::kDown, 5, 3.0f);
  const auto adapter = load(file, entries, base.model);
  CHECK_EQ(adapter->max_rank, 5);
  CHECK_EQ(adapter->has_dora, false);
  CHECK(adapter->layers[0].modules[0] != nullptr && adapter->layers[0].modules[1] == nullptr);
  const LoraModule& down = *adapter->layers[1].modules[static_cast<size_t>(Projection::kDown)];
  CHECK_EQ(down.a->rank, 5);
  CHECK_EQ(down.a->dimension, base.model.intermediate_size);
  CHECK_EQ(down.b->dimension, base.model.hidden_size);
  CHECK_EQ(down.scaling, 3.0f);
  const LoraModule& q = *adapter->layers[0].modules[0];
  CHECK_EQ(adapter->bytes, q.a->bytes + q.b->bytes + down.a->bytes + down.b->bytes);
}

TEST("lora/adapter: a fused projection's parts share A and split B's rows") {
  const TinyBase base;
  AdapterFile file;
  const int32_t q = base.model.out_features(Projection::kQ), kv = base.model.out_features(Projection::kK);
  const int32_t hidden = base.model.hidden_size, n = q + 2 * kv;
  const std::vector<float> a = file.add_random("qkv.A", {4, hidden});
  const std::vector<float> b = file.add_random("qkv.B", {n, 4});
  std::vector<AdapterEntry> entries;
  const std::vector<Projection> projections{Projection::kQ, Projection::kK, Projection::kV};
  int32_t begin = 0;
  for (const Projection projection : projections) {
    entries.push_back(projection_entry("qkv.A", Role::kLoraA, 0, projection));
    entries.back().scaling = 0.5f;
    entries.push_back(projection_entry("qkv.B", Role::kLoraB, 0, projection));
    entries.back().row_begin = begin;
    entries.back().row_count = base.model.out_features(projection);
    begin += entries.back().row_count;
  }
  const auto adapter = load(file, entries, base.model);
  const auto& modules = adapter->layers[0].modules;
  CHECK(modules[0]->a == modules[1]->a && modules[1]->a == modules[2]->a);
  CHECK_EQ(adapter->bytes, modules[0]->a->bytes + modules[0]->b->bytes + modules[1]->b->bytes + modules[2]->b->bytes);

  const Composition composition({{adapter, 2.0f}}, base.model);
  const SitePlan& plan = composition.site(0, Site::kQkv);
  CHECK_EQ(plan.shrink.size(), size_t{1});
  CHECK_EQ(plan.expand.size(), size_t{3});
  CHECK_EQ(plan.h_width, 4);
  const auto x = some_x(hidden);
  const auto y = run_site(base, plan, 0, Site::kQkv, x, kRows);
  begin = 0;
  for (const Projection projection : projections) {
    const int32_t out = base.model.out_features(projection);
    const Pair part{a, {b.begin() + begin * 4, b.begin() + (begin + out) * 4}, 4};
    const std::vector<float> bias(base.qkv_bias.begin() + begin, base.qkv_bias.begin() + begin + out);
    check_columns(y, n, begin, expected_projection(base, 0, projection, x, kRows, &part, 1.0, {}, bias), out);
    begin += out;
  }

  // One row more than the base's parts take: another base.
  AdapterFile longer;
  longer.add_random("qkv.A", {4, hidden});
  longer.add_random("qkv.B", {n + 1, 4});
  CHECK(names(message_of(ErrorCode::kAdapterShape, [&] { load(longer, entries, base.model); }), "qkv.B"));
}

TEST("lora/adapter: rows in llama.cpp's order and transposed tensors are put right") {
  const TinyBase base;
  const int32_t hidden = base.model.hidden_size, out = base.model.out_features(Projection::kQ), rank = 3;
  AdapterFile plain;
  std::vector<AdapterEntry> entries;
  const Pair pair = add_pair(plain, entries, base, 0, Projection::kQ, rank, 1.0f);
  const auto straight = load(plain, entries, base.model);

  // As llama.cpp's converter writes it: reshape(heads, 2, head_dim / 2).swapaxes(1, 2).
  std::vector<float> permuted(pair.b.size());
  const int32_t half = base.model.head_dim / 2;
  for (int32_t head = 0; head < base.model.heads; ++head)
    for (int32_t side = 0; side < 2; ++side)
      for (int32_t i = 0; i < half; ++i)
        for (int32_t r = 0; r < rank; ++r)
          permuted[static_cast<size_t>((head * 2 * half + i * 2 + side) * rank + r)] =
              pair.b[static_cast<size_t>((head * 2 * half + side * half + i) * rank + r)];
  std::vector<float> a_transposed(pair.a.size());
  for (int32_t r = 0; r < rank; ++r)
    for (int32_t k = 0; k < hidden; ++k)
      a_transposed[static_cast<size_t>(k * rank + r)] = pair.a[static_cast<size_t>(r * hidden + k)];
  AdapterFile file;
  file.add("A", {hidden, rank}, a_transposed);
  file.add("B", {out, rank}, permuted);
  AdapterEntry a = projection_entry("A", Role::kLoraA, 0, Projection::kQ);
  a.transpose = true;
  AdapterEntry b = projection_entry("B", Role::kLoraB, 0, Projection::kQ);
  b.unpermute_heads = base.model.heads;
  const auto converted = load(file, {a, b}, base.model);

  const auto x = some_x(hidden);
  const auto y_of = [&](const std::shared_ptr<const Adapter>& adapter) {
    return run_site(base, Composition({{adapter, 1.0f}}, base.model).site(0, Site::kQkv), 0, Site::kQkv, x, kRows);
  };
  CHECK(y_of(straight) == y_of(converted));
}

TEST("lora/adapter: a replaced lm_head is owned and in the base's format; the embedding's A is turned") {
  const TinyBase base;
  const int32_t vocabulary = base.model.vocabulary_size, hidden = base.model.hidden_size;
  AdapterFile file;
  const auto table = file.add_random("head", {vocabulary, hidden});
  const auto a = file.add_random("embedding.A", {2, vocabulary});
  const auto b = file.add_random("embedding.B", {hidden, 2});
  std::vector<AdapterEntry> entries{place_entry("head", Role::kWeight, Place::kLmHead),
                                    place_entry("embedding.A", Role::kEmbeddingA, Place::kEmbedTokens),
                                    place_entry("embedding.B", Role::kEmbeddingB, Place::kEmbedTokens)};
  entries[1].scaling = 4.0f;
  const auto adapter = load(file, entries, base.model);
  std::vector<float> unpacked(table.size());
  base.model.backend->unpack(*adapter->lm_head_weight, 0, vocabulary, unpacked.data());
  CHECK(unpacked == table);
  CHECK_EQ(adapter->embedding->rank, 2);
  CHECK(adapter->embedding->b.values() == b);
  const std::vector<float> held_a = adapter->embedding->a.values();
  for (int32_t token = 0; token < vocabulary; ++token)
    for (int32_t r = 0; r < 2; ++r)
      CHECK_EQ(held_a[static_cast<size_t>(token * 2 + r)], a[static_cast<size_t>(r * vocabulary + token)]);
  const Composition composition({{adapter, 0.5f}}, base.model);
  CHECK_EQ(composition.embedding_terms().size(), size_t{1});
  CHECK_EQ(composition.embedding_terms()[0].scale, 2.0f);
  CHECK(composition.lm_head_weight() == adapter->lm_head_weight.get());
}

TEST("lora/adapter: Gemma's norm gains get their offset") {
  const TinyBase base(LoraDType::kFloat32, true);
  AdapterFile file;
  const auto gain = file.add_random("norm", {base.model.hidden_size});
  const auto adapter = load(file, {norm_entry("norm", 1, LayerNorm::kAfterFeedForward)}, base.model);
  const auto held = adapter->layers[1].norms[static_cast<size_t>(LayerNorm::kAfterFeedForward)].values();
  CHECK_EQ(held.size(), gain.size());
  for (size_t i = 0; i < gain.size(); ++i) CHECK_EQ(held[i], gain[i] + 1.0f);
}

TEST("lora/adapter: wrong shapes name the tensor, the expected and the received shape") {
  const int32_t hidden = TinyBase().model.hidden_size, out = TinyBase().model.out_features(Projection::kV);
  {
    Spoiled spoiled;
    spoiled.add("v.A", Role::kLoraA, {2, hidden + 1});
    spoiled.add("v.B", Role::kLoraB, {out, 2});
    const std::string message = spoiled.fails(ErrorCode::kAdapterShape);
    CHECK(names(message, "v.A") && names(message, "[rank, 24]") && names(message, "[2, 25]"));
  }
  {
    Spoiled spoiled;
    spoiled.add("v.A", Role::kLoraA, {2, hidden});
    spoiled.add("v.B", Role::kLoraB, {out, 3});
    const std::string message = spoiled.fails(ErrorCode::kAdapterShape);
    CHECK(names(message, "v.B") && names(message, "[6, 2]") && names(message, "[6, 3]"));
  }
  {
    Spoiled spoiled;
    spoiled.add("v.A", Role::kLoraA, {2, hidden});
    spoiled.add("v.B", Role::kLoraB, {out, 2, 1});
    CHECK(names(spoiled.fails(ErrorCode::kAdapterShape), "[6, 2, 1]"));
  }
  {
    Spoiled spoiled;
    spoiled.add("v.A", Role::kLoraA, {0, hidden});
    spoiled.add("v.B", Role::kLoraB, {out, 0});
    CHECK(names(spoiled.fails(ErrorCode::kAdapterShape), "rank from 1"));
  }
  {
    Spoiled spoiled;
    spoiled.add("v.A", Role::kLoraA, {2, hidden});
    spoiled.add("v.B", Role::kLoraB, {out, 2}).row_begin = 1;
    CHECK(names(spoiled.fails(ErrorCode::kAdapterShape), "v.B"));
  }
  {
    Spoiled spoiled;
    spoiled.add("v.bias", Role::kBias, {out + 1});
    CHECK(names(spoiled.fails(ErrorCode::kAdapterShape), "[7]"));
  }
  {
    Spoiled spoiled;
    spoiled.file.add_random("head", {3, hidden});
    spoiled.entries.push_back(place_entry("head", Role::kWeight, Place::kLmHead));
    CHECK(names(spoiled.fails(ErrorCode::kAdapterShape), "[37, 24]"));
  }
}

TEST("lora/adapter: another base's layers, norms and biases are refused") {
  const int32_t hidden = TinyBase().model.hidden_size;
  {
    Spoiled spoiled;
    spoiled.add("v.A", Role::kLoraA, {2, hidden}).layer = 2;
    CHECK(names(spoiled.fails(ErrorCode::kAdapterShape), "layer from 0 to 1"));
  }
  {
    Spoiled spoiled;
    spoiled.file.add_random("norm", {hidden});
    spoiled.entries.push_back(norm_entry("norm", 0, LayerNorm::kAfterFeedForward));
    CHECK(names(spoiled.fails(ErrorCode::kAdapterShape), "norm"));
  }
  {
    Spoiled spoiled;
    spoiled.file.add_random("o.bias", {hidden});
    spoiled.entries.push_back(projection_entry("o.bias", Role::kBias, 0, Projection::kO));
    CHECK(names(spoiled.fails(ErrorCode::kAdapterShape), "o.bias"));
  }
}

TEST("lora/adapter: missing, doubled and lonely tensors are refused") {
  const int32_t hidden = TinyBase().model.hidden_size, out = TinyBase().model.out_features(Projection::kV);
  {
    Spoiled spoiled;
    CHECK(!spoiled.fails(ErrorCode::kAdapterFormat).empty());
  }
  for (const Role role : {Role::kLoraA, Role::kLoraB, Role::kMagnitude, Role::kLoraBBias}) {
    Spoiled spoiled;
    spoiled.add("alone", role, {2, hidden});
    CHECK(names(spoiled.fails(ErrorCode::kAdapterFormat), "alone"));
  }
  {
    Spoiled spoiled;
    spoiled.file.add_random("embedding.B", {hidden, 2});
    spoiled.entries.push_back(place_entry("embedding.B", Role::kEmbeddingB, Place::kEmbedTokens));
    CHECK(names(spoiled.fails(ErrorCode::kAdapterFormat), "embedding.B"));
  }
  {
    Spoiled spoiled;
    spoiled.add("v.A", Role::kLoraA, {2, hidden});
    spoiled.add("v.B", Role::kLoraB, {out, 2});
    spoiled.add("v.A2", Role::kLoraA, {2, hidden});
    CHECK(names(spoiled.fails(ErrorCode::kAdapterFormat), "v.A2"));
  }
  {
    Spoiled spoiled;
    spoiled.add("v.A", Role::kLoraA, {2, hidden});
    spoiled.add("v.B", Role::kLoraB, {out, 2}).tensor = "not there";
    CHECK(names(spoiled.fails(ErrorCode::kAdapterFormat), "not there"));
  }
}

TEST("lora/adapter: NaN, Inf and types that are no floats are refused, tables included") {
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN(), kInf = std::numeric_limits<float>::infinity();
  const TinyBase base;
  const int32_t hidden = base.model.hidden_size, out = base.model.out_features(Projection::kV);
  for (const float bad : {kNan, kInf, -kInf}) {
    AdapterFile file;
    file.add_random("v.A", {2, hidden});
    std::vector<float> b(static_cast<size_t>(out * 2), 0.5f);
    b.back() = bad;
    file.add("v.B", {out, 2}, b);
    std::vector<float> head(base.lm_head);
    head[head.size() / 2] = bad;
    file.add("head", {base.model.vocabulary_size, hidden}, head);
    CHECK(names(message_of(ErrorCode::kAdapterFormat,
                           [&] {
                             load(file,
                                  {projection_entry("v.A", Role::kLoraA, 0, Projection::kV),
                                   projection_entry("v.B", Role::kLoraB, 0, Projection::kV)},
                                  base.model);
                           }),
                "v.B"));
    CHECK(names(message_of(ErrorCode::kAdapterFormat,
                           [&] { load(file, {place_entry("head", Role::kWeight, Place::kLmHead)}, base.model); }),
                "head"));
  }
  AdapterFile integers;
  integers.add_bytes("v.A", "I32", {2, hidden}, Bytes(static_cast<size_t>(2 * hidden * 4)));
  integers.add_random("v.B", {out, 2});
  CHECK(names(message_of(ErrorCode::kAdapterUnsupported,
                         [&] {
                           load(integers,
                                {projection_entry("v.A", Role::kLoraA, 0, Projection::kV),
                                 projection_entry("v.B", Role::kLoraB, 0, Projection::kV)},
                                base.model);
                         }),
              "v.A"));
  // Finite as float32, but not as the bfloat16 that the ops multiply.
  const TinyBase rounded(LoraDType::kBFloat16);
  AdapterFile huge;
  huge.add("v.A", {1, hidden}, std::vector<float>(static_cast<size_t>(hidden), std::numeric_limits<float>::max()));
  huge.add_random("v.B", {out, 1});
  CHECK(names(message_of(ErrorCode::kAdapterFormat,
                         [&] {
                           load(huge,
                                {projection_entry("v.A", Role::kLoraA, 0, Projection::kV),
                                 projection_entry("v.B", Role::kLoraB, 0, Projection::kV)},
                                rounded.model);
                         }),
              "v.A"));
}

TEST("lora/adapter: what no op can honour is refused by name") {
  const int32_t hidden = TinyBase().model.hidden_size, out = TinyBase().model.out_features(Projection::kV);
  const int32_t vocabulary = TinyBase().model.vocabulary_size;
  const auto refused = [&](const AdapterEntry& entry, const std::vector<int64_t>& shape) {
    Spoiled spoiled;
    spoiled.file.add_random(entry.tensor, shape);
    spoiled.entries.push_back(entry);
    CHECK(names(spoiled.fails(ErrorCode::kAdapterUnsupported), entry.tensor));
  };
  refused(projection_entry("v.weight", Role::kWeight, 0, Projection::kV), {out, hidden});
  refused(place_entry("embedding.magnitude", Role::kMagnitude, Place::kEmbedTokens), {hidden});
  refused(place_entry("head.bias", Role::kBias, Place::kLmHead), {vocabulary});
  refused(place_entry("norm.A", Role::kLoraA, Place::kFinalNorm), {2, hidden});
  {
    Spoiled spoiled;
    spoiled.add("v.A", Role::kLoraA, {2, hidden});
    spoiled.add("v.B", Role::kLoraB, {out, 2});
    spoiled.add("v.magnitude", Role::kMagnitude, {out});
    spoiled.add("v.B.bias", Role::kLoraBBias, {out});
    CHECK(names(spoiled.fails(ErrorCode::kAdapterUnsupported), "v.B.bias"));
  }
  {
    Spoiled spoiled;
    spoiled.file.add_random("head", {vocabulary, hidden});
    spoiled.file.add_random("head.A", {2, hidden});
    spoiled.file.add_random("head.B", {vocabulary, 2});
    spoiled.entries = {place_entry("head", Role::kWeight, Place::kLmHead), place_entry("head.A", Role::kLoraA, Place::kLmHead),
                       place_entry("head.B", Role::kLoraB, Place::kLmHead)};
    CHECK(names(spoiled.fails(ErrorCode::kAdapterUnsupported), "head.A"));
  }
}
