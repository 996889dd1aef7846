// The table of names, in every dialect.
#include "decoder/names.h"

#include <set>
#include <string>

#include "check.h"

using namespace lowrank;
using namespace lowrank::test;

namespace {

LayerNorms norms_of(std::initializer_list<LayerNorm> all) {
  LayerNorms norms;
  for (const LayerNorm norm : all) norms.set(norm);
  return norms;
}

const LayerNorms kLlama = norms_of({LayerNorm::kBeforeAttention, LayerNorm::kBeforeFeedForward});
const LayerNorms kGemma = norms_of({LayerNorm::kBeforeAttention, LayerNorm::kAfterAttention, LayerNorm::kBeforeFeedForward,
                                    LayerNorm::kAfterFeedForward, LayerNorm::kQ, LayerNorm::kK});
const LayerNorms kOlmo2 = norms_of({LayerNorm::kAfterAttention, LayerNorm::kAfterFeedForward, LayerNorm::kQ, LayerNorm::kK});

void check_names(const ModuleName& module, const char* name, const char* hugging_face, const char* gguf) {
  CHECK_EQ(std::string(module.name), std::string(name));
  CHECK_EQ(layer_path(Dialect::kHuggingFace, 12, module), std::string("model.layers.12.") + hugging_face);
  CHECK_EQ(layer_path(Dialect::kGguf, 12, module), std::string("blk.12.") + gguf);
}

}  // namespace

TEST("decoder/names: projections, as transformers, PEFT and llama.cpp call them") {
  check_names(name_of(Projection::kQ), "q_proj", "self_attn.q_proj", "attn_q");
  check_names(name_of(Projection::kK), "k_proj", "self_attn.k_proj", "attn_k");
  check_names(name_of(Projection::kV), "v_proj", "self_attn.v_proj", "attn_v");
  check_names(name_of(Projection::kO), "o_proj", "self_attn.o_proj", "attn_output");
  check_names(name_of(Projection::kGate), "gate_proj", "mlp.gate_proj", "ffn_gate");
  check_names(name_of(Projection::kUp), "up_proj", "mlp.up_proj", "ffn_up");
  check_names(name_of(Projection::kDown), "down_proj", "mlp.down_proj", "ffn_down");
}

TEST("decoder/names: sites of several projections have a fused name, others have none") {
  check_names(fused_name_of(Site::kQkv).value(), "qkv_proj", "self_attn.qkv_proj", "attn_qkv");
  check_names(fused_name_of(Site::kGateUp).value(), "gate_up_proj", "mlp.gate_up_proj", "ffn_up");
  for (int site = 0; site < kSites; ++site)
    CHECK_EQ(fused_name_of(static_cast<Site>(site)).has_value(), projections_of(static_cast<Site>(site)).size() > 1);
}

TEST("decoder/names: norms are called by what they do and by which others a layer has") {
  check_names(name_of(LayerNorm::kBeforeAttention, kLlama), "input_layernorm", "input_layernorm", "attn_norm");
  check_names(name_of(LayerNorm::kBeforeFeedForward, kLlama), "post_attention_layernorm", "post_attention_layernorm", "ffn_norm");
  check_names(name_of(LayerNorm::kBeforeAttention, kGemma), "input_layernorm", "input_layernorm", "attn_norm");
  check_names(name_of(LayerNorm::kBeforeFeedForward, kGemma), "pre_feedforward_layernorm", "pre_feedforward_layernorm", "ffn_norm");
  for (const LayerNorms& norms : {kGemma, kOlmo2}) {
    check_names(name_of(LayerNorm::kAfterAttention, norms), "post_attention_layernorm", "post_attention_layernorm",
                "post_attention_norm");
    check_names(name_of(LayerNorm::kAfterFeedForward, norms), "post_feedforward_layernorm", "post_feedforward_layernorm",
                "post_ffw_norm");
    check_names(name_of(LayerNorm::kQ, norms), "q_norm", "self_attn.q_norm", "attn_q_norm");
    check_names(name_of(LayerNorm::kK, norms), "k_norm", "self_attn.k_norm", "attn_k_norm");
  }
}

TEST("decoder/names: tables and the final norm") {
  const auto check = [](OuterModule module, const char* hugging_face, const char* gguf) {
    CHECK_EQ(outer_path(Dialect::kHuggingFace, module), std::string(hugging_face));
    CHECK_EQ(outer_path(Dialect::kGguf, module), std::string(gguf));
  };
  check(OuterModule::kEmbedTokens, "model.embed_tokens", "token_embd");
  check(OuterModule::kFinalNorm, "model.norm", "output_norm");
  check(OuterModule::kLmHead, "lm_head", "output");
}

TEST("decoder/names: no two modules of a model share a name in a dialect") {
  for (const LayerNorms& norms : {kLlama, kGemma, kOlmo2})
    for (const Dialect dialect : {Dialect::kHuggingFace, Dialect::kGguf}) {
      std::set<std::string> paths;
      size_t count = 0;
      const auto add = [&](const std::string& path) {
        paths.insert(path);
        ++count;
      };
      for (int i = 0; i < kProjections; ++i) add(layer_path(dialect, 0, name_of(static_cast<Projection>(i))));
      for (int i = 0; i < kLayerNorms; ++i)
        if (norms.has(static_cast<LayerNorm>(i))) add(layer_path(dialect, 0, name_of(static_cast<LayerNorm>(i), norms)));
      for (int i = 0; i < kOuterModules; ++i) add(outer_path(dialect, static_cast<OuterModule>(i)));
      CHECK_EQ(paths.size(), count);
    }
}
