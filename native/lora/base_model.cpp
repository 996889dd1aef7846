#include "lora/base_model.h"

namespace lowrank {

RowReader BaseModel::reader(const Matrix& matrix) const {
  return [this, &matrix](int32_t begin, int32_t count, float* out) { backend->unpack(matrix, begin, count, out); };
}

RowReader BaseModel::reader(int32_t layer, Projection projection) const {
  const Matrix& matrix = *weights->layers[static_cast<size_t>(layer)].product(site_of(projection));
  return [this, &matrix, offset = row_offset(projection)](int32_t begin, int32_t count, float* out) {
    backend->unpack(matrix, offset + begin, count, out);
  };
}

std::vector<float> BaseModel::bias(int32_t layer, Projection projection) const {
  const std::vector<float> all = weights->layers[static_cast<size_t>(layer)].bias(site_of(projection)).values();
  if (all.empty()) return all;
  const auto begin = all.begin() + row_offset(projection);
  return {begin, begin + out_features(projection)};
}

}  // namespace lowrank
