#pragma once

#include <memory>

#include "backend/backend.h"
#include "ops/numeric_traits.h"

namespace lowrank::cpu {

// A backend that runs the ops of one table, which the processor must be able to run. All arguments outlive it.
std::unique_ptr<Backend> make_backend(const char* instruction_set, const NumericTraits& traits, const OpTable& ops);

}  // namespace lowrank::cpu
