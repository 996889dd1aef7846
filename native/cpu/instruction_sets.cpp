// Which instruction sets this build and machine have, and the backend of each.
#include "cpu/instruction_set.h"

#include <cstdlib>
#include <string>

#include "backend/backend.h"
#include "core/error.h"
#include "cpu/backend.h"
#include "cpu/features.h"
#include "generated/instruction_set_table.h"

namespace lowrank {
namespace {

// One instruction set that this source knows, compiled in or not.
struct Candidate {
  InstructionSet facts;
  std::unique_ptr<Backend> backend;  // null where it is not available
};

// The system is asked for nothing that the processor lacks.
bool available(const cpu::InstructionSetEntry& set) {
  return set.ops != nullptr && (cpu::processor_features() & set.features) == set.features && cpu::ask_permissions(set.permissions);
}

// Best first. Never destroyed: at the end of the process, other threads may still be in a step.
const std::vector<Candidate>& candidates() {
  static const std::vector<Candidate>& all = *[] {
    auto& list = *new std::vector<Candidate>;
    for (const cpu::InstructionSetEntry& set : cpu::kInstructionSets) {
      const bool usable = available(set);
      list.push_back({{set.name, set.extends, set.description, usable},
                      usable ? cpu::make_backend(set.name, set.traits, set.ops()) : nullptr});
    }
    return &list;
  }();
  return all;
}

std::string available_names() {
  std::string names;
  for (const Candidate& one : candidates()) {
    if (!one.facts.available) continue;
    if (!names.empty()) names += ", ";
    names += one.facts.name;
  }
  return names;
}

// `asked_by` names the place that the name came from.
const Backend& find_backend(const std::string& name, const char* asked_by) {
  for (const Candidate& one : candidates())
    if (name == one.facts.name && one.backend != nullptr) return *one.backend;
  throw Error(ErrorCode::kBackendUnavailable,
              std::string("Expected an instruction set of this processor and build for ") + asked_by +
                  ", received \"" + name + "\". Use one of: " + available_names() + ".");
}

}  // namespace

std::vector<InstructionSet> cpu_instruction_sets() {
  std::vector<InstructionSet> sets;
  for (const Candidate& one : candidates())
    sets.push_back(one.facts);
  return sets;
}

const Backend& cpu_backend(const std::string& instruction_set) {
  return find_backend(instruction_set, "the CPU backend");
}

const Backend& cpu_backend() {
  // Read at each call, so that a program may set it before it loads a model.
  const char* forced = std::getenv("LOWRANK_ISA");
  if (forced != nullptr && *forced != '\0') return find_backend(forced, "LOWRANK_ISA");
  for (const Candidate& one : candidates())
    if (one.backend != nullptr) return *one.backend;
  throw Error(ErrorCode::kInternal, "Expected at least the reference instruction set.");
}

}  // namespace lowrank
