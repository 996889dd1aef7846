// What the op tests share: every instruction set of this machine, random numbers, owners of the buffers that
// op arguments point to, and comparisons whose messages say which instruction set and element failed.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "backend/backend.h"
#include "core/buffer.h"

namespace lowrank::test {

// A backend for each instruction set that this machine can run, the reference included, but for those whose product alone is their own.
std::vector<const Backend*> available_backends();

// Every one, and AVX-VNNI's where the processor lacks it but it can be emulated (slowly).
std::vector<const Backend*> product_backends();

// How many parts a test of parts goes up to. A device's op is one launch, whatever the parts: there, a second run must give the same.
inline int max_parts(const Backend& backend) { return backend.shares_host_memory() ? 4 : 2; }

// Whether the parts of attention may share splits out.
inline bool shares_splits(const Backend& backend) { return backend.shares_host_memory(); }

// Whether a backend's instructions are emulated, microseconds each. Tests then leave out what another one repeats, unless the environment
// has LOWRANK_FULL=1.
bool is_shortened(const Backend& backend);

// Whether attention multiplies an int8 cache of this head_dim as bytes: see ops/attention_paged.h.
bool has_byte_attention(const Backend& backend, int32_t head_dim);

// x as a low-rank product of the backend takes it: rounded to bfloat16 where it is multiplied by such factors, and the contracts of the
// shrink and the expand say so.
double low_rank_input(const Backend& backend, LoraDType dtype, double x);

// Where the backend's caches hold element `row_major` of pages that lie as [page][kv_heads][kPageTokens][head_dim] and a few elements
// more, which stay where they are.
size_t kv_place(const Backend& backend, KvFormat format, bool is_key, int32_t kv_heads, int32_t head_dim, size_t page_elements,
                size_t row_major);

// SplitMix64: the same numbers on every platform.
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}
  uint64_t bits();
  float uniform(float low, float high);
  int32_t integer(int32_t low, int32_t high);  // both included
  std::vector<float> floats(size_t count, float low, float high);
  std::vector<float> bfloat16_floats(size_t count, float low,
                                     float high);  // values that bfloat16 holds exactly

 private:
  uint64_t state_;
};

// Copies the values to memory that is aligned to 4 bytes and no more: ops must not ask for more of such
// pointers.
class Unaligned {
 public:
  Unaligned() = default;
  explicit Unaligned(const std::vector<float>& values);
  float* data() const { return storage_.as<float>() + 1; }

 private:
  Buffer storage_;
};

// The sizes of scale groups that the backend's int8 products have: all three, or the default alone.
std::vector<int32_t> group_sizes(const Backend& backend);

// Owns what an Activations points to. Everything is filled with rubbish first, so that what an op must write
// is seen.
struct ActivationStore {
  ActivationStore(ActivationFormat format, int32_t rows, int32_t cols, int32_t group = kDefaultScaleGroup);
  Activations view;
  Buffer q, scale, compensation, outliers, values;
};

// A packed matrix and the logical weights that it was made of.
struct TestMatrix {
  std::vector<float> weights;  // [rows, cols]
  std::unique_ptr<Matrix> packed;
};
TestMatrix make_matrix(const Backend& backend, MatrixSpec spec, std::vector<float> weights);

// Weights that int8 holds exactly: integers within +-127, with +-127 in each scale group, times a power of two of the
// row.
struct Int8Weights {
  std::vector<int32_t> q;      // [rows, cols]
  std::vector<float> scale;    // [rows]
  std::vector<float> weights;  // [rows, cols] q * scale
};
Int8Weights random_int8_weights(Random& random, int32_t rows, int32_t cols, int32_t group = kDefaultScaleGroup);

// Factors of an adapter, with values that their format holds exactly, so that packing them changes nothing. int8: integers, those of
// the last rank +-127, with scales of their ranks, the first of which is zero where there are several.
struct TestFactors {
  TestFactors(const Backend& backend, Random& random, int32_t rank, int32_t in, int32_t out, LoraDType dtype);
  const float* rank_scale_or_null() const { return rank_scale.empty() ? nullptr : rank_scale.data(); }
  double scale_of(int32_t r) const { return rank_scale.empty() ? 1.0 : rank_scale[static_cast<size_t>(r)]; }
  int32_t rank;
  LoraDType dtype;
  std::vector<float> a;           // [rank, in]
  std::vector<float> b;           // [out, rank]
  std::vector<float> rank_scale;  // [rank] of int8 factors, see ShrinkTerm; else empty
  std::unique_ptr<LoraFactor> a_packed, b_packed;
};

// Calls the op once for each part, the last part first: parts must not depend on each other.
template <class Args>
void run_parts(Op<Args> op, const Args& args, int parts) {
  for (int part = parts - 1; part >= 0; --part)
    op(args, part, parts);
}

// Fails with `what`, the index and both values where actual is not within the tolerance of expected (NaN
// matches NaN).
void expect_near(const std::string& what, size_t index, double actual, double expected, double tolerance);
// Fails at the first element whose bits differ.
void expect_same_bits(const std::string& what, const std::vector<float>& actual,
                      const std::vector<float>& expected);

// "avx2: M 3, K 65": the head of a failure's message.
std::string label(const Backend& backend, const std::string& details);

inline constexpr double kFloatEpsilon = 1.0 / (1 << 23);  // an ulp of 1

}  // namespace lowrank::test
