// Touches all that a parser hands out: the mutation tests and the fuzz targets find what a hostile file can
// reach.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <vector>

#include "core/json.h"
#include "formats/gguf.h"
#include "formats/tensor_source.h"

namespace lowrank::test {

// A number that depends on every byte read, so that no read can be left out by the compiler.
inline uint64_t read_all(const Json& json) {
  uint64_t sum = static_cast<uint64_t>(json.kind());
  if (json.is_bool()) sum += json.as_bool() ? 1 : 0;
  if (json.is_number()) sum += json.as_double() > 0 ? 1 : 0;
  if (json.is_int64()) sum += static_cast<uint64_t>(json.as_int64());
  if (json.is_string()) sum += json.as_string().size();
  if (json.is_array()) {
    for (const Json& item : json.items()) sum += read_all(item);
  }
  if (json.is_object()) {
    for (const Json::Member& member : json.members()) {
      if (json.find(member.key) != &member.value) throw Error(ErrorCode::kInternal, "find() misses a member");
      sum += read_all(member.value);
    }
  }
  return sum;
}

// Every row of every tensor, in blocks of rows; unreadable types are asked for too and must give their Error.
inline uint64_t read_all(const TensorSource& source) {
  uint64_t sum = 0;
  std::vector<float> rows;
  for (const TensorInfo& tensor : source.tensors()) {
    if (source.find(tensor.name) != &tensor) throw Error(ErrorCode::kInternal, "find() misses a tensor");
    if (!dtype_facts(tensor.dtype).readable) {
      try {
        source.read_rows(tensor, 0, 1, nullptr);
        throw Error(ErrorCode::kInternal, "an unreadable type was read");
      } catch (const Error& error) {
        if (error.code() != ErrorCode::kModelUnsupported) throw;
      }
      continue;
    }
    // An empty row may come any number of times, and costs nothing to skip.
    const int64_t length = tensor.row_length();
    if (tensor.elements() == 0) {
      source.read_rows(tensor, 0, tensor.rows(), nullptr);
      continue;
    }
    const int64_t step = std::max<int64_t>(1, 4096 / length);
    for (int64_t row = 0; row < tensor.rows(); row += step) {
      const int64_t count = std::min(step, tensor.rows() - row);
      rows.resize(static_cast<size_t>(count * length));
      source.read_rows(tensor, row, count, rows.data());
      for (const float value : rows) sum += value > 0 ? 1 : 0;
    }
  }
  return sum;
}

// All metadata, through the accessor of its type.
inline uint64_t read_all_values(const GgufFile& file) {
  uint64_t sum = file.version() + file.alignment();
  for (const GgufMember& member : file.members()) {
    const GgufValue& value = member.value;
    if (file.find_value(member.key) != &value)
      throw Error(ErrorCode::kInternal, "find_value() misses a member");
    for (size_t i = 0; i < value.size(); ++i) {
      switch (value.element_type()) {
        case GgufType::kString:
          for (const char c : value.is_array() ? value.string_at(i, "key") : value.as_string("key")) {
            sum += static_cast<uint8_t>(c);
          }
          break;
        case GgufType::kBool:
          sum += (value.is_array() ? value.bool_at(i, "key") : value.as_bool("key")) ? 1 : 0;
          break;
        case GgufType::kUint64:
          try {  // beyond int64 is an Error
            sum += static_cast<uint64_t>(value.is_array() ? value.int64_at(i, "key") : value.as_int64("key"));
          } catch (const Error& error) {
            if (error.code() != ErrorCode::kModelFormat) throw;
          }
          [[fallthrough]];
        default: sum += (value.is_array() ? value.double_at(i, "key") : value.as_double("key")) > 0 ? 1 : 0;
      }
    }
  }
  return sum;
}

}  // namespace lowrank::test
