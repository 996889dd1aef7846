// Safetensors: an 8-byte little-endian header length, a JSON header, then the data of all tensors without
// gaps. Format: https://github.com/huggingface/safetensors#format
#pragma once

#include <memory>
#include <string>

#include "formats/byte_source.h"
#include "formats/tensor_source.h"

namespace lowrank {

// As the reference implementation has it; hostile lengths are refused before anything is allocated.
constexpr uint64_t kMaxSafetensorsHeaderBytes = 100'000'000;
// Far more than any model has; each is an open file.
constexpr size_t kMaxSafetensorsShards = 512;

// Opens a .safetensors file, or a folder that holds model.safetensors or (for a model in several files,
// "shards") model.safetensors.index.json. `path` is UTF-8.
//
// Files of a folder must lie in it: a shard's name is a plain file name that ends in ".safetensors", and a
// symbolic link may lead only to a file of the same folder or, in the Hugging Face cache
// (models--owner--name/snapshots/<revision>/…), to that model's own blobs folder.
//
// Throws Error: kIo when a file cannot be read, kModelFormat when it is damaged or hostile, kModelUnsupported
// for an element type that is not known.
std::unique_ptr<TensorSource> open_safetensors(const std::string& path);

// The same for one file's bytes.
std::unique_ptr<TensorSource> open_safetensors(std::shared_ptr<ByteSource> bytes);

}  // namespace lowrank
