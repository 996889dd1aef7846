// The decoder's anatomy and its names, for JavaScript: see DecoderNames and ModelFacts in lib/native/types.ts.
#pragma once

#include <napi.h>

#include "model/config.h"

namespace lowrank::bindings {

// The table of names, the same for every model.
Napi::Object decoder_names(Napi::Env env);
// What a model has of it: its norms, the rows of its projections, and how GGUF adapters keep them.
void set_anatomy(Napi::Object& facts, const ModelConfig& config);

}  // namespace lowrank::bindings
