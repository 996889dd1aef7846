// Input transforms for the tests: every combination of its three steps, and the transform itself in double precision,
// written from its definition (ops/quantize_shrink.h) with the rotation as a dense matrix.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "backend/backend.h"
#include "ops/op_case.h"

namespace lowrank::test {

struct TransformKind {
  bool outliers = false;
  bool smoothed = false;
  bool rotated = false;
  bool any() const { return outliers || smoothed || rotated; }
  std::string text() const;  // ", outliers, rotated" or ""
};

// Nothing, each step alone, and all three.
std::vector<TransformKind> transform_kinds();

struct TestTransform {
  int32_t cols = 0;
  std::vector<int32_t> outliers;
  std::vector<float> smoothing;  // [cols] or empty
  bool rotated = false;
  int32_t group = kDefaultScaleGroup;
  Unaligned smoothing_store;  // [cols rounded up to 64], 0 behind cols

  InputTransform view() const;
  MatrixSpec spec(int32_t rows) const;  // of an int8 matrix [rows, cols] with int8 activations

  // v [cols rounded up to 64] of an input row u [cols].
  std::vector<double> input(const std::vector<double>& u) const;
  // Bounds of |float32 v - v|, where each u[k] is within tolerances[k].
  std::vector<double> input_tolerances(const std::vector<double>& u, const std::vector<double>& tolerances) const;
  // The row of weights that meets v: outliers taken out, divided by the smoothing, and rotated.
  std::vector<double> weights(const float* row) const;
};

// Outliers: the first and last channels of K and of blocks of 64, and those around channel 4096, as far as K goes.
// Smoothing: factors from 1/4 to 4.
TestTransform make_transform(Random& random, int32_t cols, const TransformKind& kind);

// Entry (i, j) of the rotation of a block of 64.
double rotation_entry(int32_t i, int32_t j);

}  // namespace lowrank::test
