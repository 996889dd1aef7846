#include "formats/gguf.h"

#include <algorithm>
#include <bit>
#include <cstdio>
#include <cstdlib>
#include <iterator>
#include <numeric>
#include <optional>
#include <unordered_map>
#include <utility>

#include "core/error.h"
#include "core/json.h"
#include "formats/checked_math.h"
#include "formats/gguf_header_reader.h"

namespace lowrank {
namespace {

constexpr uint32_t kMagic = 0x46554747;  // "GGUF"
constexpr uint64_t kDefaultAlignment = 32;
constexpr char kAlignmentKey[] = "general.alignment";
constexpr char kSplitNumberKey[] = "split.no";  // from 0 on
constexpr char kSplitCountKey[] = "split.count";
constexpr char kSplitTensorsKey[] = "split.tensors.count";  // of all parts
constexpr int64_t kMaxParts = 512;                          // each is an open file
// The fewest bytes that one member (key length, key, type, value) and one tensor record (name length, name,
// number of dimensions, one dimension, type, offset) take: with them a count is checked against the file's
// size.
constexpr uint64_t kMinMemberBytes = 8 + 1 + 4 + 1;
constexpr uint64_t kMinTensorBytes = 8 + 1 + 4 + 8 + 4 + 8;

uint32_t read_version(GgufHeaderReader& reader, const std::string& name) {
  const uint32_t magic = reader.read_u32();
  if (magic != kMagic) reader.fail("the letters \"GGUF\"", "other bytes");
  const uint32_t version = reader.read_u32();
  if (version != 2 && version != 3) {
    const bool big_endian = version == 2u << 24 || version == 3u << 24;
    throw Error(ErrorCode::kModelUnsupported,
                "Expected GGUF version 2 or 3 for " + name + ", received " +
                    (big_endian ? "a big-endian file" : "version " + std::to_string(version)) +
                    ". Convert the model again with a current converter.");
  }
  return version;
}

// A count of things that take at least `least_bytes` each.
uint64_t read_count(GgufHeaderReader& reader, const char* what, uint64_t least_bytes, uint64_t limit) {
  const uint64_t count = reader.read_u64();
  const uint64_t most = std::min(limit, reader.remaining() / least_bytes);
  if (count > most) reader.fail("at most " + std::to_string(most) + " " + what, std::to_string(count));
  return count;
}

// Its offset is still relative to the start of the data.
TensorInfo read_tensor(GgufHeaderReader& reader, uint64_t alignment, const std::string& file_name) {
  TensorInfo tensor{
      reader.read_string("a tensor name", 1, TensorSource::kMaxNameBytes), DType::kF32, {}, 0, 0, 0};
  const std::string label = "tensor " + quote_text(tensor.name);
  const uint32_t dimensions = reader.read_u32();
  if (dimensions < 1 || dimensions > GgufFile::kMaxDimensions) {
    reader.fail("1 to " + std::to_string(GgufFile::kMaxDimensions) + " dimensions of " + label,
                std::to_string(dimensions));
  }
  for (uint32_t i = 0; i < dimensions; ++i) {
    const uint64_t size = reader.read_u64();
    if (size == 0 || size >> 63 != 0) {
      reader.fail("dimensions of 1 to 2^63 - 1 of " + label, std::to_string(size));
    }
    tensor.shape.push_back(static_cast<int64_t>(size));
  }
  std::reverse(tensor.shape.begin(), tensor.shape.end());  // the file has the innermost first
  const uint32_t type = reader.read_u32();
  const std::optional<DType> dtype = gguf_dtype(type);
  if (!dtype) {
    throw Error(ErrorCode::kModelUnsupported,
                "Expected F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, Q4_K, Q5_K or Q6_K for " + label +
                    " in " + file_name + ", received " + ggml_type_name(type) +
                    ". Take a file quantised to one of these types.");
  }
  tensor.dtype = *dtype;
  tensor.offset = reader.read_u64();
  if (tensor.offset % alignment != 0) {
    reader.fail("an offset that is a multiple of " + std::to_string(alignment) + " for " + label,
                std::to_string(tensor.offset));
  }
  tensor.byte_length = tensor_byte_length(tensor.dtype, tensor.shape, tensor.name, file_name);
  return tensor;
}

uint64_t read_alignment(const std::vector<GgufMember>& members) {
  for (const GgufMember& member : members) {
    if (member.key != kAlignmentKey) continue;
    const int64_t alignment = member.value.as_int64(kAlignmentKey);
    if (alignment < 1 || static_cast<uint64_t>(alignment) > GgufFile::kMaxAlignment ||
        !std::has_single_bit(static_cast<uint64_t>(alignment))) {
      throw Error(ErrorCode::kModelFormat,
                  "Expected a power of two of at most " + std::to_string(GgufFile::kMaxAlignment) +
                      " for GGUF key " + quote_text(kAlignmentKey) + ", received " +
                      std::to_string(alignment) + ". Convert the model again with a current converter.");
    }
    return static_cast<uint64_t>(alignment);
  }
  return kDefaultAlignment;
}

std::optional<int64_t> find_int(const std::vector<GgufMember>& members, std::string_view key) {
  for (const GgufMember& member : members)
    if (member.key == key) return member.value.as_int64(key);
  return std::nullopt;
}

// A part after the first holds its number, and of the rest of the metadata nothing or the same.
void check_part(const std::unordered_map<std::string_view, const GgufValue*>& first, const std::vector<GgufMember>& part,
                int64_t number, const std::string& name) {
  const auto fail = [&](const std::string& expected) {
    throw Error(ErrorCode::kModelFormat,
                "Expected " + expected + " for " + name + ", received another. The parts are of several models: fetch them again.");
  };
  if (find_int(part, kSplitNumberKey) != number) fail("split.no " + std::to_string(number));
  if (!find_int(part, kSplitCountKey)) fail("the first part's split.count");
  for (const GgufMember& member : part) {
    if (member.key == kSplitNumberKey || member.key == kAlignmentKey) continue;
    const auto same = first.find(member.key);
    if (same == first.end() || !(*same->second == member.value)) fail("the first part's " + quote_text(member.key));
  }
}

struct SplitName {
  std::string base;  // with the folder
  int64_t number;    // from 1 on
  int64_t count;
};

std::string split_suffix(int64_t number, int64_t count) {
  char suffix[64];
  std::snprintf(suffix, sizeof suffix, "-%05lld-of-%05lld.gguf", static_cast<long long>(number), static_cast<long long>(count));
  return suffix;
}

// "<base>-00001-of-00003.gguf".
std::optional<SplitName> parse_split_name(const std::string& path) {
  constexpr size_t kSuffixBytes = sizeof "-00001-of-00003.gguf" - 1;
  if (path.size() <= kSuffixBytes) return std::nullopt;
  const std::string suffix = path.substr(path.size() - kSuffixBytes);
  SplitName name{path.substr(0, path.size() - kSuffixBytes), std::atoll(suffix.c_str() + 1), std::atoll(suffix.c_str() + 10)};
  if (suffix != split_suffix(name.number, name.count)) return std::nullopt;
  return name;
}

}  // namespace

struct GgufFile::Header {
  uint32_t version;
  uint64_t alignment;
  std::vector<GgufMember> members;
  std::vector<TensorInfo> tensors;

