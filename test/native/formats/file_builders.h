// Builds model files in memory, byte by byte and without the readers' code, so that tests can also build
// broken ones.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

namespace lowrank::test {

using Bytes = std::vector<uint8_t>;

inline void append(Bytes& to, std::string_view text) { to.insert(to.end(), text.begin(), text.end()); }
inline void append(Bytes& to, const Bytes& bytes) { to.insert(to.end(), bytes.begin(), bytes.end()); }
template <class T>
void append_value(Bytes& to, T value) {
  uint8_t raw[sizeof(T)];
  std::memcpy(raw, &value, sizeof(T));
  for (const uint8_t byte : raw) to.push_back(byte);
}
template <class T>
Bytes bytes_of(const std::vector<T>& values) {
  Bytes bytes;
  for (const T& value : values) append_value(bytes, value);
  return bytes;
}

// A safetensors file: the length of `header`, `header`, `data`.
inline Bytes safetensors_file(std::string_view header, const Bytes& data) {
  Bytes file;
  append_value<uint64_t>(file, header.size());
  append(file, header);
  append(file, data);
  return file;
}

// "name": {"dtype": …, "shape": …, "data_offsets": …}, for the header of one.
inline std::string safetensors_entry(std::string_view name, std::string_view dtype, std::string_view shape,
                                     uint64_t begin, uint64_t end) {
  return "\"" + std::string(name) + "\":{\"dtype\":\"" + std::string(dtype) +
         "\",\"shape\":" + std::string(shape) + ",\"data_offsets\":[" + std::to_string(begin) + "," +
         std::to_string(end) + "]}";
}

// A GGUF file. The numbers are those of the format, so that any can be wrong.
class GgufBuilder {
 public:
  uint32_t version = 3;
  uint64_t alignment = 32;  // where the tensors are put; does not write general.alignment

  void add(std::string_view key, uint32_t type, const Bytes& value) {
    append_string(members_, key);
    append_value<uint32_t>(members_, type);
    append(members_, value);
    ++member_count_;
  }
  template <class T>
  void add_scalar(std::string_view key, uint32_t type, T value) {
    add(key, type, bytes_of<T>({value}));
  }
  void add_string(std::string_view key, std::string_view text) {
    Bytes value;
    append_string(value, text);
    add(key, 8, value);
  }
  void add_array(std::string_view key, uint32_t element_type, uint64_t count, const Bytes& elements) {
    Bytes value;
    append_value<uint32_t>(value, element_type);
    append_value<uint64_t>(value, count);
    append(value, elements);
    add(key, 9, value);
  }
  void add_strings(std::string_view key, const std::vector<std::string>& texts) {
    Bytes elements;
    for (const std::string& text : texts) append_string(elements, text);
    add_array(key, 8, texts.size(), elements);
  }

  // Dimensions innermost first. The data follows that of the tensor before, aligned.
  void add_tensor(std::string_view name, const std::vector<uint64_t>& dimensions, uint32_t type,
                  const Bytes& data) {
    data_.resize((data_.size() + alignment - 1) / alignment * alignment);
    add_record(name, dimensions, type, data_.size());
    append(data_, data);
  }
  // The record alone.
  void add_record(std::string_view name, const std::vector<uint64_t>& dimensions, uint32_t type,
                  uint64_t offset) {
    append_string(records_, name);
    append_value<uint32_t>(records_, static_cast<uint32_t>(dimensions.size()));
    for (const uint64_t size : dimensions) append_value<uint64_t>(records_, size);
    append_value<uint32_t>(records_, type);
    append_value<uint64_t>(records_, offset);
    ++tensor_count_;
  }

  Bytes build() const {
    Bytes file;
    append(file, "GGUF");
    append_value<uint32_t>(file, version);
    append_value<uint64_t>(file, tensor_count_);
    append_value<uint64_t>(file, member_count_);
    append(file, members_);
    append(file, records_);
    if (!data_.empty()) file.resize((file.size() + alignment - 1) / alignment * alignment);
    append(file, data_);
    return file;
  }

 private:
  static void append_string(Bytes& to, std::string_view text) {
    append_value<uint64_t>(to, text.size());
    append(to, text);
  }

  Bytes members_;
  Bytes records_;
  Bytes data_;
  uint64_t member_count_ = 0;
  uint64_t tensor_count_ = 0;
};

// A small valid file of each format, with several types, for the tests that break one.
Bytes small_safetensors();
Bytes small_gguf();

}  // namespace lowrank::test
