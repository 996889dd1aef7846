#include "formats/mapped_file.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "core/error.h"

#if defined(__linux__)
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>
#endif

namespace lowrank {

#if defined(__linux__)

namespace {

constexpr size_t kHugePage = size_t{2} << 20;
constexpr mode_t kAnyWriter = S_IWUSR | S_IWGRP | S_IWOTH;

class Descriptor {
 public:
  explicit Descriptor(const std::string& path) : fd_(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK)) {}
  ~Descriptor() {
    if (fd_ >= 0) close(fd_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return fd_; }

 private:
  const int fd_;
};

// Of linux/magic.h. On any other (NFS, SMB, FUSE, 9P ...) another machine or program may change what lies there.
bool is_local(int fd) {
  constexpr uint64_t kLocal[] = {
      0xef53,      // ext2, ext3, ext4
      0x58465342,  // XFS
      0x9123683e,  // Btrfs
      0xf2f52010,  // F2FS
      0xca451a4e,  // bcachefs
      0x2fc12fc1,  // ZFS
      0x01021994,  // tmpfs
      0x794c7630,  // overlayfs
  };
  struct statfs facts = {};
  if (fstatfs(fd, &facts) != 0) return false;
  return std::find(std::begin(kLocal), std::end(kLocal), static_cast<uint64_t>(facts.f_type) & 0xffffffffu) != std::end(kLocal);
}

bool stays_as_it_is(int fd, struct stat& facts) {
  return fstat(fd, &facts) == 0 && S_ISREG(facts.st_mode) && facts.st_uid == geteuid() && (facts.st_mode & kAnyWriter) == 0 &&
         facts.st_nlink == 1 && facts.st_size > 0 && is_local(fd);
}

class Mapping final : public MappedFile {
 public:
  Mapping(const std::string& path, void* reserved, size_t reserved_bytes, const uint8_t* data, size_t bytes)
      : MappedFile(path), reserved_(reserved), reserved_bytes_(reserved_bytes), data_(data), bytes_(bytes) {}
  ~Mapping() override { munmap(reserved_, reserved_bytes_); }

  const uint8_t* data() const override { return data_; }
  uint64_t size() const override { return bytes_; }
  void read(uint64_t offset, size_t n, void* out) const override {
    if (offset > bytes_ || n > bytes_ - offset)
      throw Error(ErrorCode::kIo, "Expected " + std::to_string(n) + " bytes at offset " + std::to_string(offset) + " of " + name() +
                                      ", received its end.");
    std::memcpy(out, data_ + offset, n);
  }

 private:
  void* const reserved_;
  const size_t reserved_bytes_;
  const uint8_t* const data_;
  const size_t bytes_;
};

}  // namespace

void prepare_for_mapping(const std::string& path) {
  const Descriptor file(path);
  struct stat facts = {};
  if (file.get() < 0 || fstat(file.get(), &facts) != 0) return;
  if (fchmod(file.get(), facts.st_mode & 07777 & ~kAnyWriter) != 0) return;
  // Pages that were written are small ones, and stay so; only clean ones can be dropped.
  if (fsync(file.get()) == 0) posix_fadvise(file.get(), 0, 0, POSIX_FADV_DONTNEED);
}

std::shared_ptr<const MappedFile> map_file(const std::string& path) {
  const Descriptor file(path);
  struct stat facts = {};
  if (file.get() < 0 || !stays_as_it_is(file.get(), facts)) return nullptr;
  const auto bytes = static_cast<size_t>(facts.st_size);
  // From a border of huge pages on, as the file's own huge pages lie.
  const size_t reserved_bytes = bytes + 2 * kHugePage;
  void* const reserved = mmap(nullptr, reserved_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (reserved == MAP_FAILED) return nullptr;
  const auto aligned = (reinterpret_cast<uintptr_t>(reserved) + kHugePage - 1) / kHugePage * kHugePage;
  void* const data = mmap(reinterpret_cast<void*>(aligned), bytes, PROT_READ, MAP_SHARED | MAP_FIXED, file.get(), 0);
  if (data == MAP_FAILED) {
    munmap(reserved, reserved_bytes);
    return nullptr;
  }
  madvise(data, bytes, MADV_HUGEPAGE);
  return std::make_shared<Mapping>(path, reserved, reserved_bytes, static_cast<const uint8_t*>(data), bytes);
}

#else

void prepare_for_mapping(const std::string&) {}

std::shared_ptr<const MappedFile> map_file(const std::string&) { return nullptr; }

#endif

}  // namespace lowrank
