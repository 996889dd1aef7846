// Projections, sites and sizes, and the order of rows in files.
#include "decoder/anatomy.h"

#include <vector>

#include "check.h"
#include "decoder/row_order.h"

using namespace lowrank;
using namespace lowrank::test;

namespace {

DecoderShape some_shape() {
  DecoderShape shape;
  shape.layer_count = 2;
  shape.hidden_size = 24;
  shape.intermediate_size = 42;
  shape.heads = 3;
  shape.kv_heads = 1;
  shape.head_dim = 6;
  shape.vocabulary_size = 37;
  return shape;
}

}  // namespace

TEST("decoder/anatomy: every projection lies in one site") {
  std::vector<int> seen(kProjections);
  for (int i = 0; i < kSites; ++i)
    for (const Projection projection : projections_of(static_cast<Site>(i))) {
      ++seen[static_cast<size_t>(projection)];
      CHECK(site_of(projection) == static_cast<Site>(i));
    }
  CHECK(seen == std::vector<int>(kProjections, 1));
}

TEST("decoder/anatomy: rows and columns of projections and of sites") {
  const DecoderShape shape = some_shape();
  CHECK_EQ(shape.out_features(Projection::kQ), 18);
  CHECK_EQ(shape.out_features(Projection::kK), 6);
  CHECK_EQ(shape.out_features(Projection::kV), 6);
  CHECK_EQ(shape.out_features(Projection::kO), 24);
  CHECK_EQ(shape.in_features(Projection::kO), 18);
  CHECK_EQ(shape.out_features(Projection::kUp), 42);
  CHECK_EQ(shape.in_features(Projection::kGate), 24);
  CHECK_EQ(shape.in_features(Projection::kDown), 42);
  CHECK_EQ(shape.rows(Site::kQkv), 30);
  CHECK_EQ(shape.cols(Site::kQkv), 24);
  CHECK_EQ(shape.rows(Site::kGateUp), 84);
  CHECK_EQ(shape.rows(Site::kDown), 24);
  CHECK_EQ(shape.row_offset(Projection::kQ), 0);
  CHECK_EQ(shape.row_offset(Projection::kK), 18);
  CHECK_EQ(shape.row_offset(Projection::kV), 24);
  CHECK_EQ(shape.row_offset(Projection::kUp), 42);
  CHECK_EQ(shape.row_offset(Projection::kDown), 0);
  CHECK_EQ(shape.norm_size(LayerNorm::kAfterAttention), 24);
  CHECK_EQ(shape.norm_size(LayerNorm::kK), 6);
}

TEST("decoder/anatomy: norms over all heads together have a gain for each channel of q, and of k") {
  DecoderShape shape = some_shape();
  shape.joint_head_norms = true;
  CHECK_EQ(shape.norm_size(LayerNorm::kQ), 18);
  CHECK_EQ(shape.norm_size(LayerNorm::kK), 6);
  CHECK_EQ(shape.norm_size(LayerNorm::kAfterAttention), 24);
}

TEST("decoder/row_order: the halves of a head interleaved, as llama.cpp keeps q and k of Llama") {
  std::vector<int32_t> stored;
  for (int32_t row = 0; row < 12; ++row) stored.push_back(stored_row(RowOrder::kInterleavedHalves, 6, row));
  CHECK(stored == std::vector<int32_t>({0, 2, 4, 1, 3, 5, 6, 8, 10, 7, 9, 11}));
  for (int32_t row = 0; row < 12; ++row) CHECK_EQ(stored_row(RowOrder::kPlain, 6, row), row);
}
