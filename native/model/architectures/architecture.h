// The decoders that this engine runs, one file each: its configuration, where its tensors and their rows lie in files, and its layer,
// written on model/recorder.h. To add one: write its file and name it in architecture.cpp.
#pragma once

#include <optional>
#include <vector>

#include "model/config.h"
#include "model/model_file.h"

namespace lowrank {

struct Architecture {
  const char* model_type;         // config.json
  const char* gguf_architecture;  // general.architecture. A GGUF file is read by the first architecture of its name.
  ModelConfig (*read_config)(const ModelFile& file);
  LayerHalves layer;
};

// The configuration by the file's architecture. Throws Error: kModelUnsupported for an architecture or a setting that is not
// supported, kModelFormat for a value that makes no sense.
ModelConfig read_model_config(const ModelFile& file);

// What transformers takes where config.json has no such key.
struct DecoderDefaults {
  int32_t head_dim = 0;  // 0: hidden_size / num_attention_heads
  bool tied = false;
  bool kv_heads_of_heads = false;  // as many as heads; else the key is needed
  const char* activation_key = "hidden_act";
  float norm_epsilon = 1e-6f;
};
struct RopeDefaults {
  double theta = 10000;
  int32_t original_context = 0;  // of longrope; above 0: what counts where the top level has none
};

// The layer of Llama, which most others have, too: norms before both blocks. Norms on q and k where the layers have them.
void llama_to_keys(Recorder& layer);
void llama_from_attention(Recorder& layer);
inline constexpr LayerHalves kLlamaLayer = {llama_to_keys, llama_from_attention};
// That of Gemma: norms after the blocks, too.
void gemma_from_attention(Recorder& layer);
inline constexpr LayerHalves kGemmaLayer = {llama_to_keys, gemma_from_attention};

// llama.cpp's converter interleaves the halves of each head of q and k in what it calls "llama".
void interleave_gguf_heads(ModelConfig& config);

// What all of them share: sizes, epsilon, tied embeddings, full attention in every layer, the norms of kLlamaLayer, a tensor for each
// projection; no RoPE and no biases.
ModelConfig read_decoder_config(const ModelFile& file, const DecoderDefaults& defaults);

// The site's projections lie in one tensor, one after the other: "qkv_proj", "gate_up_proj".
void fuse_projections(ModelConfig& config, Site site);

// Sets the biases of q, k, v and o, or of gate, up and down, by a switch of config.json, which is off where it is absent.
void read_attention_biases(const ModelFile& file, ModelConfig& config);
void read_mlp_biases(const ModelFile& file, ModelConfig& config);
// Both; in GGUF any may be there.
void read_llama_biases(const ModelFile& file, ModelConfig& config);

// Which layers have a window, by config.json's layer_types; nothing where there are none.
std::optional<std::vector<bool>> read_sliding_layers(const ModelFile& file, size_t layers);
// The windows of Qwen: where use_sliding_window is on, of the layers that layer_types names, or from max_window_layers on.
void read_optional_windows(const ModelFile& file, ModelConfig& config);

// One RoPE for all layers: config.json's rope_parameters, or rope_scaling and rope_theta, or GGUF's keys.
void read_rope(const ModelFile& file, ModelConfig& config, const RopeDefaults& defaults = {});
// llama.cpp keeps some scalings as a tensor [head_dim / 2] of divisors of the frequencies; there may be none.
void divide_frequencies(RopeConfig& rope, const ModelFile& file, const char* tensor);
// Frequencies base^(-2i / head_dim) / factor.
RopeConfig plain_rope(int32_t head_dim, float theta, float factor);
// Two: of the layers that see everything, and of those with a window.
void read_gemma_ropes(const ModelFile& file, ModelConfig& config);

}  // namespace lowrank
