// A loaded adapter: what a file holds, packed for the backend, immutable once built. Sequences pin it by shared_ptr.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "backend/backend.h"
#include "backend/backend_vector.h"
#include "backend/lora_values.h"
#include "lora/base_model.h"

namespace lowrank {

// The DoRA gain of one module. n0 = |W|^2, n1 = <W, BA>, n2 = |BA|^2 per output row:
// g(t) = m / sqrt(n0 + 2 t s n1 + (t s)^2 n2), t being the request's scale (arXiv 2402.09353).
struct DoraNorms {
  std::vector<float> magnitude, n0, n1, n2;  // [out] each
};

struct LoraModule {
  std::shared_ptr<LoraFactor> a;  // [rank, in]; one A may serve several modules (fused qkv_proj, gate_up_proj)
  std::unique_ptr<LoraFactor> b;  // [out, rank]
  BackendVector rank_scale;       // [rank] of int8 factors, see ShrinkTerm; else empty
  float scaling = 1;              // alpha / rank, or alpha / sqrt(rank)
  std::vector<float> b_bias;      // [out] lora_bias: added as t * scaling * b_bias; or empty
  std::unique_ptr<DoraNorms> dora;
};

struct EmbeddingModule {
  BackendVector a;  // [vocabulary, rank]
  BackendVector b;  // [hidden, rank]
  int32_t rank = 0;
  float scaling = 1;
};

struct AdapterLayer {
  std::array<std::unique_ptr<LoraModule>, kProjections> modules;
  std::array<std::vector<float>, kProjections> biases;  // [out] in place of the base's; or empty
  std::array<BackendVector, kLayerNorms> norms;         // gain as the op wants it (offset included); or empty
};

// A text that no other adapter of the process has.
std::string unique_content();

struct Adapter {
  // Adapters with equal texts hold equal numbers: what is computed with one holds for the other.
  std::string content = unique_content();
  LoraDType dtype = LoraDType::kBFloat16;  // of A and B
  std::vector<AdapterLayer> layers;
  std::unique_ptr<LoraModule> lm_head;
  std::unique_ptr<EmbeddingModule> embedding;
  // In place of the base's tables (modules_to_save, base_layer.weight), or null. One matrix may stand for both of a tied base.
  std::shared_ptr<const Matrix> lm_head_weight;
  std::shared_ptr<const Matrix> embed_tokens_weight;
  BackendVector final_norm;
  size_t bytes = 0;       // memory held
  int32_t max_rank = 0;
  bool has_dora = false;
};

// What one tensor of an adapter file is. The TypeScript layer reads names and configuration (adapters/), this layer
// checks shapes and numbers.
struct AdapterEntry {
  // kBaseWeight: the base's own table, as PEFT saves it beside a low-rank pair on it. It replaces the base's where it differs.
  // kTokenRows: rows of the table, those of `token_rows`. kCopy: not used; it must hold the same numbers as the tensor `copy_of`.
  enum class Role : uint8_t {
    kLoraA, kLoraB, kMagnitude, kLoraBBias, kBias, kWeight, kBaseWeight, kTokenRows, kEmbeddingA, kEmbeddingB, kCopy
  };
  enum class Place : uint8_t { kProjection, kLayerNorm, kFinalNorm, kLmHead, kEmbedTokens };
  std::string tensor;  // its name in the file
  Role role{};
  Place place{};
  int32_t layer = -1;
  Projection projection{};
  LayerNorm norm{};
  float scaling = 1;          // kLoraA and kEmbeddingA only: alpha / rank, or alpha / sqrt(rank)
  int32_t row_begin = 0;      // a run of the tensor's rows (a fused projection's part); row_count 0: all rows
  int32_t row_count = 0;
  bool transpose = false;     // stored as the transpose (fan_in_fan_out; llama.cpp's token_embd.weight.lora_a)
  int32_t unpermute_heads = 0;  // llama.cpp's order of q and k rows: heads to un-permute, or 0
  bool must_hold_base = false;  // kBaseWeight: refuse the adapter where it differs from the base's table
  std::vector<int32_t> token_rows{};  // kTokenRows: token ids, each once, in the order of the tensor's rows
  std::string copy_of{};              // kCopy
};

class TensorSource;

// Builds an adapter from `source` and what its tensors are. Throws Error with kAdapterFormat (unreadable, NaN or Inf, a
// missing half), kAdapterShape (another base's sizes) or kAdapterUnsupported, naming the tensor. Nothing is kept on error.
std::shared_ptr<Adapter> build_adapter(const TensorSource& source, const std::vector<AdapterEntry>& entries,
                                       const BaseModel& base);

}  // namespace lowrank
