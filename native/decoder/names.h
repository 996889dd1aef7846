// The one table of what the parts of a decoder are called: by Hugging Face's transformers and PEFT, and by llama.cpp (GGUF). TypeScript
// has it from the addon.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "decoder/anatomy.h"

namespace lowrank {

enum class Dialect : uint8_t { kHuggingFace, kGguf };

struct ModuleName {
  std::string_view name;  // "q_proj": the last part of the path, by which PEFT names a target
  std::string_view path;  // "self_attn.q_proj": of a layer's module after "model.layers.<i>."; of an outer one, all of it
  std::string_view gguf;  // "attn_q": of a layer's module after "blk.<i>."; of an outer one, all of it
};

const ModuleName& name_of(Projection projection);
const ModuleName& name_of(OuterModule module);
// What a checkpoint that keeps a site's projections in one tensor calls that; nothing for a site of one projection.
const std::optional<ModuleName>& fused_name_of(Site site);
// Hugging Face calls the norm before the feed-forward post_attention_layernorm where no norm comes after the attention.
const ModuleName& name_of(LayerNorm norm, const LayerNorms& norms);

// The module's whole path, without ".weight": "model.layers.3.self_attn.q_proj", "blk.3.attn_q".
std::string layer_path(Dialect dialect, int32_t layer, const ModuleName& module);
// "model.embed_tokens", "token_embd".
std::string outer_path(Dialect dialect, OuterModule module);

}  // namespace lowrank
