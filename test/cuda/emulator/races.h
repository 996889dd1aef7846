// Data races: of the threads of a launch with each other, and of launches, copies and the host's work. Kernels (and whatever
// else is to be watched) are built with -fsanitize=thread and linked without it: the calls that the compiler puts at each access
// come here (instrumentation.cpp), not to ThreadSanitizer. That one would take a fiber for each CUDA thread, which costs it
// 0.1 ms and more, and remembers no more than four accesses of 8 bytes.
//
// Two accesses of one element race where one of them writes and nothing orders them. What orders two threads of a launch:
// - of one block: a barrier between their accesses; of one warp: __syncwarp, too (by vector clocks, for any mask);
// - anywhere: a fence, an atomic operation of the first at an address, then one of the second there, and a fence.
// Atomic operations do not race with each other. Nothing else orders blocks: a write races with a read by another block,
// whichever of them ran first. Launches, copies and the host are ordered as in order.h.
//
// Each element (four bytes that are accessed together, or a byte) keeps its last write and the reads since. Of reads by several
// threads it keeps the last one and whether others of its warp, of other warps or of other blocks were among them: enough to
// find every race among whole warps, though a report names one reader of many. Of streams that read at once, two are kept.
// A fence does not order a write after reads by several blocks: such a launch is called wrong. Of atomic operations all blocks
// are kept.
//
// One kernel runs at a time, and the host's threads count as one.
#pragma once

#include <cstddef>
#include <cstdint>

namespace lowrank::emulator::races {

enum class Kind { kRead, kWrite, kAtomic };
enum class Memory { kDevice, kPinned, kShared };

// Defined by the build: LOWRANK_EMULATOR_THREAD.
#if defined(LOWRANK_EMULATOR_THREAD)
inline constexpr bool kWatched = true;

// Memory that is watched from now on, as nobody's so far. `begin` is aligned to 16.
void watch(const void* begin, size_t bytes, Memory memory);
void forget(const void* begin);

// An access by whoever runs, from the code at `from`. Ends the process with status 66 and a report where it is one of a race.
void note(const void* data, size_t bytes, Kind kind, const void* from);

// Threads are numbered in their block, blocks in their grid.
void begin_launch();
void end_launch();
void begin_block(uint32_t block);
// All threads of the block have met at a barrier; the lanes in `mask` of a warp have met.
void barrier_met();
void warp_met(uint32_t warp, uint32_t mask);
// Of the thread that runs.
void release(const void* point);
void acquire(const void* point);
#else
inline constexpr bool kWatched = false;
inline void watch(const void*, size_t, Memory) {}
inline void forget(const void*) {}
inline void begin_launch() {}
inline void end_launch() {}
inline void begin_block(uint32_t) {}
inline void barrier_met() {}
inline void warp_met(uint32_t, uint32_t) {}
inline void release(const void*) {}
inline void acquire(const void*) {}
#endif

}  // namespace lowrank::emulator::races
