#include "formats/byte_source.h"

#include <filesystem>
#include <thread>

#if !defined(_WIN32)
#include <fcntl.h>
#include <sys/stat.h>
#endif

#include "check.h"
#include "formats/temporary_folder.h"

using namespace lowrank;
using lowrank::test::TemporaryFolder;

TEST("byte source: a file and a buffer read the same bytes") {
  const TemporaryFolder folder;
  std::vector<uint8_t> bytes(100'000);
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<uint8_t>(i * i);
  const std::string path = folder.write("größe.bin", bytes);
  for (const auto& source : {open_file(path), wrap_bytes(bytes)}) {
    CHECK_EQ(source->size(), uint64_t{100'000});
    std::vector<uint8_t> read(bytes.size());
    source->read(0, read.size(), read.data());
    CHECK(read == bytes);
    uint8_t four[4];
    source->read(99'996, 4, four);
    CHECK(std::equal(four, four + 4, bytes.end() - 4));
    source->read(100'000, 0, nullptr);
  }
  CHECK_EQ(open_file(path)->name(), path);
}

TEST("byte source: reads beyond the end fail, also where offset + length overflows") {
  const TemporaryFolder folder;
  const std::vector<uint8_t> bytes(10);
  uint8_t out[16];
  for (const auto& source : {open_file(folder.write("ten", bytes)), wrap_bytes(bytes)}) {
    CHECK_THROWS_CODE(source->read(7, 4, out), ErrorCode::kIo);
    CHECK_THROWS_CODE(source->read(11, 0, out), ErrorCode::kIo);
    CHECK_THROWS_CODE(source->read(UINT64_MAX, 1, out), ErrorCode::kIo);
    CHECK_THROWS_CODE(source->read(UINT64_MAX - 2, 8, out), ErrorCode::kIo);
    CHECK_THROWS_CODE(source->read(4, SIZE_MAX, out), ErrorCode::kIo);
  }
}

TEST(
    "byte source: a file cut short while it is open gives an error, one that is replaced stays what it was") {
  const TemporaryFolder folder;
  const std::string path = folder.write("file", std::vector<uint8_t>(1000, 7));
  const auto source = open_file(path);
  std::filesystem::rename(folder.write("other", std::vector<uint8_t>(5, 1)), path);
  uint8_t last = 0;
  source->read(999, 1, &last);
  CHECK_EQ(last, 7);

  const std::string cut = folder.write("cut", std::vector<uint8_t>(100'000, 7));
  const auto shrinking = open_file(cut);
  std::filesystem::resize_file(cut, 10);
  std::vector<uint8_t> out(100'000);
  CHECK_THROWS_CODE(shrinking->read(0, out.size(), out.data()), ErrorCode::kIo);
  CHECK_THROWS_CODE(shrinking->read(50'000, 1, out.data()), ErrorCode::kIo);
  shrinking->read(0, 10, out.data());
}

TEST("byte source: only regular files open") {
  const TemporaryFolder folder;
  CHECK_THROWS_CODE(open_file((folder.path() / "missing").string()), ErrorCode::kIo);
  CHECK_THROWS_CODE(open_file(folder.path().string()), ErrorCode::kIo);
  CHECK_THROWS_CODE(open_file(""), ErrorCode::kIo);
  CHECK_THROWS_CODE(open_file(folder.write("a", "x") + std::string("\0b", 2)), ErrorCode::kIo);
#if !defined(_WIN32)
  CHECK_THROWS_CODE(open_file("/dev/null"), ErrorCode::kIo);
  const std::string pipe = (folder.path() / "pipe").string();  // must not wait for a writer
  CHECK_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  CHECK_THROWS_CODE(open_file(pipe), ErrorCode::kIo);
  std::filesystem::create_symlink("loop", folder.path() / "loop");
  CHECK_THROWS_CODE(open_file((folder.path() / "loop").string()), ErrorCode::kIo);
#endif
}

TEST("byte source: threads read at once") {
  const TemporaryFolder folder;
  std::vector<uint8_t> bytes(1 << 16);
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<uint8_t>(i >> 8);
  const auto source = open_file(folder.write("shared", bytes));
  int wrong[4] = {};
  std::vector<std::thread> threads;
  for (size_t t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (size_t round = 0; round < 500; ++round) {
        const size_t at = (t * 7919 + round * 104'729) % (bytes.size() - 100);
        uint8_t out[100];
        source->read(at, 100, out);
        if (!std::equal(out, out + 100, bytes.begin() + static_cast<std::ptrdiff_t>(at))) ++wrong[t];
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const int count : wrong) CHECK_EQ(count, 0);
}
