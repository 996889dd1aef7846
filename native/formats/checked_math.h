// Arithmetic on sizes that a file states: every product and sum is checked before anything is allocated or
// read.
#pragma once

#include <cstdint>
#include <limits>
#include <optional>

namespace lowrank {

// a * b, or nothing where it does not fit.
inline std::optional<uint64_t> checked_multiply(uint64_t a, uint64_t b) {
  if (b != 0 && a > std::numeric_limits<uint64_t>::max() / b) return std::nullopt;
  return a * b;
}

// a + b, or nothing where it does not fit.
inline std::optional<uint64_t> checked_add(uint64_t a, uint64_t b) {
  if (a > std::numeric_limits<uint64_t>::max() - b) return std::nullopt;
  return a + b;
}

// `value` rounded up to a multiple of `alignment` (at least 1), or nothing where it does not fit.
inline std::optional<uint64_t> checked_align(uint64_t value, uint64_t alignment) {
  const uint64_t rest = value % alignment;
  return rest == 0 ? std::optional<uint64_t>(value) : checked_add(value, alignment - rest);
}

}  // namespace lowrank
