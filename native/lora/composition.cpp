#include "lora/composition.h"

#include <algorithm>
#include <string>
#include <utility>

#include "core/error.h"
#include "decoder/names.h"
#include "lora/dora.h"

namespace lowrank {
namespace {

std::string module_name(int32_t layer, Projection projection) {
  return "layers." + std::to_string(layer) + "." + std::string(name_of(projection).path);
}

[[noreturn]] void refuse(const std::string& expected, const std::string& remedy) {
  throw Error(ErrorCode::kAdapterUnsupported, "Expected " + expected + ". " + remedy);
}

// Puts a product's plan together. Its vectors become the backend's in the end.
struct SitePlanBuilder {
  SitePlan& plan;
  int32_t n;  // N
  std::vector<float> output_gain{};
  std::vector<float> bias{};

  void finish(const Backend& backend) {
    plan.output_gain = BackendVector(backend, std::move(output_gain));
    plan.bias = BackendVector(backend, std::move(bias));
  }
};

// The rows of one module in a product: [n_begin, n_begin + out) of its [N].
struct ModuleRows {
  SitePlanBuilder& builder;
  int32_t n_begin;
  int32_t out;
  std::string name;
};

using ModuleOf = const LoraModule* (*)(const Adapter&, int32_t layer, Projection);

void add_gain(const ModuleRows& rows, const LoraModule& module, float scale) {
  std::vector<float>& gain = rows.builder.output_gain;
  if (gain.empty()) gain.assign(static_cast<size_t>(rows.builder.n), 1.0f);
  dora_gain(*module.dora, scale, gain.data() + rows.n_begin);
}

void add_terms(const ModuleRows& rows, const LoraModule& module, float scale) {
  SitePlan& plan = rows.builder.plan;
  // Modules that share A at the same scale share h; int8 ones do not, whose h holds the scales of their own B.
  const float* const rank_scale = module.rank_scale.data();
  auto shrink = std::find_if(plan.shrink.begin(), plan.shrink.end(), [&](const ShrinkTerm& term) {
    return term.a == module.a.get() && term.scale == scale && term.rank_scale == rank_scale;
  });
  if (shrink == plan.shrink.end()) {
    shrink = plan.shrink.insert(plan.shrink.end(), {module.a.get(), plan.h_width, scale, rank_scale});
    plan.h_width += module.a->rank;
  }
  plan.expand.push_back({module.b.get(), shrink->h_offset, rows.n_begin});
  if (module.b_bias.empty()) return;
  std::vector<float>& bias = rows.builder.bias;
  if (bias.empty()) bias.assign(static_cast<size_t>(rows.builder.n), 0.0f);
  for (int32_t i = 0; i < rows.out; ++i)
    bias[static_cast<size_t>(rows.n_begin + i)] += scale * module.b_bias[static_cast<size_t>(i)];
}

// The low-rank terms of all adapters at one module; the builder's bias holds the base's or a replaced one where there is one.
void add_modules(const ModuleRows& rows, const std::vector<AppliedAdapter>& applied, ModuleOf module_of, int32_t layer,
                 Projection projection) {
  int active = 0;
  bool dora = false;
  for (const AppliedAdapter& one : applied) {
    const LoraModule* module = module_of(*one.adapter, layer, projection);
    if (module == nullptr) continue;
    const float scale = module->scaling * one.scale;
    if (scale == 0 && module->dora == nullptr) continue;
    ++active;
    dora = dora || module->dora != nullptr;
    if (dora && active > 1)
      refuse("a DoRA adapter to be alone on a module, received another adapter beside it on " + rows.name,
             "DoRA rescales the running result, so the order would matter: use one of them, or merge them.");
    if (module->dora != nullptr) add_gain(rows, *module, scale);
    if (scale != 0) add_terms(rows, *module, scale);
  }
}

// `held` becomes `replacement` where there is one; only one adapter may have it.
template <class T>
void replace(const T*& held, const T* replacement, const std::string& name) {
  if (replacement == nullptr) return;
  if (held != nullptr)
    refuse("at most one adapter that replaces " + name + " in a request, received two",
           "Use one of them, or merge them into one adapter.");
  held = replacement;
}

// A low-rank pair fits the table that it was trained on: its own adapter's, or else the base's.
void check_table(const Matrix* table, const Matrix* own, bool has_pair, const std::string& name) {
  if (table == nullptr || table == own || !has_pair) return;
  refuse("no LoRA on " + name + " beside another adapter that replaces " + name + ", received both",
         "The LoRA was trained on the base's own table: use one of them.");
}

const LoraModule* projection_module(const Adapter& adapter, int32_t layer, Projection projection) {
  return adapter.layers[static_cast<size_t>(layer)].modules[static_cast<size_t>(projection)].get();
}
const LoraModule* lm_head_module(const Adapter& adapter, int32_t, Projection) { return adapter.lm_head.get(); }

bool any_bias(const std::vector<AppliedAdapter>& applied, int32_t layer, Projection projection) {
  return std::any_of(applied.begin(), applied.end(), [&](const AppliedAdapter& one) {
    const LoraModule* module = projection_module(*one.adapter, layer, projection);
    return !one.adapter->layers[static_cast<size_t>(layer)].biases[static_cast<size_t>(projection)].empty() ||
           (module != nullptr && !module->b_bias.empty());
  });
}

// The base's bias, or an adapter's in its place; left empty where no adapter has a say.
void add_biases(SitePlanBuilder& builder, const std::vector<ModuleRows>& modules, const std::vector<AppliedAdapter>& applied,
                const BaseModel& base, int32_t layer, Site site) {
  const auto projections = projections_of(site);
  if (std::none_of(projections.begin(), projections.end(),
                   [&](Projection projection) { return any_bias(applied, layer, projection); }))
    return;
  builder.bias.assign(static_cast<size_t>(builder.n), 0.0f);
  for (size_t i = 0; i < projections.size(); ++i) {
    const std::vector<float>* replaced = nullptr;
    for (const AppliedAdapter& one : applied) {
      const auto& bias = one.adapter->layers[static_cast<size_t>(layer)].biases[static_cast<size_t>(projections[i])];
      replace(replaced, bias.empty() ? nullptr : &bias, "the bias of " + modules[i].name);
    }
    const std::vector<float> bias = replaced != nullptr ? *replaced : base.bias(layer, projections[i]);
    std::copy(bias.begin(), bias.end(), builder.bias.begin() + modules[i].n_begin);
  }
}

void add_site(SitePlan& plan, const std::vector<AppliedAdapter>& applied, const BaseModel& base, int32_t layer, Site site) {
  const auto projections = projections_of(site);
  SitePlanBuilder builder{plan, base.rows(site)};
  std::vector<ModuleRows> modules;
  for (const Projection projection : projections)
    modules.push_back({builder, base.row_offset(projection), base.out_features(projection), module_name(layer, projection)});
  add_biases(builder, modules, applied, base, layer, site);
  for (size_t i = 0; i < projections.size(); ++i)
    add_modules(modules[i], applied, projection_module, layer, projections[i]);
  builder.finish(*base.backend);
}

}  // namespace

Composition::Composition(std::vector<AppliedAdapter> applied, const BaseModel& base) : applied_(std::move(applied)) {
  const auto doras = std::count_if(applied_.begin(), applied_.end(),
                                   [](const AppliedAdapter& one) { return one.adapter->has_dora; });
  if (doras > 1)
    refuse("at most one adapter with DoRA in a request, received " + std::to_string(doras),
           "DoRA rescales the running result, so the order would matter: use one of them, or merge them.");
  layers_.resize(static_cast<size_t>(base.layer_count));
  for (int32_t layer = 0; layer < base.layer_count; ++layer) add_layer(layer, base);
  add_lm_head(base);
  add_embedding();
}

void Composition::add_layer(int32_t index, const BaseModel& base) {
  Layer& layer = layers_[static_cast<size_t>(index)];
  for (int site = 0; site < kSites; ++site) {
    SitePlan& plan = layer.sites[static_cast<size_t>(site)];
    add_site(plan, applied_, base, index, static_cast<Site>(site));
    max_h_width_ = std::max(max_h_width_, plan.h_width);
  }
  for (int i = 0; i < kLayerNorms; ++i) {
    const auto norm = static_cast<LayerNorm>(i);
    const float*& gain = norm == LayerNorm::kBeforeAttention     ? layer.sites[static_cast<size_t>(Site::kQkv)].norm_gain
                         : norm == LayerNorm::kBeforeFeedForward ? layer.sites[static_cast<size_t>(Site::kGateUp)].norm_gain
                                                                 : layer.norms[static_cast<size_t>(i)];
    for (const AppliedAdapter& one : applied_)
      replace(gain, one.adapter->layers[static_cast<size_t>(index)].norms[static_cast<size_t>(i)].data(),
              "a norm of layer " + std::to_string(index));
  }
}

void Composition::add_lm_head(const BaseModel& base) {
  SitePlanBuilder builder{lm_head_, base.vocabulary_size};
  add_modules({builder, 0, base.vocabulary_size, "lm_head"}, applied_, lm_head_module, 0, Projection::kQ);
  builder.finish(*base.backend);
  max_h_width_ = std::max(max_h_width_, lm_head_.h_width);
  for (const AppliedAdapter& one : applied_) {
    replace(lm_head_.norm_gain, one.adapter->final_norm.data(), "the final norm");
    replace(lm_head_weight_, one.adapter->lm_head_weight.get(), "lm_head");
  }
  for (const AppliedAdapter& one : applied_) {
    const LoraModule* module = one.adapter->lm_head.get();
    const bool active = module != nullptr && (one.scale != 0 || module->dora != nullptr);
    check_table(lm_head_weight_, one.adapter->lm_head_weight.get(), active, "lm_head");
  }
}

void Composition::add_embedding() {
  for (const AppliedAdapter& one : applied_) {
    replace(embed_tokens_weight_, one.adapter->embed_tokens_weight.get(), "embed_tokens");
    const EmbeddingModule* module = one.adapter->embedding.get();
    if (module == nullptr) continue;
    const float scale = module->scaling * one.scale;
    if (scale != 0) embedding_terms_.push_back({module->a.data(), module->b.data(), module->rank, scale});
  }
  for (const AppliedAdapter& one : applied_) {
    const bool active = one.adapter->embedding != nullptr && one.scale != 0;
    check_table(embed_tokens_weight_, one.adapter->embed_tokens_weight.get(), active, "embed_tokens");
  }
}

}  // namespace lowrank
