// What the lora tests share: a tiny base model, adapter files built in memory, and a product run with an adapter's plan on
// the reference ops.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "check.h"
#include "formats/file_builders.h"
#include "lora/adapter.h"
#include "lora/composition.h"
#include "ops/op_case.h"

namespace lowrank::test {

// Two layers; q has a bias, k and v lie in the same stack, o and the feed forward have none. Sizes are no multiples of 16,
// so that offsets that are wrong by a tile show.
struct TinyBase {
  explicit TinyBase(LoraDType dtype = LoraDType::kFloat32, bool sandwich_norms = false);
  TinyBase(const TinyBase&) = delete;
  TinyBase& operator=(const TinyBase&) = delete;

  const std::vector<float>& weight(int32_t layer, Projection projection) const {
    return weights[static_cast<size_t>(layer * kProjections + static_cast<int32_t>(projection))];
  }

  // [N, cols] of a site's stacked product.
  std::vector<float> stacked(int32_t layer, Site site) const;
  std::unique_ptr<Matrix> pack(int32_t rows, int32_t cols, const std::vector<float>& values) const;

  BaseModel model;          // of `packed`
  DecoderWeights packed;    // of the values below
  std::vector<std::vector<float>> weights;  // [layer * projection] of [out, in]
  std::vector<float> qkv_bias;              // [out of q, k and v], of every layer
  std::vector<float> lm_head;               // [vocabulary, hidden]
};

// A safetensors adapter in memory, float32 unless told.
class AdapterFile {
 public:
  // Returns the values, for the test's own arithmetic.
  std::vector<float> add(const std::string& name, const std::vector<int64_t>& shape, std::vector<float> values);
  std::vector<float> add_random(const std::string& name, const std::vector<int64_t>& shape);
  void add_bytes(const std::string& name, const std::string& dtype, const std::vector<int64_t>& shape, const Bytes& data);
  Bytes build() const;

 private:
  std::string header_;
  Bytes data_;
  Random random_{7};
};

AdapterEntry projection_entry(const std::string& tensor, AdapterEntry::Role role, int32_t layer, Projection projection);
AdapterEntry place_entry(const std::string& tensor, AdapterEntry::Role role, AdapterEntry::Place place);
AdapterEntry norm_entry(const std::string& tensor, int32_t layer, LayerNorm norm);

// The file's source is gone when this returns: the adapter must own what it needs.
std::shared_ptr<const Adapter> load(const AdapterFile& file, const std::vector<AdapterEntry>& entries, const BaseModel& base);

// A LoRA pair of one projection, "<prefix>.A" and "<prefix>.B".
struct Pair {
  std::vector<float> a;  // [rank, in]
  std::vector<float> b;  // [out, rank]
  int32_t rank;
};
Pair add_pair(AdapterFile& file, std::vector<AdapterEntry>& entries, const TinyBase& base, int32_t layer, Projection projection,
              int32_t rank, float scaling);

// y [rows, N] of a site with its plan, on the reference ops with float32 weights. x [rows, in].
std::vector<float> run_site(const TinyBase& base, const SitePlan& plan, int32_t layer, Site site, const std::vector<float>& x,
                            int32_t rows);

// y [rows, out] = gain * (W x + scale * B A x) + bias in float64. `pair`, `gain`, `bias` may be null or empty.
std::vector<double> expected_projection(const TinyBase& base, int32_t layer, Projection projection, const std::vector<float>& x,
                                        int32_t rows, const Pair* pair, double scale, const std::vector<double>& gain,
                                        const std::vector<float>& bias);

// Columns [begin, begin + out) of y [rows, N] against expected [rows, out].
void check_columns(const std::vector<float>& y, int32_t n, int32_t begin, const std::vector<double>& expected, int32_t out);

// The message of the Error that `body` throws, after a check of its code; empty where it throws none.
template <class Body>
std::string message_of(ErrorCode code, const Body& body) {
  try {
    body();
  } catch (const Error& error) {
    CHECK_EQ(std::string(error_code_name(error.code())), std::string(error_code_name(code)));
    return error.what();
  }
  fail(__FILE__, __LINE__, std::string("expected ") + error_code_name(code) + ", nothing was thrown");
  return "";
}

}  // namespace lowrank::test
