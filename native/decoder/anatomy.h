// The parts of a decoder layer, and its sizes: what the layers above mean by a projection, a site and a norm.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace lowrank {

// The linear maps of a layer.
enum class Projection : uint8_t { kQ, kK, kV, kO, kGate, kUp, kDown };
inline constexpr int kProjections = 7;

// The matrix products of a layer. The projections of a site read one input, so their rows are stacked in one matrix.
enum class Site : uint8_t { kQkv, kO, kGateUp, kDown };
inline constexpr int kSites = 4;

// The norms of a layer, by what they do; which of them exist depends on the architecture. Those after a block come before the residual
// is added. kQ and kK are applied before RoPE.
enum class LayerNorm : uint8_t {
  kBeforeAttention,
  kAfterAttention,
  kBeforeFeedForward,
  kAfterFeedForward,
  kQ,
  kK,
};
inline constexpr int kLayerNorms = 6;

// What a decoder has once.
enum class OuterModule : uint8_t { kEmbedTokens, kFinalNorm, kLmHead };
inline constexpr int kOuterModules = 3;

// The projections of a site in the order of their rows.
std::span<const Projection> projections_of(Site site);
Site site_of(Projection projection);

// Which norms each layer has.
class LayerNorms {
 public:
  bool has(LayerNorm norm) const { return has_[static_cast<size_t>(norm)]; }
  void set(LayerNorm norm, bool on = true) { has_[static_cast<size_t>(norm)] = on; }

 private:
  std::array<bool, kLayerNorms> has_{};
};

struct DecoderShape {
  int32_t layer_count = 0;
  int32_t hidden_size = 0;
  int32_t intermediate_size = 0;
  int32_t heads = 0;
  int32_t kv_heads = 0;
  int32_t head_dim = 0;
  int32_t vocabulary_size = 0;
  LayerNorms norms;
  bool joint_head_norms = false;  // kQ and kK run over all heads together, so that each head has a gain of its own

  // W [out, in] of a projection.
  int32_t out_features(Projection projection) const;
  int32_t in_features(Projection projection) const;
  // [rows, cols] of a site's stacked matrix, and the first row of a projection in it.
  int32_t rows(Site site) const;
  int32_t cols(Site site) const;
  int32_t row_offset(Projection projection) const;
  // Elements of a norm's gain.
  int32_t norm_size(LayerNorm norm) const;
};

}  // namespace lowrank
