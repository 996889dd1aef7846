#include "lora/adapter_entries.h"

#include "core/error.h"

namespace lowrank {
namespace {

using Role = AdapterEntry::Role;
using Place = AdapterEntry::Place;

bool is_pair(Role role) {
  return role == Role::kLoraA || role == Role::kLoraB || role == Role::kMagnitude || role == Role::kLoraBBias;
}
bool is_table(Role role) { return role == Role::kWeight || role == Role::kBaseWeight || role == Role::kTokenRows; }

bool supported(Role role, Place place) {
  switch (place) {
    case Place::kProjection: return is_pair(role) || role == Role::kBias;
    case Place::kLmHead: return is_pair(role) || is_table(role);
    case Place::kEmbedTokens: return is_table(role) || role == Role::kEmbeddingA || role == Role::kEmbeddingB;
    case Place::kLayerNorm:
    case Place::kFinalNorm: return role == Role::kWeight;
  }
  return false;
}

[[noreturn]] void unsupported(const AdapterEntry& entry, const std::string& reason) {
  throw Error(ErrorCode::kAdapterUnsupported, "Expected a tensor that this engine can honour, received " + entry.tensor + ": " +
                                                  reason + " Train the adapter without it.");
}

// Each of these needs the other.
void check_halves(const ModuleEntries& module, Role one, Role other) {
  const AdapterEntry* present = module[one] != nullptr ? module[one] : module[other];
  if (present == nullptr || (module[one] != nullptr && module[other] != nullptr)) return;
  throw Error(ErrorCode::kAdapterFormat, "Expected both halves (A and B) of a low-rank pair in the adapter, received " +
                                             present->tensor + " alone. The file is incomplete: save the adapter again.");
}

void check_module(const ModuleEntries& module) {
  check_halves(module, Role::kLoraA, Role::kLoraB);
  check_halves(module, Role::kEmbeddingA, Role::kEmbeddingB);
  for (const Role role : {Role::kMagnitude, Role::kLoraBBias})
    if (module[role] != nullptr && module[Role::kLoraB] == nullptr)
      throw Error(ErrorCode::kAdapterFormat, "Expected lora_A and lora_B beside the adapter's tensor " + module[role]->tensor +
                                                 ", they are missing. The file is incomplete: save the adapter again.");
  // PEFT refuses to make such an adapter: its norm would contain the bias.
  if (module[Role::kMagnitude] != nullptr && module[Role::kLoraBBias] != nullptr)
    unsupported(*module[Role::kLoraBBias], "a bias of lora_B has no meaning beside DoRA.");
  const Role pair = module[Role::kLoraA] != nullptr ? Role::kLoraA : Role::kEmbeddingA;
  if (module[Role::kWeight] != nullptr && module[pair] != nullptr)
    unsupported(*module[pair], "its module is replaced as a whole by " + module[Role::kWeight]->tensor + ".");
  if (module[Role::kWeight] != nullptr && module[Role::kBaseWeight] != nullptr)
    unsupported(*module[Role::kBaseWeight], "its module is replaced as a whole by " + module[Role::kWeight]->tensor + ".");
  if (const AdapterEntry* rows = module[Role::kTokenRows])
    for (const Role role : {pair, Role::kWeight, Role::kBaseWeight})
      if (module[role] != nullptr) unsupported(*rows, "its module is changed by " + module[role]->tensor + ", too.");
}

ModuleEntries& module_of(SortedEntries& sorted, const AdapterEntry& entry, const BaseModel& base) {
  if (!supported(entry.role, entry.place)) {
    if (entry.role == Role::kMagnitude) unsupported(entry, "DoRA on the embedding is not supported.");
    unsupported(entry, "its module takes no tensor of this kind.");
  }
  switch (entry.place) {
    case Place::kLmHead: return sorted.lm_head;
    case Place::kEmbedTokens: return sorted.embed_tokens;
    case Place::kFinalNorm: return sorted.final_norm;
    case Place::kProjection:
    case Place::kLayerNorm: break;
  }
  if (entry.layer < 0 || entry.layer >= base.layer_count)
    throw Error(ErrorCode::kAdapterShape, "Expected a layer from 0 to " + std::to_string(base.layer_count - 1) +
                                              " for the adapter's tensor " + entry.tensor + ", received " +
                                              std::to_string(entry.layer) +
                                              ". Load the base model that the adapter was trained on.");
  LayerEntries& layer = sorted.layers[static_cast<size_t>(entry.layer)];
  if (entry.place == Place::kProjection) return layer.projections[static_cast<size_t>(entry.projection)];
  if (!base.norms.has(entry.norm))
    throw Error(ErrorCode::kAdapterShape, "Expected a norm that the base model has, received the adapter's tensor " + entry.tensor +
                                              ". Load the base model that the adapter was trained on.");
  return layer.norms[static_cast<size_t>(entry.norm)];
}

}  // namespace

void ModuleEntries::add(const AdapterEntry& entry) {
  const AdapterEntry*& held = entries_[static_cast<size_t>(entry.role)];
  if (held != nullptr)
    throw Error(ErrorCode::kAdapterFormat,
                "Expected one tensor for each part of a module, received both " + held->tensor + " and " + entry.tensor + ".");
  held = &entry;
}

SortedEntries sort_entries(const std::vector<AdapterEntry>& entries, const BaseModel& base) {
  if (entries.empty())
    throw Error(ErrorCode::kAdapterFormat, "Expected at least one tensor in the adapter, received none. Save the adapter again.");
  SortedEntries sorted;
  sorted.layers.resize(static_cast<size_t>(base.layer_count));
  for (const AdapterEntry& entry : entries)
    if (entry.role != Role::kCopy) module_of(sorted, entry, base).add(entry);
  for (const LayerEntries& layer : sorted.layers)
    for (const ModuleEntries& module : layer.projections) check_module(module);
  check_module(sorted.lm_head);
  check_module(sorted.embed_tokens);
  return sorted;
}

}  // namespace lowrank
