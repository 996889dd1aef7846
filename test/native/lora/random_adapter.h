// Adapters of every kind in the shapes of a model.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "lora/adapter_case.h"

namespace lowrank::test {

// An adapter of random numbers for a model, put together part by part.
class RandomAdapter {
  using Role = AdapterEntry::Role;
  using Place = AdapterEntry::Place;

 public:
  explicit RandomAdapter(BaseModel base) : base_(std::move(base)) {}

  RandomAdapter& pairs(int32_t rank) {
    for_each_projection([&](const std::string& name, int32_t layer, Projection projection) {
      add(projection_entry(name + ".A", Role::kLoraA, layer, projection), {rank, base_.in_features(projection)});
      entries_.back().scaling = 0.25f;
      add(projection_entry(name + ".B", Role::kLoraB, layer, projection), {base_.out_features(projection), rank});
    });
    return *this;
  }
  RandomAdapter& magnitudes() { return to_rows(".magnitude", Role::kMagnitude); }
  RandomAdapter& pair_biases() { return to_rows(".B.bias", Role::kLoraBBias); }
  RandomAdapter& biases() {
    for_each_projection([&](const std::string& name, int32_t layer, Projection projection) {
      if (!base_.bias(layer, projection).empty())
        add(projection_entry(name + ".bias", Role::kBias, layer, projection), {base_.out_features(projection)});
    });
    return *this;
  }
  RandomAdapter& norms() {
    for (int32_t layer = 0; layer < base_.layer_count; ++layer)
      for (int i = 0; i < kLayerNorms; ++i) {
        const auto norm = static_cast<LayerNorm>(i);
        if (!base_.norms.has(norm)) continue;
        add(norm_entry("norm." + std::to_string(layer) + "." + std::to_string(i), layer, norm), {base_.norm_size(norm)});
      }
    add(place_entry("norm", Role::kWeight, Place::kFinalNorm), {base_.hidden_size});
    return *this;
  }
  RandomAdapter& table_pairs(int32_t rank) {
    add(place_entry("embedding.A", Role::kEmbeddingA, Place::kEmbedTokens), {rank, base_.vocabulary_size});
    add(place_entry("embedding.B", Role::kEmbeddingB, Place::kEmbedTokens), {base_.hidden_size, rank});
    add(place_entry("head.A", Role::kLoraA, Place::kLmHead), {rank, base_.hidden_size});
    add(place_entry("head.B", Role::kLoraB, Place::kLmHead), {base_.vocabulary_size, rank});
    return *this;
  }
  RandomAdapter& tables() {
    add(place_entry("embedding", Role::kWeight, Place::kEmbedTokens), {base_.vocabulary_size, base_.hidden_size});
    add(place_entry("head", Role::kWeight, Place::kLmHead), {base_.vocabulary_size, base_.hidden_size});
    return *this;
  }
  std::shared_ptr<const Adapter> build(LoraDType dtype) {
    base_.lora_dtype = dtype;
    return load(file_, entries_, base_);
  }

 private:
  template <class Visit>
  void for_each_projection(Visit visit) const {
    for (int32_t layer = 0; layer < base_.layer_count; ++layer)
      for (int i = 0; i < kProjections; ++i)
        visit("layers." + std::to_string(layer) + "." + std::to_string(i), layer, static_cast<Projection>(i));
  }
  RandomAdapter& to_rows(const char* suffix, Role role) {
    for_each_projection([&](const std::string& name, int32_t layer, Projection projection) {
      add(projection_entry(name + suffix, role, layer, projection), {base_.out_features(projection)});
    });
    return *this;
  }
  void add(AdapterEntry entry, const std::vector<int64_t>& shape) {
    file_.add_random(entry.tensor, shape);
    entries_.push_back(std::move(entry));
  }

  BaseModel base_;
  AdapterFile file_;
  std::vector<AdapterEntry> entries_;
};

}  // namespace lowrank::test
