// Tables of an adapter: what replaces lm_head or embed_tokens, and what holds the base's own numbers.
#include "check.h"
#include "lora/adapter_case.h"

using namespace lowrank;
using namespace lowrank::test;

namespace {

using Role = AdapterEntry::Role;
using Place = AdapterEntry::Place;

bool names(const std::string& message, const std::string& part) { return message.find(part) != std::string::npos; }

struct TableCase {
  TinyBase base;
  int32_t vocabulary = base.model.vocabulary_size;
  int32_t hidden = base.model.hidden_size;
  AdapterFile file;
  std::vector<AdapterEntry> entries;

  // A pair on lm_head, or on embed_tokens.
  void add_pair(Place place) {
    const bool head = place == Place::kLmHead;
    file.add_random("pair.A", {2, head ? hidden : vocabulary});
    file.add_random("pair.B", {head ? vocabulary : hidden, 2});
    entries.push_back(place_entry("pair.A", head ? Role::kLoraA : Role::kEmbeddingA, place));
    entries.push_back(place_entry("pair.B", head ? Role::kLoraB : Role::kEmbeddingB, place));
  }
  std::vector<float> add_table(const std::string& name, std::vector<float> values) {
    return file.add(name, {vocabulary, hidden}, std::move(values));
  }
  std::vector<float> changed() const {
    std::vector<float> table = base.lm_head;
    table[static_cast<size_t>(3 * hidden + 1)] += 0.25f;
    return table;
  }
  std::shared_ptr<const Adapter> load() const { return test::load(file, entries, base.model); }
  std::vector<float> values_of(const Matrix& matrix) const {
    std::vector<float> values(base.lm_head.size());
    base.model.backend->unpack(matrix, 0, vocabulary, values.data());
    return values;
  }
};

}  // namespace

TEST("lora/tables: the base's own table under a pair takes nothing, another one replaces it") {
  for (const Place place : {Place::kLmHead, Place::kEmbedTokens}) {
    TableCase same;
    same.add_pair(place);
    const size_t bytes = same.load()->bytes;
    same.add_table("table", same.base.lm_head);
    same.entries.push_back(place_entry("table", Role::kBaseWeight, place));
    const auto unchanged = same.load();
    CHECK(unchanged->lm_head_weight == nullptr && unchanged->embed_tokens_weight == nullptr);
    CHECK_EQ(unchanged->bytes, bytes);

    TableCase other;
    other.add_pair(place);
    const auto table = other.add_table("table", other.changed());
    other.entries.push_back(place_entry("table", Role::kBaseWeight, place));
    const auto adapter = other.load();
    const auto& held = place == Place::kLmHead ? adapter->lm_head_weight : adapter->embed_tokens_weight;
    CHECK(held != nullptr && other.values_of(*held) == table);
    CHECK_EQ(adapter->bytes, bytes + held->bytes);
    // The pair and its own table run together; another adapter's pair does not.
    const Composition composition({{adapter, 1.0f}}, other.base.model);
    CHECK((place == Place::kLmHead ? composition.lm_head_weight() : composition.embed_tokens_weight()) == held.get());
    const auto refusal = message_of(ErrorCode::kAdapterUnsupported,
                                    [&] { Composition({{adapter, 1.0f}, {unchanged, 1.0f}}, other.base.model); });
    CHECK(names(refusal, place == Place::kLmHead ? "lm_head" : "embed_tokens"));
    CHECK_EQ(Composition({{adapter, 1.0f}, {unchanged, 0.0f}}, other.base.model).applied().size(), size_t{2});
  }
}

