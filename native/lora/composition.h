// Several adapters at their scales, resolved into the row descriptors of the ops: what a request runs with.
#pragma once

#include <array>
#include <memory>
#include <vector>

#include "lora/adapter.h"

namespace lowrank {

struct SitePlan {
  std::vector<ShrinkTerm> shrink;
  std::vector<ExpandTerm> expand;
  int32_t h_width = 0;             // ranks in sum
  BackendVector output_gain;       // [N] of the stacked product, or empty
  BackendVector bias;              // [N] or empty: the base's
  const float* norm_gain = nullptr;  // gain of the norm that feeds this product, or null: the base's
  bool empty() const { return shrink.empty() && bias.empty() && output_gain.empty() && norm_gain == nullptr; }
};

struct AppliedAdapter {
  std::shared_ptr<const Adapter> adapter;
  float scale = 1;  // the request's
};

// Immutable. Two sequences with equal adapters and scales may share one composition, and their rows are one segment.
class Composition {
 public:
  // Throws Error(kAdapterUnsupported) for more than one DoRA adapter, DoRA beside another adapter on the same module, two
  // adapters that replace the same thing, or one that replaces a table beside another one with LoRA on it. The request's scale
  // does not touch what an adapter replaces (biases, norms, tables). A plain LoRA at scale 0 leaves the base as it is.
  Composition(std::vector<AppliedAdapter> applied, const BaseModel& base);

  const SitePlan& site(int32_t layer, Site site) const { return layers_[static_cast<size_t>(layer)].sites[static_cast<size_t>(site)]; }
  const SitePlan& lm_head() const { return lm_head_; }      // norm_gain: the final norm's
  const Matrix* lm_head_weight() const { return lm_head_weight_; }  // or null
  // Gains of norms that feed no product (those after a block, of q and of k), or null.
  const float* norm(int32_t layer, LayerNorm norm) const { return layers_[static_cast<size_t>(layer)].norms[static_cast<size_t>(norm)]; }
  const std::vector<EmbeddingTerm>& embedding_terms() const { return embedding_terms_; }
  const Matrix* embed_tokens_weight() const { return embed_tokens_weight_; }
  int32_t max_h_width() const { return max_h_width_; }
  const std::vector<AppliedAdapter>& applied() const { return applied_; }

 private:
  struct Layer {
    std::array<SitePlan, kSites> sites;
    std::array<const float*, kLayerNorms> norms{};
  };
  void add_layer(int32_t layer, const BaseModel& base);
  void add_lm_head(const BaseModel& base);
  void add_embedding();

  std::vector<AppliedAdapter> applied_;
  std::vector<Layer> layers_;
  SitePlan lm_head_;
  const Matrix* lm_head_weight_ = nullptr;
  const Matrix* embed_tokens_weight_ = nullptr;
  std::vector<EmbeddingTerm> embedding_terms_;
  int32_t max_h_width_ = 0;
};

}  // namespace lowrank
