#include "formats/byte_source.h"

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <system_error>
#include <utility>

#include "core/error.h"

#if defined(_WIN32)
#define WIN32_LEAN_AND_MEAN
#if !defined(NOMINMAX)
#define NOMINMAX
#endif
#include <windows.h>
#else
#include <cerrno>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#endif

namespace lowrank {
namespace {

// The most that one system call is asked for; macOS refuses more than 2^31 - 1.
constexpr size_t kMaxReadBytes = size_t{1} << 30;

[[noreturn]] void fail_open(const std::string& path, const std::string& received) {
  throw Error(ErrorCode::kIo, "Expected a readable file for " + path + ", received " + received +
                                  ". Check the path and its permissions.");
}

[[noreturn]] void fail_read(const std::string& name, uint64_t offset, size_t n, const std::string& received) {
  throw Error(ErrorCode::kIo, "Expected " + std::to_string(n) + " bytes at offset " + std::to_string(offset) +
                                  " of " + name + ", received " + received +
                                  ". Leave the file unchanged while it is in use, and load it again.");
}

#if defined(_WIN32)

std::string last_error_message() { return std::system_category().message(static_cast<int>(GetLastError())); }

class FileSource final : public ByteSource {
 public:
  explicit FileSource(const std::string& path) : ByteSource(path) {
    const std::filesystem::path wide(std::u8string(path.begin(), path.end()));
    handle_ = CreateFileW(wide.c_str(), GENERIC_READ, FILE_SHARE_READ | FILE_SHARE_DELETE, nullptr,
                          OPEN_EXISTING, FILE_ATTRIBUTE_NORMAL, nullptr);
    if (handle_ == INVALID_HANDLE_VALUE) fail_open(path, last_error_message());
    LARGE_INTEGER size;
    if (GetFileType(handle_) != FILE_TYPE_DISK || !GetFileSizeEx(handle_, &size)) {
      CloseHandle(handle_);
      fail_open(path, "something that is not a regular file");
    }
    size_ = static_cast<uint64_t>(size.QuadPart);
  }
  ~FileSource() override { CloseHandle(handle_); }

  uint64_t size() const override { return size_; }

  void read(uint64_t offset, size_t n, void* out) const override {
    size_t done = 0;
    while (done < n) {
      const uint64_t at = offset + done;
      OVERLAPPED position{};
      position.Offset = static_cast<DWORD>(at);
      position.OffsetHigh = static_cast<DWORD>(at >> 32);
      DWORD got = 0;
      const auto wanted = static_cast<DWORD>(std::min(n - done, kMaxReadBytes));
      if (!ReadFile(handle_, static_cast<char*>(out) + done, wanted, &got, &position) &&
          GetLastError() != ERROR_HANDLE_EOF) {
        fail_read(name(), offset, n, last_error_message());
      }
      if (got == 0) fail_read(name(), offset, n, std::to_string(done));
      done += got;
    }
  }

 private:
  HANDLE handle_ = INVALID_HANDLE_VALUE;
  uint64_t size_ = 0;
};

#else

std::string last_error_message() { return std::generic_category().message(errno); }

class FileSource final : public ByteSource {
 public:
  explicit FileSource(const std::string& path) : ByteSource(path) {
    // O_NONBLOCK: opening a pipe that nobody writes to must not hang. It changes nothing for regular files.
    do {
      descriptor_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    } while (descriptor_ < 0 && errno == EINTR);
    if (descriptor_ < 0) fail_open(path, last_error_message());
    struct stat facts;
    if (::fstat(descriptor_, &facts) != 0 || !S_ISREG(facts.st_mode)) {
      ::close(descriptor_);
      fail_open(path, "something that is not a regular file");
    }
    size_ = static_cast<uint64_t>(facts.st_size);
  }
  ~FileSource() override { ::close(descriptor_); }

  uint64_t size() const override { return size_; }

  void read(uint64_t offset, size_t n, void* out) const override {
    if (offset > size_ || n > size_ - offset)
      fail_read(name(), offset, n, "a file of " + std::to_string(size_));
    size_t done = 0;
    while (done < n) {
      const ssize_t got = ::pread(descriptor_, static_cast<char*>(out) + done,
                                  std::min(n - done, kMaxReadBytes), static_cast<off_t>(offset + done));
      if (got < 0) {
        if (errno == EINTR) continue;
        fail_read(name(), offset, n, last_error_message());
      }
      if (got == 0) fail_read(name(), offset, n, std::to_string(done));
      done += static_cast<size_t>(got);
    }
  }

 private:
  int descriptor_ = -1;
  uint64_t size_ = 0;
};

#endif

class MemorySource final : public ByteSource {
 public:
  MemorySource(std::vector<uint8_t> bytes, std::string name)
      : ByteSource(std::move(name)), bytes_(std::move(bytes)) {}

  uint64_t size() const override { return bytes_.size(); }

  void read(uint64_t offset, size_t n, void* out) const override {
    if (offset > bytes_.size() || n > bytes_.size() - offset) {
      fail_read(name(), offset, n, std::to_string(bytes_.size()) + " in all");
    }
    if (n > 0) std::memcpy(out, bytes_.data() + offset, n);
  }

 private:
  std::vector<uint8_t> bytes_;
};

}  // namespace

std::shared_ptr<ByteSource> open_file(const std::string& path) {
  // A NUL would end the path early for the system, so that another file than the one named is opened.
  if (path.find('\0') != std::string::npos)
    fail_open(path.substr(0, path.find('\0')), "a path with a NUL character");
  return std::make_shared<FileSource>(path);
}

std::shared_ptr<ByteSource> wrap_bytes(std::vector<uint8_t> bytes, std::string name) {
  return std::make_shared<MemorySource>(std::move(bytes), std::move(name));
}

}  // namespace lowrank