  static Header read(const ByteSource& bytes, uint32_t file);
};

GgufFile::Header GgufFile::Header::read(const ByteSource& bytes, uint32_t file) {
  GgufHeaderReader reader(bytes, kMaxHeaderBytes);
  Header header{};
  header.version = read_version(reader, bytes.name());
  const uint64_t tensor_count = read_count(reader, "tensors", kMinTensorBytes, kMaxTensors);
  const uint64_t member_count = read_count(reader, "metadata members", kMinMemberBytes, kMaxMembers);
  header.members.reserve(static_cast<size_t>(member_count));
  for (uint64_t i = 0; i < member_count; ++i) {
    std::string key = reader.read_string("a metadata key", 1, kMaxKeyBytes);
    GgufValue value = reader.read_value(key);
    header.members.push_back({std::move(key), std::move(value)});
  }
  header.alignment = read_alignment(header.members);
  header.tensors.reserve(static_cast<size_t>(tensor_count));
  for (uint64_t i = 0; i < tensor_count; ++i) {
    header.tensors.push_back(read_tensor(reader, header.alignment, bytes.name()));
    header.tensors.back().file = file;
  }
  // No overflow: the header ends within kMaxHeaderBytes, and alignment is kMaxAlignment at most.
  const uint64_t data_begin = *checked_align(reader.position(), header.alignment);
  for (TensorInfo& tensor : header.tensors) {
    const std::optional<uint64_t> offset = checked_add(data_begin, tensor.offset);
    if (!offset) {
      reader.fail("an offset within the file for tensor " + quote_text(tensor.name),
                  std::to_string(tensor.offset));
    }
    tensor.offset = *offset;
  }
  return header;
}

std::unique_ptr<GgufFile> GgufFile::open(std::shared_ptr<ByteSource> bytes) {
  Header header = Header::read(*bytes, 0);
  return assemble(std::move(header), {std::move(bytes)});
}

std::unique_ptr<GgufFile> GgufFile::open_model(const std::string& path) {
  std::vector<std::shared_ptr<ByteSource>> parts = {open_file(path)};
  Header header = Header::read(*parts[0], 0);
  const int64_t count = find_int(header.members, kSplitCountKey).value_or(1);
  if (count > kMaxParts) {
    throw Error(ErrorCode::kModelFormat, "Expected at most " + std::to_string(kMaxParts) + " parts for " + path +
                                             ", received " + std::to_string(count) + ".");
  }
  if (count > 1) {
    const std::optional<SplitName> name = parse_split_name(path);
    if (!name || name->count != count || name->number != 1 || find_int(header.members, kSplitNumberKey) != 0) {
      throw Error(ErrorCode::kModelFormat,
                  "Expected the first of " + std::to_string(count) + " parts, named <name>" + split_suffix(1, count) +
                      ", for a split GGUF model, received " + path + ". Pass the first part; the others lie beside it.");
    }
    for (int64_t i = 2; i <= count; ++i) parts.push_back(open_file(name->base + split_suffix(i, count)));
  }
  return assemble(std::move(header), std::move(parts));
}

std::unique_ptr<GgufFile> GgufFile::assemble(Header first, std::vector<std::shared_ptr<ByteSource>> parts) {
  std::unordered_map<std::string_view, const GgufValue*> by_key;
  if (parts.size() > 1)
    for (const GgufMember& member : first.members) by_key.emplace(member.key, &member.value);
  for (uint32_t i = 1; i < parts.size(); ++i) {
    Header part = Header::read(*parts[i], i);
    check_part(by_key, part.members, i, parts[i]->name());
    std::move(part.tensors.begin(), part.tensors.end(), std::back_inserter(first.tensors));
    if (first.tensors.size() > kMaxTensors) {
      throw Error(ErrorCode::kModelFormat, "Expected at most " + std::to_string(kMaxTensors) + " tensors up to " +
                                               parts[i]->name() + ", received more.");
    }
  }
  const std::optional<int64_t> stated = find_int(first.members, kSplitTensorsKey);
  if (stated && *stated != static_cast<int64_t>(first.tensors.size())) {
    throw Error(ErrorCode::kModelFormat, "Expected " + std::to_string(*stated) + " tensors in all parts of " +
                                             parts[0]->name() + ", received " +
                                             std::to_string(first.tensors.size()) + ". Fetch the parts again.");
  }
  return std::unique_ptr<GgufFile>(new GgufFile(std::move(first), std::move(parts)));
}

GgufFile::GgufFile(Header header, std::vector<std::shared_ptr<ByteSource>> parts)
    : TensorSource(std::move(header.tensors), parts),
      version_(header.version),
      alignment_(header.alignment),
      members_(std::move(header.members)) {
  by_key_.resize(members_.size());
  std::iota(by_key_.begin(), by_key_.end(), 0u);
  std::sort(by_key_.begin(), by_key_.end(),
            [&](uint32_t a, uint32_t b) { return members_[a].key < members_[b].key; });
  const auto same = std::adjacent_find(by_key_.begin(), by_key_.end(), [&](uint32_t a, uint32_t b) {
    return members_[a].key == members_[b].key;
  });
  if (same != by_key_.end()) {
    throw Error(ErrorCode::kModelFormat,
                "Expected one GGUF key " + quote_text(members_[*same].key) + " for " + parts[0]->name() +
                    ", received two. Convert the model again with a current converter.");
  }
}

const GgufValue* GgufFile::find_value(std::string_view key) const {
  const auto found = std::lower_bound(by_key_.begin(), by_key_.end(), key,
                                      [&](uint32_t i, std::string_view k) { return members_[i].key < k; });
  if (found == by_key_.end() || members_[*found].key != key) return nullptr;
  return &members_[*found].value;
}

std::unique_ptr<GgufFile> open_gguf(std::shared_ptr<ByteSource> bytes) { return GgufFile::open(std::move(bytes)); }

std::unique_ptr<GgufFile> open_gguf(const std::string& path) { return open_gguf(open_file(path)); }

}  // namespace lowrank
