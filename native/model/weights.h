// Loads a model's weights: reads, calibrates, quantises and packs them.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "backend/backend.h"
#include "decoder/weights.h"
#include "model/config.h"
#include "model/model_file.h"
#include "model/model_tensors.h"
#include "model/precision.h"

namespace lowrank {

// What a load did with WeightsOptions::packed_path.
enum class PackedState : uint8_t { kNone, kRestored, kWritten };

struct Weights : DecoderWeights {
  size_t bytes = 0;
  int64_t parameters = 0;
  PackedState packed = PackedState::kNone;
  bool shared = false;  // the matrices lie in the packed file, whose memory the system's processes share
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
  // Compute with that file itself, where it may be mapped; else with a copy of it.
  bool share_packed = true;
};

// Reads, quantises and packs. Throws Error(kModelFormat) for norms, biases or weights that are not finite.
Weights load_weights(const ModelFile& file, const ModelTensors& tensors, const ModelConfig& config, const Backend& backend,
                     const WeightsOptions& options);

}  // namespace lowrank
