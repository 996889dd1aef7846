// Ops that a backend may lack, by name.
#pragma once

#include <string>
#include <type_traits>

#include "backend/backend.h"
#include "core/error.h"

namespace lowrank {

template <class Args>
const char* training_op_name(Op<Args> TrainingOps::*op) {
#define LOWRANK_NAME_OF(name, Name)                      \
  if constexpr (std::is_same_v<Args, Name##Args>)        \
    if (op == &TrainingOps::name) return #name;
  LOWRANK_TRAINING_OPS(LOWRANK_NAME_OF)
#undef LOWRANK_NAME_OF
  return "";
}

// training_op(backend, &TrainingOps::matmul_backward_input). Throws Error(kBackendUnavailable) where the backend lacks the op.
template <class Args>
Op<Args> training_op(const Backend& backend, Op<Args> TrainingOps::*op) {
  if (Op<Args> found = backend.ops().training.*op) return found;
  throw Error(ErrorCode::kBackendUnavailable, std::string("Expected a backend with the op ") + training_op_name(op) +
                                                  " to train on, received " + backend.name() + " (" + backend.instruction_set() +
                                                  "). Train on the CPU.");
}

}  // namespace lowrank
