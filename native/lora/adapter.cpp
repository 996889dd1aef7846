#include "lora/adapter.h"

#include <algorithm>
#include <atomic>
#include <map>
#include <string_view>
#include <utility>

#include "core/error.h"
#include "lora/adapter_entries.h"
#include "lora/adapter_tensors.h"
#include "lora/dora.h"
#include "lora/rounded_factor.h"

namespace lowrank {
namespace {

using Role = AdapterEntry::Role;

size_t vector_bytes(const std::vector<float>& values) { return values.size() * sizeof(float); }

class Builder {
 public:
  Builder(const TensorSource& source, const BaseModel& base) : tensors_(source), base_(base) {
    adapter_->dtype = base.lora_dtype;
  }

  std::shared_ptr<Adapter> build(const std::vector<AdapterEntry>& entries) {
    const SortedEntries sorted = sort_entries(entries, base_);
    check_parts(entries);
    for (const AdapterEntry& entry : entries)
      if (entry.role == Role::kCopy) tensors_.check_copy(entry);
    adapter_->layers.resize(sorted.layers.size());
    for (int32_t layer = 0; layer < base_.layer_count; ++layer)
      build_layer(layer, sorted.layers[static_cast<size_t>(layer)], adapter_->layers[static_cast<size_t>(layer)]);
    adapter_->lm_head_weight = build_table(sorted.lm_head, *base_.weights->lm_head);
    adapter_->embed_tokens_weight = build_table(sorted.embed_tokens, *base_.weights->embed_tokens);
    for (const PackedTable& table : tables_)
      if (table.matrix == adapter_->lm_head_weight || table.matrix == adapter_->embed_tokens_weight)
        adapter_->bytes += table.matrix->bytes;
    adapter_->lm_head = build_module(sorted.lm_head, base_.vocabulary_size, base_.hidden_size, lm_head_reader());
    // The product's other terms get it from the final norm.
    if (adapter_->lm_head != nullptr)
      for (float& bias : adapter_->lm_head->b_bias) bias *= base_.logits_multiplier;
    adapter_->embedding = build_embedding(sorted.embed_tokens);
    adapter_->final_norm = build_norm(sorted.final_norm[Role::kWeight], base_.hidden_size, base_.logits_multiplier);
    join_factors();
    return std::move(adapter_);
  }

 private:
  // A as the ops multiply it and as the backend packed it, for the modules of one layer that share it.
  struct SharedA {
    const AdapterEntry* entry;
    RoundedFactor rounded;
    std::shared_ptr<LoraFactor> packed;
  };

  struct PackedTable {
    std::string tensor;
    MatrixSpec spec;
    std::shared_ptr<const Matrix> matrix;
  };

  // Where modules take runs of one tensor's rows, the runs must reach its end: rows that no module takes mean another base.
  void check_parts(const std::vector<AdapterEntry>& entries) const {
    std::map<std::string_view, int64_t> ends;
    for (const AdapterEntry& entry : entries)
      if (entry.row_count > 0) {
        int64_t& end = ends[entry.tensor];
        end = std::max(end, int64_t{entry.row_begin} + entry.row_count);
      }
    for (const AdapterEntry& entry : entries) {
      if (entry.row_count <= 0) continue;
      const int64_t rows = tensors_.rows_in_file(entry);
      const int64_t end = ends[entry.tensor];
      if (rows != end)
        throw Error(ErrorCode::kAdapterShape, "Expected " + std::to_string(end) + " rows for the adapter's tensor " + entry.tensor +
                                                  ", received " + std::to_string(rows) +
                                                  ". Load the base model that the adapter was trained on.");
    }
  }

  void build_layer(int32_t layer, const LayerEntries& entries, AdapterLayer& out) {
    shared_.clear();
    for (int i = 0; i < kProjections; ++i) {
      const auto projection = static_cast<Projection>(i);
      const auto index = static_cast<size_t>(i);
      const ModuleEntries& module = entries.projections[index];
      const int32_t rows = base_.out_features(projection);
      out.modules[index] = build_module(module, rows, base_.in_features(projection), base_.reader(layer, projection));
      const AdapterEntry* bias = module[Role::kBias];
      if (bias == nullptr) continue;
      if (base_.bias(layer, projection).empty())
        throw Error(ErrorCode::kAdapterShape, "Expected a base model with a bias for the adapter's tensor " + bias->tensor +
                                                  ", received one without. Load the base model that the adapter was trained on.");
      out.biases[index] = counted(tensors_.vector(*bias, rows));
    }
    for (int i = 0; i < kLayerNorms; ++i) {
      const auto norm = static_cast<LayerNorm>(i);
      out.norms[static_cast<size_t>(i)] =
          build_norm(entries.norms[static_cast<size_t>(i)][Role::kWeight], base_.norm_size(norm), 1);
    }
    shared_.clear();
  }

