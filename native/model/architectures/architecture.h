// The decoders that this engine runs, one file each: its hyperparameters, its tensors' names, and what sets its graph
// (model/graph.h) apart. To add one: write its file and name it in architecture.cpp.
#pragma once

#include "model/config.h"
#include "model/model_file.h"

namespace lowrank {

struct Architecture {
  const char* model_type;         // config.json
  const char* gguf_architecture;  // general.architecture
  ModelConfig (*read_config)(const ModelFile& file);
};

extern const Architecture kLlama;
extern const Architecture kMistral;
extern const Architecture kQwen2;
extern const Architecture kQwen3;
extern const Architecture kGemma3;

// Throws Error(kModelUnsupported), naming those that are supported.
const Architecture& find_architecture(const ModelFile& file);

// What all of them share: sizes, epsilon, tied embeddings, one kind of full-attention layer with one RoPE.
ModelConfig read_decoder_config(const ModelFile& file);
// RoPE frequencies by config.json's rope_parameters (or rope_scaling) below `key`, or by GGUF's keys.
// `theta` is used where the file names none.
RopeConfig read_rope(const ModelFile& file, int32_t head_dim, const char* key, float theta);
RopeConfig plain_rope(int32_t head_dim, float theta, float factor);

}  // namespace lowrank
