#include "backend/backend.h"

namespace lowrank {

MatrixSpec spec_of(const Matrix& matrix) {
  const InputTransform& input = matrix.input;
  MatrixSpec spec = {matrix.rows,     matrix.cols, matrix.format, matrix.activation, input.rotated,
                     {input.outliers, input.outliers + input.outlier_count}, {}};
  if (input.smoothing != nullptr) spec.smoothing.assign(input.smoothing, input.smoothing + matrix.cols);
  return spec;
}

}  // namespace lowrank