TEST("lora/tables: int8 tables are compared as the engine holds them, each in its own format") {
  TableCase item;
  MatrixSpec spec{item.vocabulary, item.hidden, {WeightFormat::kInt8, ActivationFormat::kInt8}};
  spec.set_transform(true, {2, 5}, {});
  const Backend& backend = *item.base.model.backend;
  item.base.packed.lm_head_matrix = backend.pack(
      spec,
      [&](int32_t begin, int32_t count, float* out) {
        std::copy_n(item.base.lm_head.begin() + begin * item.hidden, count * item.hidden, out);
      },
      1);
  item.base.packed.lm_head = item.base.packed.lm_head_matrix.get();
  item.add_table("table", item.base.lm_head);
  item.entries = {place_entry("table", Role::kBaseWeight, Place::kLmHead)};
  CHECK(item.load()->lm_head_weight == nullptr);
  item.add_table("other", item.changed());
  item.entries = {place_entry("other", Role::kBaseWeight, Place::kLmHead)};
  const auto adapter = item.load();
  CHECK(adapter->lm_head_weight != nullptr && backend.spec_of(*adapter->lm_head_weight) == spec);
  // A module that was saved is in the head's format, too: its input is transformed for it.
  item.entries = {place_entry("table", Role::kWeight, Place::kLmHead)};
  CHECK(backend.spec_of(*item.load()->lm_head_weight) == spec);
}

TEST("lora/tables: one tensor for both tables is packed and counted once") {
  TableCase item;
  item.add_table("table", item.changed());
  item.entries = {place_entry("table", Role::kBaseWeight, Place::kLmHead), place_entry("table", Role::kBaseWeight, Place::kEmbedTokens)};
  const auto adapter = item.load();
  CHECK(adapter->lm_head_weight != nullptr && adapter->lm_head_weight == adapter->embed_tokens_weight);
  CHECK_EQ(adapter->bytes, adapter->lm_head_weight->bytes);
}

TEST("lora/tables: rows of tokens replace the base's") {
  TableCase item;
  const auto rows = item.file.add_random("rows", {2, item.hidden});
  AdapterEntry entry = place_entry("rows", Role::kTokenRows, Place::kEmbedTokens);
  entry.token_rows = {4, 1};
  item.entries = {entry};
  auto expected = item.base.lm_head;
  std::copy_n(rows.begin(), item.hidden, expected.begin() + 4 * item.hidden);
  std::copy_n(rows.begin() + item.hidden, item.hidden, expected.begin() + item.hidden);
  CHECK(item.values_of(*item.load()->embed_tokens_weight) == expected);
  for (const std::vector<int32_t>& wrong : {std::vector<int32_t>{4, 4}, {4, -1}, {4, item.vocabulary}}) {
    item.entries[0].token_rows = wrong;
    CHECK(names(message_of(ErrorCode::kAdapterFormat, [&] { item.load(); }), "rows"));
  }
  item.entries[0].token_rows = {4};
  CHECK(names(message_of(ErrorCode::kAdapterShape, [&] { item.load(); }), "rows"));
}

TEST("lora/tables: what must hold the base's numbers, or another tensor's, is refused by its name where it does not") {
  TableCase item;
  item.add_table("table", item.changed());
  AdapterEntry entry = place_entry("table", Role::kBaseWeight, Place::kLmHead);
  entry.must_hold_base = true;
  item.entries = {entry};
  CHECK(names(message_of(ErrorCode::kAdapterUnsupported, [&] { item.load(); }), "table"));

  item.add_table("twin", item.changed());
  item.add_table("stranger", item.base.lm_head);
  AdapterEntry copy = place_entry("twin", Role::kCopy, Place::kLmHead);
  copy.copy_of = "table";
  item.entries = {place_entry("table", Role::kBaseWeight, Place::kLmHead), copy};
  CHECK(item.load()->lm_head_weight != nullptr);
  item.entries[1].tensor = "stranger";
  CHECK(names(message_of(ErrorCode::kAdapterUnsupported, [&] { item.load(); }), "stranger"));
  item.entries[1].copy_of = "missing";
  CHECK(names(message_of(ErrorCode::kAdapterFormat, [&] { item.load(); }), "missing"));
}
