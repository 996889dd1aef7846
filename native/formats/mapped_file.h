// A file of this user's own, mapped into memory that all its processes share.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "formats/byte_source.h"

namespace lowrank {

// The whole file, as its pages in the system's cache: processes that map it hold it once.
class MappedFile : public ByteSource {
 public:
  virtual const uint8_t* data() const = 0;  // to be read alone; from a multiple of 4 KiB on

 protected:
  using ByteSource::ByteSource;
};

// Takes the permission to write from everybody, as map_file() asks, writes the file to the disk, and empties the cache of it, so that
// those who map it get it in huge pages. Does nothing where that cannot be: the file is then read and not mapped.
void prepare_for_mapping(const std::string& path);

// Maps a file that stays as it is: a regular one of this user, that nobody may write to, under one name, on a local file system. Null for
// any other one and where the system cannot; open_file() then says what is wrong.
//
// Touching a page of a mapped file that was cut short ends the process, so what may be mapped is only what this package writes beside its
// place, closes to writers and renames. What remains: the user (or root) who takes the protection off such a file and cuts it short while
// it is in use, and a disk that fails to give a page back.
std::shared_ptr<const MappedFile> map_file(const std::string& path);

}  // namespace lowrank