  std::unique_ptr<LoraModule> build_module(const ModuleEntries& entries, int32_t out, int32_t in, const RowReader& read_weight) {
    const AdapterEntry* a_entry = entries[Role::kLoraA];
    if (a_entry == nullptr) return nullptr;
    const SharedA& a = read_a(*a_entry, in);
    const int32_t rank = a.rounded.values.rows;
    const AdapterEntry& b_entry = *entries[Role::kLoraB];
    const RoundedFactor b = round_b(tensors_.matrix(b_entry, out, rank), base_.lora_dtype, b_entry.tensor);

    auto module = std::make_unique<LoraModule>();
    module->a = a.packed;
    module->b = base_.backend->pack_lora_b(b.values.values.data(), out, rank, base_.lora_dtype);
    module->rank_scale = for_ops(rank_scale(a.rounded, b, b_entry.tensor));
    module->scaling = a_entry->scaling;
    adapter_->bytes += module->b->bytes;
    adapter_->max_rank = std::max(adapter_->max_rank, rank);
    if (const AdapterEntry* bias = entries[Role::kLoraBBias]) module->b_bias = counted(tensors_.vector(*bias, out));
    if (const AdapterEntry* magnitude = entries[Role::kMagnitude]) {
      // Over the very numbers that the ops multiply.
      module->dora = std::make_unique<DoraNorms>(dora_norms(a_times_scale(a.rounded), b_times_scale(b),
                                                            tensors_.vector(*magnitude, out), read_weight, base_.threads));
      adapter_->bytes += 4 * vector_bytes(module->dora->magnitude);
      adapter_->has_dora = true;
    }
    return module;
  }

  // In the order in which a step reads them: product by product, A before B.
  void join_factors() {
    std::vector<LoraFactor*> factors;
    const auto add = [&](const std::vector<const LoraModule*>& modules) {
      for (const LoraModule* module : modules)
        if (module != nullptr && std::find(factors.begin(), factors.end(), module->a.get()) == factors.end())
          factors.push_back(module->a.get());
      for (const LoraModule* module : modules)
        if (module != nullptr) factors.push_back(module->b.get());
    };
    for (const AdapterLayer& layer : adapter_->layers)
      for (int site = 0; site < kSites; ++site) {
        std::vector<const LoraModule*> modules;
        for (const Projection projection : projections_of(static_cast<Site>(site)))
          modules.push_back(layer.modules[static_cast<size_t>(projection)].get());
        add(modules);
      }
    add({adapter_->lm_head.get()});
    base_.backend->join(factors);
  }

  const SharedA& read_a(const AdapterEntry& entry, int32_t in) {
    for (const SharedA& held : shared_)
      if (held.entry->tensor == entry.tensor && held.entry->row_begin == entry.row_begin &&
          held.entry->row_count == entry.row_count && held.entry->transpose == entry.transpose &&
          held.rounded.values.cols == in)
        return held;
    RoundedFactor rounded = round_a(tensors_.matrix(entry, AdapterTensors::kAnyRank, in), base_.lora_dtype, entry.tensor);
    std::shared_ptr<LoraFactor> packed =
        base_.backend->pack_lora_a(rounded.values.values.data(), rounded.values.rows, in, base_.lora_dtype);
    adapter_->bytes += packed->bytes;
    return shared_.emplace_back(SharedA{&entry, std::move(rounded), std::move(packed)});
  }

  std::unique_ptr<EmbeddingModule> build_embedding(const ModuleEntries& entries) {
    const AdapterEntry* a_entry = entries[Role::kEmbeddingA];
    if (a_entry == nullptr) return nullptr;
    const FloatMatrix a = tensors_.matrix(*a_entry, AdapterTensors::kAnyRank, base_.vocabulary_size);
    auto module = std::make_unique<EmbeddingModule>();
    module->rank = a.rows;
    module->scaling = a_entry->scaling;
    std::vector<float> transpose(a.values.size());
    for (int32_t token = 0; token < a.cols; ++token)
      for (int32_t r = 0; r < a.rows; ++r)
        transpose[static_cast<size_t>(int64_t{token} * a.rows + r)] = a.values[static_cast<size_t>(int64_t{r} * a.cols + token)];
    module->a = for_ops(std::move(transpose));
    module->b = for_ops(tensors_.matrix(*entries[Role::kEmbeddingB], base_.hidden_size, a.rows).values);
    adapter_->max_rank = std::max(adapter_->max_rank, a.rows);
    return module;
  }

  // What replaces lm_head or embed_tokens as a whole, or null.
  std::shared_ptr<const Matrix> build_table(const ModuleEntries& entries, const Matrix& base_table) {
    // The head's input is transformed as its own table wants, so one in its place is packed in the same way.
    const MatrixSpec spec = base_.backend->spec_of(base_table);
    const RowReader read_base = base_.reader(base_table);
    if (const AdapterEntry* saved = entries[Role::kWeight]) return packed_table(*saved, spec, read_base);
    if (const AdapterEntry* rows = entries[Role::kTokenRows]) return packed_table(*rows, spec, read_base);
    const AdapterEntry* held = entries[Role::kBaseWeight];
    if (held == nullptr) return nullptr;
    auto table = packed_table(*held, spec, read_base);
    if (holds_base(*table, read_base)) return nullptr;
    if (held->must_hold_base)
      throw Error(ErrorCode::kAdapterUnsupported,
                  "Expected the base's own table in the adapter's tensor " + held->tensor +
                      ", received another one, which would hold before the adapter is activated, too. Train the adapter without it.");
    return table;
  }

