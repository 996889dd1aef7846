// Thousands of damaged files, the same in every run: each opens and reads, or gives one of the documented
// errors.
#include <iterator>
#include <random>

#include "check.h"
#include "formats/file_builders.h"
#include "formats/gguf.h"
#include "formats/read_everything.h"
#include "formats/safetensors.h"

using namespace lowrank;
using namespace lowrank::test;

namespace {

constexpr int kRounds = 20'000;

// One to four changes: a bit, a byte, an eight-byte number, a piece cut out, a piece doubled, an end cut off.
void mutate(Bytes& bytes, std::mt19937_64& random) {
  constexpr uint64_t kNumbers[] = {0,
                                   1,
                                   4,
                                   31,
                                   33,
                                   uint64_t{1} << 31,
                                   UINT32_MAX,
                                   INT64_MAX,
                                   UINT64_MAX,
                                   UINT64_MAX - 31,
                                   uint64_t{1} << 61,
                                   0x100000000};
  const uint64_t changes = 1 + random() % 4;
  for (uint64_t change = 0; change < changes && !bytes.empty(); ++change) {
    const size_t at = random() % bytes.size();
    const auto place = bytes.begin() + static_cast<std::ptrdiff_t>(at);
    const size_t length = std::min<size_t>(1 + random() % 16, bytes.size() - at);
    const auto end = place + static_cast<std::ptrdiff_t>(length);
    switch (random() % 8) {
      case 0:
      case 1: bytes[at] ^= static_cast<uint8_t>(1u << random() % 8); break;
      case 2: bytes[at] = static_cast<uint8_t>(random()); break;
      case 3: bytes[at] = static_cast<uint8_t>("0123456789[]{},:\"\\-e. "[random() % 22]); break;
      case 4: {
        const uint64_t number = kNumbers[random() % std::size(kNumbers)];
        std::memcpy(&bytes[at], &number, std::min<size_t>(8, bytes.size() - at));
        break;
      }
      case 5: bytes.erase(place, end); break;
      case 6: {
        const Bytes piece(place, end);
        bytes.insert(place, piece.begin(), piece.end());
        break;
      }
      default:
        if (random() % 8 == 0) bytes.resize(at);
    }
  }
}

// Runs `read` on mutations of `whole`; returns how many were read without an error.
template <class Read>
int survivors(const Bytes& whole, uint64_t seed, Read read) {
  std::mt19937_64 random(seed);
  int count = 0;
  for (int round = 0; round < kRounds; ++round) {
    Bytes bytes = whole;
    mutate(bytes, random);
    try {
      read(bytes);
      ++count;
    } catch (const Error& error) {
      const bool documented =
          error.code() == ErrorCode::kModelFormat || error.code() == ErrorCode::kModelUnsupported;
      CHECK(documented);
      CHECK(std::string(error.what()).starts_with("Expected "));
    }
  }
  return count;
}

}  // namespace

TEST("mutation: safetensors") {
  const int count = survivors(small_safetensors(), 21,
                              [](const Bytes& bytes) { read_all(*open_safetensors(wrap_bytes(bytes))); });
  CHECK(count > kRounds / 100);  // damaged data alone, which no reader can see
  CHECK(count < kRounds / 2);
}

TEST("mutation: gguf") {
  const int count = survivors(small_gguf(), 22, [](const Bytes& bytes) {
    const auto file = open_gguf(wrap_bytes(bytes));
    read_all(*file);
    read_all_values(*file);
  });
  CHECK(count > kRounds / 100);
  CHECK(count < kRounds * 9 / 10);
}

TEST("mutation: json") {
  const std::string_view text = R"({"r": 8, "lora_alpha": 16.5, "target_modules": ["q_proj", "v_\u0070roj"],)"
                                R"( "nested": {"a": [null, true, -1e3]}})";
  const int count = survivors(Bytes(text.begin(), text.end()), 23, [](const Bytes& bytes) {
    read_all(Json::parse(std::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size())));
  });
  CHECK(count > kRounds / 100);
  CHECK(count < kRounds * 9 / 10);
}
