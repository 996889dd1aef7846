// Which settings of a model's configuration may be left unread. Everything that an architecture does not read must be known to mean
// nothing to it, stand at the value that means nothing, or be a key that transformers ignores, too.
#pragma once

#include "model/model_file.h"

namespace lowrank {

// To be called after an architecture has read what it knows. Throws Error(kModelUnsupported) naming the key.
//
// config.json: transformers keeps keys that it does not know and computes without them; so does this. But a key that sets another
// architecture apart (experts, softcapping, a window …) says that the file is not what its model_type says: it is refused unless it
// is null or off.
//
// GGUF: keys with the architecture's prefix are hyperparameters. llama.cpp ignores those that it does not know, and computes
// another model than the converter meant; here they are refused. Keys without the prefix are about the file, not the model.
void check_unread_keys(const ModelFile& file);

}  // namespace lowrank
