#include "decoder/anatomy.h"

namespace lowrank {
namespace {

constexpr Projection kQkv[] = {Projection::kQ, Projection::kK, Projection::kV};
constexpr Projection kO[] = {Projection::kO};
constexpr Projection kGateUp[] = {Projection::kGate, Projection::kUp};
constexpr Projection kDown[] = {Projection::kDown};
// By Site.
constexpr std::span<const Projection> kProjectionsOf[kSites] = {kQkv, kO, kGateUp, kDown};

}  // namespace

std::span<const Projection> projections_of(Site site) { return kProjectionsOf[static_cast<size_t>(site)]; }

Site site_of(Projection projection) {
  for (int site = 0; site < kSites; ++site)
    for (const Projection one : kProjectionsOf[site])
      if (one == projection) return static_cast<Site>(site);
  return Site::kQkv;
}

int32_t DecoderShape::out_features(Projection projection) const {
  switch (projection) {
    case Projection::kQ: return heads * head_dim;
    case Projection::kK:
    case Projection::kV: return kv_heads * head_dim;
    case Projection::kGate:
    case Projection::kUp: return intermediate_size;
    case Projection::kO:
    case Projection::kDown: return hidden_size;
  }
  return 0;
}

int32_t DecoderShape::cols(Site site) const {
  switch (site) {
    case Site::kO: return heads * head_dim;
    case Site::kDown: return intermediate_size;
    case Site::kQkv:
    case Site::kGateUp: return hidden_size;
  }
  return 0;
}

int32_t DecoderShape::in_features(Projection projection) const { return cols(site_of(projection)); }

int32_t DecoderShape::rows(Site site) const {
  int32_t sum = 0;
  for (const Projection projection : projections_of(site)) sum += out_features(projection);
  return sum;
}

int32_t DecoderShape::row_offset(Projection projection) const {
  int32_t sum = 0;
  for (const Projection before : projections_of(site_of(projection))) {
    if (before == projection) break;
    sum += out_features(before);
  }
  return sum;
}

int32_t DecoderShape::norm_size(LayerNorm norm) const {
  switch (norm) {
    case LayerNorm::kQ: return joint_head_norms ? heads * head_dim : head_dim;
    case LayerNorm::kK: return joint_head_norms ? kv_heads * head_dim : head_dim;
    default: return hidden_size;
  }
}

}  // namespace lowrank
