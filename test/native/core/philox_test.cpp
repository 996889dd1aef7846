// Philox4x32-10 against the known answers of the Random123 distribution (Salmon et al., 2011; kat_vectors).
#include "check.h"
#include "core/philox.h"

using namespace lowrank;

namespace {
using Words = std::array<uint32_t, 4>;
constexpr uint32_t kOnes = 0xffffffff;
}  // namespace

TEST("philox: zeros") {
  const Words expected{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8};
  CHECK(philox4x32({0, 0, 0, 0}, {0, 0}) == expected);
}

TEST("philox: ones") {
  const Words expected{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd};
  CHECK(philox4x32({kOnes, kOnes, kOnes, kOnes}, {kOnes, kOnes}) == expected);
}

TEST("philox: digits of pi") {
  const Words expected{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1};
  CHECK(philox4x32({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}) == expected);
}

TEST("philox: a uniform draw takes 53 bits of the first two words") {
  // Words 0 and 1 of the vector of zeros.
  const double expected = static_cast<double>(0xe169c58d6627e8d5ull >> 11) * 0x1.0p-53;
  CHECK_EQ(uniform_draw(0, 0), expected);
  double sum = 0;
  double least = 1;
  double most = 0;
  constexpr int kDraws = 20000;
  for (int i = 0; i < kDraws; ++i) {
    const double draw = uniform_draw(42, static_cast<uint64_t>(i));
    sum += draw;
    least = std::min(least, draw);
    most = std::max(most, draw);
  }
  CHECK(least >= 0);
  CHECK(most < 1);
  // Mean 1/2, deviation of the mean 1 / sqrt(12 n).
  CHECK_NEAR(sum / kDraws, 0.5, 4 / std::sqrt(12.0 * kDraws));
}

TEST("philox: seeds and positions beyond 32 bits count") {
  CHECK(uniform_draw(1, 0) != uniform_draw(uint64_t{1} << 32, 0));
  CHECK(uniform_draw(0, 1) != uniform_draw(0, uint64_t{1} << 32));
  CHECK(uniform_draw(0, 1) != uniform_draw(1, 0));
}
