#include "quant/rotation.h"

#include <cmath>
#include <vector>

#include "check.h"
#include "ops/transform_case.h"

using namespace lowrank;
using namespace lowrank::test;

TEST("quant/rotation: the columns of the +-1/8 matrix, exactly") {
  for (int32_t j = 0; j < kRotationBlock; ++j) {
    float x[kRotationBlock] = {};
    x[j] = 1.0f;
    rotate_block(x);
    for (int32_t i = 0; i < kRotationBlock; ++i)
      CHECK_EQ(static_cast<double>(x[i]), rotation_entry(i, j));
  }
}

TEST("quant/rotation: the product with the matrix, its own inverse, and lengths and angles kept") {
  Random random(1);
  for (int round = 0; round < 20; ++round) {
    const std::vector<float> a = random.floats(kRotationBlock, -3.0f, 3.0f);
    const std::vector<float> b = random.floats(kRotationBlock, -3.0f, 3.0f);
    std::vector<float> rotated_a = a, rotated_b = b;
    rotate_block(rotated_a.data());
    rotate_block(rotated_b.data());
    double magnitude = 0, dot = 0, rotated_dot = 0, length = 0, rotated_length = 0;
    for (size_t i = 0; i < a.size(); ++i) {
      magnitude += std::fabs(double{a[i]});
      dot += double{a[i]} * b[i];
      length += double{a[i]} * a[i];
      rotated_dot += double{rotated_a[i]} * rotated_b[i];
      rotated_length += double{rotated_a[i]} * rotated_a[i];
    }
    const double tolerance = 3.5 * kFloatEpsilon * magnitude / 8;  // six roundings of half an ulp each
    for (int32_t i = 0; i < kRotationBlock; ++i) {
      double expected = 0;
      for (int32_t j = 0; j < kRotationBlock; ++j)
        expected += rotation_entry(i, j) * a[static_cast<size_t>(j)];
      CHECK_NEAR(rotated_a[static_cast<size_t>(i)], expected, tolerance);
    }
    CHECK_NEAR(rotated_length, length, 1e-5 * length);
    CHECK_NEAR(rotated_dot, dot, 1e-5 * length);
    rotate_block(rotated_a.data());
    for (size_t i = 0; i < a.size(); ++i)
      CHECK_NEAR(rotated_a[i], a[i], 16 * tolerance);
  }
}

TEST("quant/rotation: values that float32 holds with room to spare come back to the bit") {
  Random random(2);
  std::vector<float> x(kRotationBlock);
  for (float& value : x)
    value = static_cast<float>(random.integer(-1000, 1000));
  std::vector<float> twice = x;
  rotate_block(twice.data());
  rotate_block(twice.data());
  expect_same_bits("rotated twice", twice, x);
}
