// The recorder of one device's steps: it lays out what a step brings, needs and gives, and hands it to the plugin.
#pragma once

#include <unordered_map>
#include <vector>

#include "device/open_device.h"
#include "device/recorder.h"

namespace lowrank::device {

// Memory that a step takes piece by piece, and that stays for the next. A piece goes to the first chunk from the last one
// used on that has room; chunks are added, never moved. So the same sequence of sizes gives the same addresses, step after step.
class StepMemory {
 public:
  enum class Kind { kDevice, kPaired };  // paired: each chunk has one of the same size in the host's memory
  StepMemory(OpenDevice& device, Kind kind, size_t chunk_bytes) : device_(device), kind_(kind), chunk_bytes_(chunk_bytes) {}

  struct Piece {
    void* host;  // null where not paired
    void* device;
  };
  Piece take(size_t bytes);
  void clear();
  // The used part of each chunk.
  std::vector<HostCopy> used() const;

 private:
  struct Chunk {
    BackendMemory host, device;
    size_t used;
  };
  OpenDevice& device_;
  Kind kind_;
  size_t chunk_bytes_;
  std::vector<Chunk> chunks_;
  size_t at_ = 0;  // the chunk in use
};

class StepRecorder final : public Recorder {
 public:
  explicit StepRecorder(OpenDevice& device);

  void clear();
  // Runs what was recorded, and fills in the downloads. `after_uploads`: see StepRecord.
  void run(bool after_uploads);

  void* workspace(size_t bytes) override;

 protected:
  Room stage_bytes(size_t bytes, const void* key) override;
  void* download_bytes(size_t bytes, void* host) override;
  void add_op(OpCode code, const void* params, size_t bytes) override;

 private:
  struct Op {
    OpCode code;
    size_t params_at;
    size_t params_bytes;
  };
  struct Kept {
    void* device;
    size_t bytes;
  };
  struct Download {
    void* to;
    const void* from;  // the host's part of the piece
    size_t bytes;
  };

  OpenDevice& device_;
  StepMemory staged_, downloaded_, workspace_;
  std::unordered_map<const void*, Kept> keyed_;       // of stage_bytes
  std::unordered_map<const void*, Kept> downloads_at_;
  std::vector<Download> downloads_;
  std::vector<Op> ops_;
  std::vector<unsigned char> params_;
};

}  // namespace lowrank::device
