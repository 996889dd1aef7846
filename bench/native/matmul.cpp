#include "matmul.h"

#include <memory>
#include <vector>

#include "backend/backend.h"
#include "backend/program.h"
#include "core/buffer.h"
#include "core/philox.h"
#include "timing.h"

namespace lowrank::bench {
namespace {

struct Shape {
  int32_t n, k;
};
constexpr Shape kShapes[] = {{960, 576}, {576, 576}, {3072, 576}, {576, 1536}};  // q|k|v, o, gate|up, down
constexpr int32_t kLargestK = 1536, kLargestN = 3072;
constexpr int kPartsPerThread = 3;  // as a step of so many rows has them

// Any activations: int8 products take the same time for all numbers but denormal scales.
struct Inputs {
  explicit Inputs(int32_t rows)
      : q(static_cast<size_t>(rows) * kLargestK),
        scale(static_cast<size_t>(rows) * scale_groups(kLargestK, kDefaultScaleGroup) * sizeof(float)),
        compensation(static_cast<size_t>(rows) * scale_groups(kLargestK, kDefaultScaleGroup) * sizeof(int32_t)),
        y(static_cast<size_t>(rows) * kLargestN * sizeof(float)) {
    for (size_t i = 0; i < q.bytes(); ++i) q.as<int8_t>()[i] = static_cast<int8_t>(255 * uniform_draw(1, i) - 127);
    for (size_t i = 0; i < scale.bytes() / sizeof(float); ++i) scale.as<float>()[i] = 0.01f;
  }
  Buffer q, scale, compensation, y;
};

}  // namespace

double matmul_gop_per_s(int32_t rows, int threads) {
  const Backend& backend = cpu_backend();
  const Inputs inputs(rows);
  std::vector<std::unique_ptr<Matrix>> matrices;
  Program program;
  program.set_parts_per_thread(kPartsPerThread);
  double operations = 0;
  for (const auto [n, k] : kShapes) {
    const RowReader read = [k](int32_t begin, int32_t count, float* out) {
      for (int64_t i = 0; i < int64_t{count} * k; ++i)
        out[i] = static_cast<float>(uniform_draw(2, static_cast<uint64_t>(int64_t{begin} * k + i))) - 0.5f;
    };
    matrices.push_back(backend.pack({n, k, WeightFormat::kInt8, ActivationFormat::kInt8}, read, threads));
    MatmulExpandArgs args = {};
    args.x.format = ActivationFormat::kInt8;
    args.x.cols = k;
    args.x.stride = round_up(k, kActivationAlignment);
    args.x.q = inputs.q.as<int8_t>();
    args.x.scale = inputs.scale.as<float>();
    args.x.compensation = inputs.compensation.as<int32_t>();
    args.w = matrices.back().get();
    args.row_end = rows;
    args.y = inputs.y.as<float>();
    args.y_stride = n;
    program.add<MatmulExpandArgs>(backend.ops().matmul_expand, args);
    operations += 2.0 * rows * n * k;
  }
  return operations / measure([&] { program.run(threads); }).median / 1e9;
}

}  // namespace lowrank::bench
