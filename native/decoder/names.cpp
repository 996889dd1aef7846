#include "decoder/names.h"

namespace lowrank {
namespace {

// By Projection.
constexpr ModuleName kProjectionNames[kProjections] = {
    {"q_proj", "self_attn.q_proj", "attn_q"},  {"k_proj", "self_attn.k_proj", "attn_k"},
    {"v_proj", "self_attn.v_proj", "attn_v"},  {"o_proj", "self_attn.o_proj", "attn_output"},
    {"gate_proj", "mlp.gate_proj", "ffn_gate"}, {"up_proj", "mlp.up_proj", "ffn_up"},
    {"down_proj", "mlp.down_proj", "ffn_down"},
};

// By Site.
const std::optional<ModuleName> kFusedNames[kSites] = {
    ModuleName{"qkv_proj", "self_attn.qkv_proj", "attn_qkv"},
    std::nullopt,
    ModuleName{"gate_up_proj", "mlp.gate_up_proj", "ffn_up"},
    std::nullopt,
};

// By LayerNorm.
constexpr ModuleName kNormNames[kLayerNorms] = {
    {"input_layernorm", "input_layernorm", "attn_norm"},
    {"post_attention_layernorm", "post_attention_layernorm", "post_attention_norm"},
    {"pre_feedforward_layernorm", "pre_feedforward_layernorm", "ffn_norm"},
    {"post_feedforward_layernorm", "post_feedforward_layernorm", "post_ffw_norm"},
    {"q_norm", "self_attn.q_norm", "attn_q_norm"},
    {"k_norm", "self_attn.k_norm", "attn_k_norm"},
};
constexpr ModuleName kOnlyNormBeforeFeedForward = {"post_attention_layernorm", "post_attention_layernorm", "ffn_norm"};

// By OuterModule.
constexpr ModuleName kOuterNames[kOuterModules] = {
    {"embed_tokens", "model.embed_tokens", "token_embd"},
    {"norm", "model.norm", "output_norm"},
    {"lm_head", "lm_head", "output"},
};

}  // namespace

const ModuleName& name_of(Projection projection) { return kProjectionNames[static_cast<size_t>(projection)]; }

const ModuleName& name_of(OuterModule module) { return kOuterNames[static_cast<size_t>(module)]; }

const std::optional<ModuleName>& fused_name_of(Site site) { return kFusedNames[static_cast<size_t>(site)]; }

const ModuleName& name_of(LayerNorm norm, const LayerNorms& norms) {
  if (norm == LayerNorm::kBeforeFeedForward && !norms.has(LayerNorm::kAfterAttention)) return kOnlyNormBeforeFeedForward;
  return kNormNames[static_cast<size_t>(norm)];
}

std::string layer_path(Dialect dialect, int32_t layer, const ModuleName& module) {
  if (dialect == Dialect::kGguf) return "blk." + std::to_string(layer) + "." + std::string(module.gguf);
  return "model.layers." + std::to_string(layer) + "." + std::string(module.path);
}

std::string outer_path(Dialect dialect, OuterModule module) {
  return std::string(dialect == Dialect::kGguf ? name_of(module).gguf : name_of(module).path);
}

}  // namespace lowrank