  // In the base's own format. Packed once, though it stand for both tables of a tied base.
  std::shared_ptr<const Matrix> packed_table(const AdapterEntry& entry, const MatrixSpec& spec, const RowReader& read_base) {
    for (const PackedTable& held : tables_)
      if (held.tensor == entry.tensor && held.spec == spec) return held.matrix;
    RowReader read;
    if (entry.role == Role::kTokenRows) {
      read = base_with_rows(entry, spec, read_base);
    } else {
      const TensorInfo& tensor = tensors_.table(entry, spec.rows, spec.cols);
      read = [this, &tensor](int32_t begin, int32_t count, float* out) { tensors_.read_table(tensor, begin, count, out); };
    }
    std::shared_ptr<const Matrix> matrix = base_.backend->pack(spec, read, base_.threads);
    return tables_.emplace_back(PackedTable{entry.tensor, spec, std::move(matrix)}).matrix;
  }

  // The base's table, some of whose rows the entry replaces. Rows that were quantised once are so again without a further error.
  RowReader base_with_rows(const AdapterEntry& entry, const MatrixSpec& spec, const RowReader& read_base) const {
    auto values = std::make_shared<const FloatMatrix>(
        tensors_.matrix(entry, static_cast<int32_t>(entry.token_rows.size()), spec.cols));
    auto row_of = std::make_shared<std::map<int32_t, int32_t>>();
    for (const int32_t token : entry.token_rows) {
      const bool added = row_of->emplace(token, static_cast<int32_t>(row_of->size())).second;
      if (token < 0 || token >= spec.rows || !added)
        throw Error(ErrorCode::kAdapterFormat, "Expected token ids from 0 to " + std::to_string(spec.rows - 1) +
                                                   ", each once, for the adapter's tensor " + entry.tensor + ", received " +
                                                   std::to_string(token) + ".");
    }
    return [=](int32_t begin, int32_t count, float* out) {
      read_base(begin, count, out);
      for (auto row = row_of->lower_bound(begin); row != row_of->end() && row->first < begin + count; ++row)
        std::copy_n(values->row(row->second), spec.cols, out + int64_t{row->first - begin} * spec.cols);
    };
  }

  // Whether the engine could not tell this table from the base's: packed in one format by one rule, they hold the same numbers. So
  // the base's own table, in full precision in the file, equals the quantised one, and no tolerance hides a row that was changed.
  bool holds_base(const Matrix& table, const RowReader& read_base) const {
    constexpr int32_t kBlockFloats = 1 << 18;
    const int32_t block = std::clamp(kBlockFloats / table.cols, 1, table.rows);
    const size_t floats = static_cast<size_t>(int64_t{block} * table.cols);
    std::vector<float> mine(floats);
    std::vector<float> base(floats);
    for (int32_t begin = 0; begin < table.rows; begin += block) {
      const int32_t count = std::min(block, table.rows - begin);
      base_.backend->unpack(table, begin, count, mine.data());
      read_base(begin, count, base.data());
      if (!std::equal(mine.begin(), mine.begin() + int64_t{count} * table.cols, base.begin())) return false;
    }
    return true;
  }

  // The head that the low-rank pair is added to.
  RowReader lm_head_reader() const {
    return base_.reader(adapter_->lm_head_weight == nullptr ? *base_.weights->lm_head : *adapter_->lm_head_weight);
  }

  BackendVector build_norm(const AdapterEntry* entry, int32_t size, float multiplier) {
    if (entry == nullptr) return {};
    std::vector<float> gains = tensors_.vector(*entry, size);
    for (float& gain : gains) gain = (gain + base_.norm_gain_offset) * multiplier;
    return for_ops(std::move(gains));
  }

  std::vector<float> counted(std::vector<float> values) {
    adapter_->bytes += vector_bytes(values);
    return values;
  }
  BackendVector for_ops(std::vector<float> values) { return {*base_.backend, counted(std::move(values))}; }

  AdapterTensors tensors_;
  const BaseModel& base_;
  std::shared_ptr<Adapter> adapter_ = std::make_shared<Adapter>();
  std::vector<SharedA> shared_;  // of the layer being built
  std::vector<PackedTable> tables_;
};

}  // namespace

std::string unique_content() {
  static std::atomic<uint64_t> count{0};
  return "#" + std::to_string(count.fetch_add(1, std::memory_order_relaxed));
}

std::shared_ptr<Adapter> build_adapter(const TensorSource& source, const std::vector<AdapterEntry>& entries,
                                       const BaseModel& base) {
  try {
    return Builder(source, base).build(entries);
  } catch (const Error& error) {
    // The readers and the packing speak of models; here it is the adapter that is wrong.
    if (error.code() == ErrorCode::kModelFormat) throw Error(ErrorCode::kAdapterFormat, error.what());
    if (error.code() == ErrorCode::kModelUnsupported) throw Error(ErrorCode::kAdapterUnsupported, error.what());
    throw;
  }
}

}  // namespace lowrank
