// Models of the Llama family as shapes alone, on the paper plugin.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "lora/composition.h"
#include "model/config.h"
#include "model/weights.h"
#include "paper_plugin.h"

namespace lowrank::bench {

struct ModelShape {
  const char* name;
  const char* like;  // a published model of this shape
  int32_t hidden, intermediate, heads, kv_heads, head_dim, layers, vocabulary;
};
const std::vector<ModelShape>& model_shapes();

// One step: `rows` tokens a sequence at context `context` (positions before the first of them), of `sequences` sequences, with
// the logits of the last token of each and its candidates. `rank` 0: no adapter; else one on all seven projections of all rows.
struct StepShape {
  int32_t sequences;
  int32_t rows;
  int32_t context;
  int32_t rank;
};

class PaperModel {
 public:
  explicit PaperModel(const ModelShape& shape);
  ~PaperModel();

  // Records the step through the engine's graph.
  const PaperStep& record(const StepShape& step) const;
  size_t weight_bytes() const;
  size_t adapter_bytes(int32_t rank) const;

 private:
  std::shared_ptr<const Adapter> adapter(int32_t rank) const;
  BaseModel base() const;

  std::unique_ptr<Backend> backend_;
  ModelConfig config_;
  Weights weights_;
};

}  // namespace lowrank::bench
