// The entries of an adapter file, sorted by the place of the model that they change.
#pragma once

#include <array>
#include <string>
#include <vector>

#include "lora/adapter.h"

namespace lowrank {

// The entries of one module, by role; null where the file has none.
class ModuleEntries {
 public:
  const AdapterEntry* operator[](AdapterEntry::Role role) const { return entries_[static_cast<size_t>(role)]; }
  // Throws Error(kAdapterFormat) where there is one already.
  void add(const AdapterEntry& entry);

 private:
  static constexpr size_t kRoles = 11;
  std::array<const AdapterEntry*, kRoles> entries_{};
};

struct LayerEntries {
  std::array<ModuleEntries, kProjections> projections;
  std::array<ModuleEntries, kLayerNorms> norms;
};

// Points into the entries it was made from.
struct SortedEntries {
  std::vector<LayerEntries> layers;
  ModuleEntries lm_head;
  ModuleEntries embed_tokens;
  ModuleEntries final_norm;
};

// Throws Error naming the tensor: kAdapterShape for a layer that the base lacks, kAdapterUnsupported for a role that cannot
// be honoured at its place, kAdapterFormat for an adapter without entries, two entries for one thing, or a half without
// its other half.
SortedEntries sort_entries(const std::vector<AdapterEntry>& entries, const BaseModel& base);

}  // namespace lowrank
