#include "unfused.h"

#include <immintrin.h>

namespace lowrank::bench {
namespace {

constexpr int32_t kVector = 8;
constexpr int32_t kRowsAtOnce = 4;

__attribute__((target("avx2"))) inline __m256 widen(__m128i brain) {
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(brain), 16));
}

// 256 bits wide: on processors that halve 512-bit operations this is as fast, and on others the stores of t are the limit.
template <int Rows>
__attribute__((target("avx2,fma"))) void expand_rows(const ExpandAloneArgs& args, int32_t m, Range columns) {
  for (int32_t n = columns.begin; n < columns.end; n += 2 * kVector) {
    __m256 sums[Rows][2];
#pragma GCC unroll 4
    for (int i = 0; i < Rows; ++i) sums[i][0] = sums[i][1] = _mm256_setzero_ps();
    for (int32_t r = 0; r < args.rank; ++r) {
      const auto* row = reinterpret_cast<const __m128i*>(args.b + int64_t{r} * args.columns + n);
      const __m256 b[2] = {widen(_mm_loadu_si128(row)), widen(_mm_loadu_si128(row + 1))};
#pragma GCC unroll 4
      for (int i = 0; i < Rows; ++i) {
        const __m256 h = _mm256_set1_ps(args.h[int64_t{m + i} * args.h_stride + r]);
        sums[i][0] = _mm256_fmadd_ps(h, b[0], sums[i][0]);
        sums[i][1] = _mm256_fmadd_ps(h, b[1], sums[i][1]);
      }
    }
#pragma GCC unroll 4
    for (int i = 0; i < Rows; ++i) {
      float* out = args.t + int64_t{m + i} * args.t_stride + n;
      _mm256_storeu_ps(out, sums[i][0]);
      _mm256_storeu_ps(out + kVector, sums[i][1]);
    }
  }
}

}  // namespace

void shrink_alone(const ShrinkAloneArgs& args, int part, int parts) {
  MatmulExpandArgs product = args.product;
  const Range rows = split(args.product.row_end, 8, part, parts);
  product.row_begin = rows.begin;
  product.row_end = rows.end;
  if (rows.begin < rows.end) args.op(product, 0, 1);
}

void expands_alone(const ExpandsAloneArgs& args, int part, int parts) {
  for (int32_t i = 0; i < args.count; ++i) {
    const ExpandAloneArgs& one = args.projections[i];
    const Range all{0, one.columns};
    if (one.rows == 1) {
      expand_rows<1>(one, 0, split(one.columns, 2 * kVector, part, parts));
      continue;
    }
    const Range rows = split(one.rows, kRowsAtOnce, part, parts);
    int32_t m = rows.begin;
    for (; m + kRowsAtOnce <= rows.end; m += kRowsAtOnce) expand_rows<kRowsAtOnce>(one, m, all);
    for (; m < rows.end; ++m) expand_rows<1>(one, m, all);
  }
}

__attribute__((target("avx2"))) void add(const AddArgs& args, int part, int parts) {
  const Range range = split(static_cast<int32_t>(args.count), kVector, part, parts);
  int32_t i = range.begin;
  for (; i + kVector <= range.end; i += kVector)
    _mm256_storeu_ps(args.y + i, _mm256_add_ps(_mm256_loadu_ps(args.y + i), _mm256_loadu_ps(args.t + i)));
  for (; i < range.end; ++i) args.y[i] += args.t[i];
}

}  // namespace lowrank::bench
