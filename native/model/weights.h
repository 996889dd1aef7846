// A model's weights, packed by a backend.
#pragma once

#include <array>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "backend/backend.h"
#include "backend/backend_vector.h"
#include "lora/composition.h"
#include "model/config.h"
#include "model/model_file.h"
#include "model/model_tensors.h"
#include "model/precision.h"

namespace lowrank {

struct LayerWeights {
  std::array<std::unique_ptr<Matrix>, kSites> products;  // q|k|v, o, gate|up, down
  std::array<BackendVector, kSites> biases;              // [N] of the stacked product, or empty
  std::array<BackendVector, kLayerNorms> norms;          // gains, offset included
};

// What a load did with WeightsOptions::packed_path.
enum class PackedState : uint8_t { kNone, kRestored, kWritten };

struct Weights {
  std::unique_ptr<Matrix> embed_tokens;    // [vocabulary, hidden]
  std::unique_ptr<Matrix> lm_head_matrix;  // null where tied
  const Matrix* lm_head = nullptr;         // lm_head_matrix, or embed_tokens
  BackendVector final_norm;
  std::vector<BackendVector> rope_frequencies;  // of each of ModelConfig::ropes
  std::vector<LayerWeights> layers;
  size_t bytes = 0;
  int64_t parameters = 0;
  PackedState packed = PackedState::kNone;
};

struct WeightsOptions {
  Precision precision = Precision::kInt8;
  // The format of each matrix in place of the precision's; what the calibration finds of it is looked for only where it is wanted.
  std::optional<WeightSchemes> schemes = {};
  int threads = 1;
  // Called after each matrix; throws to stop the load. May be empty.
  std::function<void(int64_t parameters_done, int64_t parameters_total)> progress;
  // Tokens of the text to calibrate by, asked for when they are needed. May be empty, and may give none; see Calibration.
  std::function<std::vector<int32_t>()> calibration_ids;
  // Of calibrated weights only: gives the file to restore the packed weights from, and where that cannot be, to write them to. May be empty, and
  // may give "": none. Asked for when the model's own files have been found in order. A file that is damaged or not this model's
  // is replaced; one that cannot be written is no error.
  std::function<std::string()> packed_path;
};

// Reads, quantises and packs. Throws Error(kModelFormat) for norms, biases or weights that are not finite.
Weights load_weights(const ModelFile& file, const ModelTensors& tensors, const ModelConfig& config, const Backend& backend,
                     const WeightsOptions& options);

int32_t site_of(Projection projection);  // as an index into LayerWeights::products
// First row of a projection within its stacked product, and its rows.
int32_t row_offset(const ModelConfig& config, Projection projection);
int32_t projection_rows(const ModelConfig& config, Projection projection);
int32_t site_rows(const ModelConfig& config, Site site);
int32_t site_cols(const ModelConfig& config, Site site);

}  // namespace lowrank
